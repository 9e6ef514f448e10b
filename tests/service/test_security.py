"""Who gets in, what the others are told, how much of it one caller may have, and what browsers are told."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.routing import Mount

from model.errors import InvalidConfiguration
from service import security, uploads
from service.app import create_app
from service.keys import digest, new_key
from service.problems import Problem
from service.settings import Settings
from tests.service.conftest import EYE
from tests.service.listening import answered, connect, listening
from tests.service.test_keys import key_file
from tests.service.test_tokens import AUDIENCE, Issuer

JPEG = {"content-type": "image/jpeg"}
CLINIC, ADMIN, OLD, BUSY = (new_key() for _ in range(4))
ENTRIES = (
    {"name": "clinic", "sha256": digest(CLINIC)},
    {"name": "operator", "sha256": digest(ADMIN), "scopes": ["admin"]},
    {"name": "former", "sha256": digest(OLD), "expires": datetime.now(UTC) - timedelta(seconds=1)},
    {"name": "busy", "sha256": digest(BUSY), "rate": "2/day", "concurrent": 1},
)


@pytest.fixture(scope="module")
def locked(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that asks for a key."""
    keys = key_file(tmp_path_factory.mktemp("keys"), *ENTRIES)
    with TestClient(create_app(Settings(registry=str(published), keys=keys))) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def code(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, Problem.model_validate(answer.json()).code


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, "key_missing")),
        ({"authorization": "Basic abc"}, (401, "key_missing")),
        ({"authorization": "Bearer "}, (401, "key_missing")),
        (bearer(CLINIC[:-1]), (401, "key_invalid")),
        (bearer("x" * 9000), (401, "key_invalid")),
        ({"x-api-key": "a.b.c"}, (401, "key_invalid")),
        (bearer(OLD), (401, "key_expired")),
        (bearer(ADMIN), (403, "scope_missing")),
    ],
)
def test_who_may_not_call_is_told_why(locked: TestClient, headers: dict[str, str], expected: tuple[int, str]) -> None:
    answer = locked.post("/v1/segmentations", content=EYE, headers={**JPEG, **headers})
    assert code(answer) == expected
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


@pytest.mark.parametrize("headers", [bearer(CLINIC), {"authorization": f"bearer {CLINIC}"}, {"x-api-key": CLINIC}])
def test_who_may_call_is_answered(locked: TestClient, headers: dict[str, str]) -> None:
    assert locked.post("/v1/segmentations", content=EYE, headers={**JPEG, **headers}).status_code == 200
    assert locked.get("/v1/versions", headers=headers).status_code == 200
    assert code(locked.get("/metrics", headers=headers)) == (403, "scope_missing")


def test_the_operator_reads_metrics_and_no_photographs(locked: TestClient) -> None:
    assert locked.get("/metrics", headers=bearer(ADMIN)).status_code == 200
    assert code(locked.post("/v1/measurements", json={}, headers=bearer(ADMIN))) == (403, "scope_missing")


def test_page_documentation_and_health_are_open(locked: TestClient) -> None:
    for path in ("/", "/page/page.js", "/sample.jpg", "/docs", "/openapi.json", "/health/live", "/health/ready"):
        assert locked.get(path).status_code == 200
        assert locked.head(path).status_code == 200


def test_no_spelling_of_a_path_leads_past_the_door(published: Path, tmp_path: Path) -> None:
    spelled = ["/metrics/", "//metrics", "/%6detrics", "/metrics?/docs", "/nowhere", "/v1/segmentations/", "*"]
    spelled += [
        "/page/../metrics",
        "/docs/../metrics",
        "/page/%2e%2e/metrics",
        "/docs/..%2fmetrics",
        "/page",
        "metrics",
    ]
    spelled += ["http://here/metrics", "/health/live/../../metrics", "/docs;/../metrics", "/METRICS"]
    with listening(Settings(registry=str(published), keys=key_file(tmp_path, *ENTRIES))) as port:
        for path in spelled:
            with connect(port) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
                received = answered(connection)
            assert b"cupdisc_" not in received
            assert int(received.split()[1]) in (400, 401, 404), path


