"""The service follows its registry: a good version takes over between two requests, a bad one never does."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model import artefact, signature
from model.errors import ProbeFailed
from model.local_registry import LocalRegistry
from model.segmenter import Segmenter
from service import probe
from service.app import create_app
from service.keys import Key, KeyFile, digest, new_key, write
from service.settings import Settings
from tests import example_by_hand
from tests.model.test_signature import write_keys
from tests.service.conftest import EYE, draw_graded_eye, encode
from tests.service.listening import begin_request, listening
from tests.service.test_keys import key_file
from tests.versions import stage

OLD, NOW, NEXT, BLIND = "2026.1.1", "2026.2.1", "2026.3.1", "2026.4.1"
GRADED = encode(draw_graded_eye())
JPEG = {"content-type": "image/jpeg"}
LOOPBACK = ("127.0.0.1", 50000)
Start = Callable[..., TestClient]


@pytest.fixture
def here(registry: Path, second: Path, blind: Path) -> LocalRegistry:
    """The registry of the service under test: NOW in production, OLD, NEXT and BLIND beside it."""
    found = LocalRegistry(registry)
    found.publish(second)
    found.publish(blind)
    return found


@pytest.fixture
def serve(here: LocalRegistry) -> Any:
    """A service that looks at the registry when told to."""
    clients = []

    def start(**settings: Any) -> TestClient:
        given = {"registry": str(here), "poll_interval_s": 0, "slowest_probe_s": 60, **settings}
        clients.append(TestClient(create_app(Settings(**given)), client=LOOPBACK))
        return clients[-1].__enter__()

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def refresh(client: TestClient) -> dict[str, Any]:
    answer = client.post("/v1/admin/refresh")
    assert answer.status_code == 200, answer.text
    return answer.json()


def answer_of(client: TestClient, **query: str) -> Any:
    answer = client.post("/v1/segmentations", content=GRADED, headers=JPEG, params={"masks": "none", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def version_of(client: TestClient, **query: str) -> str:
    return str(answer_of(client, **query)["version"]["version"])


def figure(client: TestClient, name: str, **labels: str) -> float:
    """The sum of a metric's series with these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


def test_an_alias_is_followed_and_back(serve: Start, here: LocalRegistry) -> None:
    client = serve()
    before = answer_of(client)
    assert before["version"]["version"] == NOW
    here.set_alias("production", NEXT)
    assert version_of(client) == NOW  # nobody has looked yet
    told = refresh(client)
    assert (told["default"], told["degraded"], told["refused"]) == (NEXT, {}, {})
    after = answer_of(client)
    assert after["version"]["version"] == NEXT
    assert after["cup"]["area"] > 1.4 * before["cup"]["area"]
    assert figure(client, "cupdisc_live_version", version=NEXT, role="production") == 1
    here.roll_back("production")
    assert refresh(client)["default"] == NOW
    events = [(event["event"], event["version"]) for event in refresh(client)["events"]]
    assert events == [("loaded", NOW), ("loaded", NEXT), ("swapped", NEXT), ("rolled_back", NOW)]
    assert figure(client, "cupdisc_version_events_total", event="rolled_back", version=NOW) == 1
    assert version_of(client, version="production") == NOW


def test_an_alias_is_followed_by_itself(serve: Start, here: LocalRegistry) -> None:
    client = serve(poll_interval_s=0.02)
    here.set_alias("production", NEXT)
    for _ in range(2000):
        if client.get("/v1/versions").json()["default"] == NEXT:
            break
    assert version_of(client) == NEXT


def damaged(here: LocalRegistry) -> None:
    file = here.open(NEXT).folder / "segmenter" / "saved_model.pb"
    file.write_bytes(file.read_bytes() + b"\0")


def of_newer_schema(here: LocalRegistry) -> None:
    file = here.open(NEXT).folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "schema": 99}), encoding="utf-8")


def not_runnable(here: LocalRegistry) -> None:
    folder = here.open(NEXT).folder
    manifest = artefact.read(folder).manifest
    shutil.rmtree(folder / "segmenter")
    shutil.copytree(stage(folder.parents[2] / "bytes").folder / "segmenter", folder / "segmenter")
    artefact.write(folder, manifest)


@pytest.mark.parametrize(
    ("damage", "version", "why"),
    [
        (damaged, NEXT, "saved_model.pb: changed"),
        (of_newer_schema, NEXT, "schema 99"),
        (not_runnable, NEXT, "cannot load it"),
        (lambda here: None, BLIND, "wrong on the probe"),
    ],
    ids=["corrupt", "newer schema", "not runnable", "wrong"],
)
def test_a_bad_version_is_refused_and_the_old_one_serves_on(
    serve: Start, here: LocalRegistry, damage: Any, version: str, why: str
) -> None:
    client = serve()
    damage(here)
    here.set_alias("production", version)
    told = refresh(client)
    assert told["default"] == NOW
    assert why in told["refused"][version]
    assert version_of(client) == version_of(client, version="production") == NOW
    assert client.post("/v1/segmentations", content=EYE, params={"version": version}, headers=JPEG).status_code == 404
    assert figure(client, "cupdisc_version_events_total", event="refused", version=version) == 1
    assert client.get("/health/ready").json() == {"status": "degraded", "reasons": ["version_refused"]}
    here.set_alias("production", OLD)
    assert refresh(client)["default"] == OLD
    assert client.get("/health/ready").json() == {"status": "ok"}


def test_a_version_that_is_too_slow_is_refused(serve: Start, here: LocalRegistry) -> None:
    client = serve()
    versions = client.app.state.live._versions
    versions._settings = versions._settings.model_copy(update={"slowest_probe_s": 1e-9})
    here.set_alias("production", NEXT)
    told = refresh(client)
    assert told["default"] == NOW
    assert "takes" in told["refused"][NEXT]
    (event,) = [event for event in told["events"] if event["event"] == "refused"]
    assert event["version"] == NEXT
    assert event["detail"] == told["refused"][NEXT]
    assert figure(client, "cupdisc_version_events_total", event="refused", version=NEXT) == 1
    assert client.get("/health/ready").json() == {"status": "degraded", "reasons": ["version_refused"]}


def test_an_alias_to_nowhere_is_told_once_and_the_old_version_serves_on(serve: Start, here: LocalRegistry) -> None:
    client = serve()
    (Path(str(here)) / "disc-cup" / "aliases.json").write_text('{"production": "2030.1.1"}', encoding="utf-8")
    for _ in range(3):
        told = refresh(client)
    assert told["default"] == NOW
    assert [event["event"] for event in told["events"]] == ["loaded", "refused"]
    assert "2030.1.1" in told["degraded"]["version_refused"]
    for text in ("{", "{}"):
        (Path(str(here)) / "disc-cup" / "aliases.json").write_text(text, encoding="utf-8")
        assert refresh(client)["default"] == NOW
        assert client.get("/health/ready").json()["status"] == "degraded"


def test_a_refused_version_is_looked_at_again_when_asked(serve: Start, here: LocalRegistry) -> None:
    client = serve()
    file = here.open(NEXT).folder / "card.md" if (here.open(NEXT).folder / "card.md").exists() else None
    file = file or here.open(NEXT).folder / "segmenter" / "fingerprint.pb"
    content = file.read_bytes()
    file.write_bytes(b"changed")
    here.set_alias("production", NEXT)
    assert refresh(client)["default"] == NOW
    file.write_bytes(content)
    client.app.state.live.refresh()  # as the follower does
    assert client.app.state.live.default == NOW
    assert refresh(client)["default"] == NEXT


def test_a_candidate_takes_its_share(serve: Start, here: LocalRegistry) -> None:
    client = serve(candidate_share=0.5)
    assert {version_of(client) for _ in range(6)} == {NOW}
    here.set_alias("candidate", NEXT)
    told = refresh(client)
    assert (told["default"], told["candidate"]) == (NOW, NEXT)
    assert {version_of(client) for _ in range(40)} == {NOW, NEXT}  # one alone: once in 2**39
    assert {version_of(client, version="production") for _ in range(5)} == {NOW}
    here.remove_alias("candidate")
    assert refresh(client)["candidate"] is None
    assert {version_of(client) for _ in range(10)} == {NOW}