def test_a_head_request_needs_what_get_needs(locked: TestClient) -> None:
    assert locked.head("/metrics").status_code == 401


def test_for_every_path_somebody_has_decided_who_may(locked: TestClient) -> None:
    undecided = [
        (method, path)
        for method, path in paths_of(locked.app.routes)  # type: ignore[attr-defined]
        if not any(method == listed and pattern.fullmatch(path) for listed, pattern, _ in security.ACCESS)
    ]
    assert undecided == []


def paths_of(routes: list[Any]) -> Iterator[tuple[str, str]]:
    """Method and an example of every path."""
    for route in routes:
        if not hasattr(route, "path"):
            yield from paths_of(route.original_router.routes)
            continue
        path = re.sub(r"\{[^}]*\}", "x", route.path) + ("/x" if isinstance(route, Mount) else "")
        yield from ((method, path) for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"})


def test_a_key_is_changed_while_it_is_in_use(start: Callable[..., TestClient], tmp_path: Path) -> None:
    client = start(keys=key_file(tmp_path, *ENTRIES))
    assert client.get("/v1/versions", headers=bearer(CLINIC)).status_code == 200
    fresh = new_key()
    key_file(tmp_path, {"name": "clinic", "sha256": digest(fresh)})
    assert code(client.get("/v1/versions", headers=bearer(CLINIC))) == (401, "key_invalid")
    assert client.get("/v1/versions", headers=bearer(fresh)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/segmentations", "/v2/models/disc-cup/infer", "/v1/models/disc-cup:predict"])
def test_a_body_without_a_key_is_refused_before_it_is_read(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(uploads, "LINGER_S", 25)  # an answer that waited for the rest of the body would be late
    with listening(Settings(registry=str(published), keys=key_file(tmp_path, *ENTRIES))) as port:
        head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\n".encode()
        with connect(port) as connection:
            began = time.monotonic()
            connection.sendall(head + b"Content-Length: 60000000\r\n\r\n")
            received = connection.recv(65536)  # not a byte of the body has been sent
            assert time.monotonic() - began < 20
            assert received.startswith(b"HTTP/1.1 401")
            assert b"connection: close" in received.lower()
        with connect(port) as connection:
            connection.sendall(head + b"Content-Length: 60000000\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 401")
        with connect(port) as connection:  # and one that sends it all the same still reads why
            connection.sendall(head + b"Content-Length: 60000000\r\n\r\n")
            for _ in range(60):
                connection.sendall(bytes(1_000_000))
            assert b'"key_missing"' in answered(connection)


def test_a_body_of_two_lengths_is_refused_and_what_follows_it_is_no_request(published: Path, tmp_path: Path) -> None:
    smuggled = b"GET /v1/versions HTTP/1.1\r\nHost: here\r\nX-API-Key: " + CLINIC.encode() + b"\r\n\r\n"
    settings = Settings(registry=str(published), keys=key_file(tmp_path, *ENTRIES))
    with listening(settings) as port, connect(port) as connection:
        head = f"POST /v1/segmentations HTTP/1.1\r\nHost: here\r\nX-API-Key: {CLINIC}\r\n".encode()
        connection.sendall(head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled)
        received = answered(connection)
    assert received.startswith(b"HTTP/1.1 400")
    assert b'"ambiguous_length"' in received
    assert received.count(b"HTTP/1.1") == 1


def test_of_requests_in_one_breath_each_needs_its_key(published: Path, tmp_path: Path) -> None:
    settings = Settings(registry=str(published), keys=key_file(tmp_path, *ENTRIES))
    with listening(settings) as port, connect(port) as connection:
        head = "GET /v1/versions HTTP/1.1\r\nHost: here\r\n"
        last = f"{head}Connection: close\r\n\r\n"
        connection.sendall(f"{head}X-API-Key: {CLINIC}\r\n\r\n{last}".encode())
        received = answered(connection)
    assert [part[1:4] for part in received.split(b"HTTP/1.1")[1:]] == [b"200", b"401"]


def test_a_caller_has_a_rate_and_sees_what_is_left(locked: TestClient) -> None:
    answers = [locked.get("/v1/versions", headers=bearer(BUSY)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {"2;w=86400"}
    assert code(answers[2])[1] == "rate_exceeded"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 86400
    others = locked.get("/v1/versions", headers=bearer(CLINIC))
    assert others.status_code == 200
    assert "ratelimit-limit" not in others.headers


def test_a_rate_for_everybody_is_counted_by_caller(start: Callable[..., TestClient], tmp_path: Path) -> None:
    client = start(keys=key_file(tmp_path, *ENTRIES), rate="1/day")
    assert client.get("/v1/versions", headers=bearer(CLINIC)).status_code == 200
    assert client.get("/v1/versions", headers=bearer(CLINIC)).status_code == 429
    assert client.get("/v1/versions", headers=bearer(BUSY)).status_code == 200
    assert client.get("/health/ready").status_code == 200


def test_without_keys_a_rate_is_counted_by_address(start: Callable[..., TestClient]) -> None:
    client = start(rate="1/day")
    assert [client.get("/v1/versions").status_code for _ in range(2)] == [200, 429]


def test_one_caller_may_have_only_so_many_requests_under_way(published: Path, tmp_path: Path) -> None:
    keys = key_file(tmp_path, {"name": "busy", "sha256": digest(BUSY), "concurrent": 1})
    with listening(Settings(registry=str(published), keys=keys)) as port:
        head = f"X-API-Key: {BUSY}\r\nHost: here\r\nConnection: close\r\n"

        def versions() -> bytes:
            with connect(port) as connection:
                connection.sendall(f"GET /v1/versions HTTP/1.1\r\n{head}\r\n".encode())
                return answered(connection)

        with connect(port) as first:
            first.sendall(f"POST /v1/segmentations HTTP/1.1\r\n{head}Content-Length: {len(EYE)}\r\n\r\n".encode())
            while (received := versions()).startswith(b"HTTP/1.1 200"):
                pass  # until the first one is under way: from then on it waits for its body
            assert received.startswith(b"HTTP/1.1 429")
            assert b'"too_many_at_once"' in received
            first.sendall(EYE)
            assert answered(first).startswith(b"HTTP/1.1 200")
        while (received := versions()).startswith(b"HTTP/1.1 429"):
            pass  # until it has left
        assert received.startswith(b"HTTP/1.1 200")


def test_who_tries_many_keys_has_to_wait_and_the_right_key_has_not(
    start: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = start(
        keys=key_file(tmp_path, *ENTRIES), wrong_keys="30/day"
    )  # no window ends meanwhile, however slow it is
    codes = [code(client.get("/v1/versions", headers=bearer(new_key())))[1] for _ in range(40)]
    assert codes == ["key_invalid"] * 30 + ["rate_exceeded"] * 10
    assert client.get("/v1/versions", headers=bearer(CLINIC)).status_code == 200


def test_a_token_of_the_issuer_opens_the_door_that_the_file_names(
    start: Callable[..., TestClient], tmp_path: Path
) -> None:
    issuer = Issuer()
    try:
        holders = [
            {"name": "robot", "email": "robot@example.org", "scopes": ["segment"]},
            {"name": "metrics", "subject": "77", "scopes": ["admin"]},
        ]
        client = start(keys=key_file(tmp_path, *ENTRIES, holders=holders), issuer=issuer.address, audience=AUDIENCE)
        assert client.get("/v1/versions", headers=bearer(issuer.token())).status_code == 200
        assert client.get("/metrics", headers=bearer(issuer.token(sub="77", email=None))).status_code == 200
        stranger = issuer.token(sub="5", email="somebody@example.org")
        assert code(client.get("/v1/versions", headers=bearer(stranger))) == (401, "key_invalid")
        unverified = issuer.token(email_verified=False)
        assert code(client.get("/v1/versions", headers=bearer(unverified))) == (401, "key_invalid")
        assert code(client.get("/metrics", headers=bearer(issuer.token()))) == (403, "scope_missing")
        assert client.get("/v1/versions", headers=bearer(CLINIC)).status_code == 200
    finally:
        issuer.close()


def test_an_issuer_that_is_away_is_a_503(start: Callable[..., TestClient], tmp_path: Path) -> None:
    issuer = Issuer()
    token = issuer.token()
    issuer.close()
    client = start(keys=key_file(tmp_path, *ENTRIES), issuer=issuer.address, audience=AUDIENCE)
    answer = client.get("/v1/versions", headers=bearer(token))
    assert code(answer) == (503, "issuer_unreachable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"issuer": "https://accounts.google.com", "audience": "x"}, "keys"),
        ({"rate": "often"}, "rate"),
        ({"cors_origins": "clinic.example"}, "cors_origins"),
        ({"cors_origins": "https://clinic.example/page"}, "cors_origins"),
        ({"keys": "/nowhere.json"}, "nowhere"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(published: Path, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidConfiguration, match=named):
        create_app(Settings(registry=str(published), **settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_on_this_machine_no_key_is_needed(host: str) -> None:
    security.check_exposure(Settings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_nobody_opens_the_service_to_others_by_accident(host: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="CUPDISC_KEYS"):
        security.check_exposure(Settings(), host)
    security.check_exposure(Settings(open=True), host)
    security.check_exposure(Settings(keys=tmp_path / "keys.json"), host)


def test_the_document_says_which_paths_need_a_key(locked: TestClient, client: TestClient) -> None:
    closed, opened = locked.get("/openapi.json").json(), client.get("/openapi.json").json()
    assert set(closed["components"]["securitySchemes"]) == {"key", "bearer"}
    for path, operations in closed["paths"].items():
        for method, operation in operations.items():
            needed = security.needed_scope(method.upper(), path)
            assert ("security" in operation) == (needed is not None)
            if needed is not None:
                assert {} not in operation["security"]
                assert {} in opened["paths"][path][method]["security"]
                assert {"401", "403", "429", "503"} <= set(operation["responses"])
    for path in ("/v1/segmentations", "/v1/measurements"):
        assert "504" in closed["paths"][path]["post"]["responses"]


def test_every_answer_tells_browsers_to_be_careful(locked: TestClient) -> None:
    for answer in (
        locked.get("/"),
        locked.get("/docs"),
        locked.get("/health/live"),
        locked.get("/nowhere"),
        locked.get("/v1/versions", headers=bearer(CLINIC)),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers  # this is http
    assert locked.get("/v1/versions", headers=bearer(CLINIC)).headers["cache-control"] == "no-store"


def test_behind_https_browsers_are_told_to_stay_there(published: Path) -> None:
    with TestClient(create_app(Settings(registry=str(published))), base_url="https://here") as client:
        assert client.get("/").headers["strict-transport-security"] == "max-age=31536000"


def test_other_sites_pages_are_closed_out_unless_named(client: TestClient, start: Callable[..., TestClient]) -> None:
    asked = {"origin": "https://clinic.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.options("/v1/segmentations", headers=asked).headers
    assert "access-control-allow-origin" not in client.get("/v1/versions", headers=asked).headers
    opened = start(cors_origins="https://clinic.example, https://other.example:8443")
    allowed = opened.options("/v1/segmentations", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://clinic.example"
    assert "access-control-allow-credentials" not in allowed.headers
    stranger = opened.get("/v1/versions", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    answer = opened.post("/v1/segmentations", content=EYE, headers={**JPEG, "origin": "https://other.example:8443"})
    assert answer.headers["access-control-allow-origin"] == "https://other.example:8443"


def test_folders_are_not_listed(client: TestClient) -> None:
    for path in ("/page/", "/docs/assets/", "/page/x/", "/page/%2e%2e/app.py", "/docs/assets/..%2f..%2f"):
        assert client.get(path).status_code == 404


def test_many_threads_are_counted_rightly(locked: TestClient) -> None:
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(locked.get("/v1/versions", headers=bearer(CLINIC)).status_code)

    threads = [Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 16
    assert json.loads(locked.get("/health/live").text) == {"status": "ok"}