def test_without_a_share_nobody_meets_the_candidate(serve: Start, here: LocalRegistry) -> None:
    here.set_alias("candidate", NEXT)
    client = serve()
    assert client.app.state.live.candidate is None
    assert {version_of(client) for _ in range(10)} == {NOW}
    assert version_of(client, version="candidate") == NEXT


def test_an_alias_that_nobody_follows_is_ready_once_its_version_is_in_memory(serve: Start, here: LocalRegistry) -> None:
    here.set_alias("stable", OLD)
    client = serve()
    live = client.app.state.live
    for alias, version in (("stable", OLD), ("newer", NEXT)):  # one known at start, one that came later
        here.set_alias(alias, version)
        assert live.ready(alias) is None
        assert version_of(client, version=alias) == version
        assert live.ready(alias).version == version
    here.set_alias("stable", NEXT)
    refresh(client)
    assert live.ready("stable").version == NEXT


def test_what_was_asked_for_longest_ago_is_unloaded(serve: Start) -> None:
    client = serve(max_live_versions=3, probe=False)
    for version in (OLD, NEXT, OLD, BLIND):  # OLD is older in memory than NEXT, and was asked for later
        client.post("/v1/segmentations", content=EYE, params={"version": version}, headers=JPEG)
    assert client.app.state.live._versions.in_memory() == (OLD, NOW, BLIND)


@pytest.mark.parametrize("fails", [False, True])
def test_conventions_that_were_asked_for_are_ready_at_the_swap(
    serve: Start, here: LocalRegistry, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    client = serve()
    assert answer_of(client, convention="wide")["version"]["convention"] == "wide"
    if fails:
        monkeypatch.setattr(Segmenter, "_drawing", lambda self, name: 1 / 0)
    here.set_alias("production", OLD)
    refresh(client)
    production = client.app.state.live.production
    assert production.version == OLD
    assert production.is_ready("wide") is not fails


def test_a_shadow_is_compared_and_not_shown(serve: Start, here: LocalRegistry) -> None:
    here.set_alias("candidate", NEXT)
    client = serve(shadow_share=1.0)
    pair = {"version": NOW, "compared_with": NEXT}
    for number in range(1, 4):
        assert version_of(client) == NOW
        while figure(client, "cupdisc_version_events_total", event="compared", version=NEXT) < number:
            pass
    assert figure(client, "cupdisc_shadow_disc_dice_count", **pair) == 3
    assert figure(client, "cupdisc_shadow_disc_dice_sum", **pair) > 2.9
    assert 1.5 < figure(client, "cupdisc_shadow_cup_dice_sum", **pair) < 2.7
    difference = "cupdisc_shadow_vertical_ratio_difference_bucket"
    assert (figure(client, difference, **pair, le="0.05"), figure(client, difference, **pair, le="+Inf")) == (0, 3)


def test_a_shadow_tells_whose_photographs_it_sees_otherwise(serve: Start, here: LocalRegistry, tmp_path: Path) -> None:
    here.set_alias("candidate", NEXT)
    secrets = {name: new_key() for name in ("east", "west")}
    callers = tuple(
        Key(name=name, scopes=frozenset({"segment", "admin"}), sha256=digest(key)) for name, key in secrets.items()
    )
    write(tmp_path / "keys.json", KeyFile(keys=callers))
    client = serve(shadow_share=1.0, keys=str(tmp_path / "keys.json"))
    for number, name in enumerate(("east", "west", "east"), start=1):
        client.headers["X-API-Key"] = secrets[name]
        assert version_of(client) == NOW
        while figure(client, "cupdisc_version_events_total", event="compared", version=NEXT) < number:
            pass
    pair = {"version": NOW, "compared_with": NEXT}
    counts = [figure(client, "cupdisc_shadow_cup_dice_count", **pair, caller=name) for name in secrets]
    assert counts == [2, 1]


def test_a_bad_candidate_harms_nobody(serve: Start, here: LocalRegistry) -> None:
    here.set_alias("candidate", BLIND)
    client = serve(candidate_share=1.0)
    assert version_of(client) == NOW
    assert client.get("/health/ready").json() == {"status": "degraded", "reasons": ["candidate_refused"]}


def test_a_request_under_way_ends_on_the_version_that_it_began_with(here: LocalRegistry) -> None:
    """Half of its photograph is there when production changes, and changes again; then comes the rest."""
    settings = Settings(registry=str(here), poll_interval_s=0, slowest_probe_s=60, keep_alive_s=0.1)
    app = create_app(settings)
    with listening(settings, app) as port:
        finish, _ = begin_request(port, GRADED, "masks=png")
        for version in (NEXT, OLD, NEXT):
            here.set_alias("production", version)
            app.state.live.refresh()
            assert app.state.live.default == version
        begun_before = finish()
        begun_after, _ = begin_request(port, GRADED, "masks=png")
        asked_by_name, _ = begin_request(port, GRADED, f"masks=png&version={NOW}")
        answers = [begun_before, begun_after(), asked_by_name()]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    before, after, by_name = (json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers)
    assert [answer["version"]["version"] for answer in (before, after, by_name)] == [NOW, NEXT, NOW]
    for part in ("disc", "cup"):
        assert before[part]["mask"] == by_name[part]["mask"]
    assert before["cup"]["mask"] != after["cup"]["mask"]


def test_only_signed_versions_are_served_where_a_key_is_trusted(
    serve: Start, here: LocalRegistry, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path, "own")
    signature.sign(here.open(NOW), private, tmp_path / "signature")
    here.sign(NOW, tmp_path / "signature")
    client = serve(trusted_key=public)
    assert version_of(client) == NOW
    here.set_alias("production", NEXT)
    assert "not signed" in refresh(client)["refused"][NEXT]
    signature.sign(here.open(NEXT), private, tmp_path / "signature")
    here.sign(NEXT, tmp_path / "signature")
    assert refresh(client)["default"] == NEXT


@pytest.mark.parametrize(
    ("settings", "address", "headers"),
    [
        ({"open": True}, "127.0.0.1", {}),
        ({}, "192.0.2.7", {}),
        ({}, "127.0.0.1", {"origin": "https://evil.example"}),
        ({}, "127.0.0.1", {"x-forwarded-for": "192.0.2.7"}),
    ],
    ids=["open", "elsewhere", "browser", "proxied"],
)
def test_strangers_cannot_ask_for_a_refresh(
    here: LocalRegistry, settings: dict[str, Any], address: str, headers: dict[str, str]
) -> None:
    app = create_app(Settings(registry=str(here), poll_interval_s=0, **settings))
    with TestClient(app, client=(address, 50000)) as client:
        here.set_alias("production", NEXT)
        answer = client.post("/v1/admin/refresh", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "only_from_here")
        assert app.state.live.default == NOW


def test_with_keys_the_scope_admin_may_ask_from_anywhere(here: LocalRegistry, tmp_path: Path) -> None:
    admin, clinic = new_key(), new_key()
    operator = {"name": "operator", "sha256": digest(admin), "scopes": ["admin"]}
    keys = key_file(tmp_path, operator, {"name": "clinic", "sha256": digest(clinic)})
    settings = Settings(registry=str(here), poll_interval_s=0, keys=keys, open=True)
    with TestClient(create_app(settings), client=("192.0.2.7", 50000)) as client:
        here.set_alias("production", NEXT)
        for key, expected in ((clinic, 403), (admin, 200)):
            answer = client.post("/v1/admin/refresh", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == expected
        assert answer.json()["default"] == NEXT


def test_the_probes_disc_is_the_one_measured_by_hand() -> None:
    assert (probe.DISC_ROWS, probe.DISC_COLUMNS) == (example_by_hand.DISC_ROWS, example_by_hand.DISC_COLUMNS)
    assert pytest.approx(example_by_hand.VERTICAL_RATIO, abs=0.005) == probe.VERTICAL_RATIO


def test_the_probe_tells_right_from_wrong_and_slow(here: LocalRegistry) -> None:
    assert probe.probe(Segmenter(here.open(NOW)), 60) > 0
    with pytest.raises(ProbeFailed, match="wrong"):
        probe.probe(Segmenter(here.open(BLIND)), 60)
    with pytest.raises(ProbeFailed, match="allowed"):
        probe.probe(Segmenter(here.open(NOW)), 1e-9)
