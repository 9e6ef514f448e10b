"""Bodies are counted and timed while they arrive; measured at a real server, byte by byte."""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request

from service import observability, problems, uploads

LIMIT = 100_000  # bytes


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that answers with the length of the photograph."""
    with serve(measuring(timeout_s=60)) as number:
        yield number


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    """Of one that waits half a second for a body."""
    with serve(measuring(timeout_s=0.5)) as number:
        yield number


@pytest.fixture(autouse=True)
def lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, the rest of a refused body is taken in."""
    monkeypatch.setattr(uploads, "LINGER_S", 60)


def measuring(timeout_s: float, max_held_bytes: int = 10 * LIMIT) -> FastAPI:
    app = FastAPI()
    app.add_middleware(uploads.BoundedUploads, max_bytes=LIMIT, timeout_s=timeout_s, max_held_bytes=max_held_bytes)
    problems.install(app)
    app.state.metrics = observability.Metrics()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await uploads.photograph_bytes(request))

    return app


@contextlib.contextmanager
def serve(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def exchange(port: int, *chunks: bytes, pause_s: float = 0.0, hang_up: bool = False) -> tuple[int, dict[str, Any]]:
    """Send raw bytes, read one answer: status and JSON body; status 0 where the server closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for chunk in chunks:
            try:
                connection.sendall(chunk)
            except ConnectionError:
                break
            time.sleep(pause_s)
        if hang_up:
            return 0, {}
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return 0, {}
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        expected = int(lengths[0].split(b":")[1])
        while len(body) < expected:
            body += connection.recv(65536)
        status = int(head.split()[1])
        return status, json.loads(body) if b"json" in head else {}


def head(*headers: str) -> bytes:
    return "\r\n".join(["POST /length HTTP/1.1", "Host: test", *headers, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


JPEG = "Content-Type: image/jpeg"
CHUNKED = "Transfer-Encoding: chunked"
FORM = "Content-Type: multipart/form-data; boundary=x"


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> list[bytes]:
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end
    return [head(FORM, f"Content-Length: {len(body)}"), body]


def file_part(data: bytes, name: str = "image") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode() + data


def test_raw_body(port: int) -> None:
    assert exchange(port, head(JPEG, "Content-Length: 5"), b"12345") == (200, 5)


def test_chunked_body_without_length(port: int) -> None:
    assert exchange(port, head(JPEG, CHUNKED), chunk(b"abc"), chunk(b"de"), b"0\r\n\r\n") == (200, 5)


def test_form(port: int) -> None:
    assert exchange(port, *form(file_part(b"x" * 70_000))) == (200, 70_000)


def test_no_body(port: int) -> None:
    assert exchange(port, head(JPEG)) == (200, 0)
    assert exchange(port, head()) == (200, 0)


def test_declared_length_beyond_the_limit_is_refused_before_any_byte(port: int) -> None:
    status, body = exchange(port, head(JPEG, f"Content-Length: {60 * 2**20}"))
    assert (status, body["code"]) == (413, "too_many_bytes")


def test_curl_is_not_asked_to_go_on_with_a_body_that_is_too_long(port: int) -> None:
    status, _ = exchange(port, head(JPEG, f"Content-Length: {60 * 2**20}", "Expect: 100-continue"))
    assert status == 413  # the first line of the answer, not "100 Continue"


def test_chunked_body_is_refused_while_it_arrives(port: int) -> None:
    pieces = [chunk(b"x" * 50_000)] * 3
    status, body = exchange(port, head(JPEG, CHUNKED), *pieces)  # it never ends
    assert (status, body["code"]) == (413, "too_many_bytes")


def test_sixty_megabytes_sent_whole_still_get_the_answer(port: int) -> None:
    status, body = exchange(port, head(JPEG, f"Content-Length: {60 * 2**20}"), *[b"x" * 2**20] * 60)
    assert (status, body["code"]) == (413, "too_many_bytes")


def test_endless_body_is_cut_off_after_the_refusal(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LINGER_S", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head(JPEG, CHUNKED))
        endless = itertools.repeat(chunk(b"x" * 10_000), 100_000)
        with pytest.raises(ConnectionError):
            deque(map(connection.sendall, endless), maxlen=0)


@pytest.mark.parametrize("kind", [JPEG, FORM])
def test_slow_body_is_ended(impatient: int, kind: str) -> None:
    status, body = exchange(impatient, head(kind, "Content-Length: 50"), b"--x", b"\r", pause_s=0.05)
    assert (status, body["code"]) == (408, "upload_too_slow")


def test_dripping_body_is_ended_too(impatient: int) -> None:
    status, body = exchange(impatient, head(JPEG, "Content-Length: 50"), *[b"x"] * 15, pause_s=0.05)
    assert (status, body["code"]) == (408, "upload_too_slow")


def test_client_that_hangs_up_leaves_the_server_well(port: int, caplog: pytest.LogCaptureFixture) -> None:
    exchange(port, head(JPEG, "Content-Length: 50"), b"x", hang_up=True)
    exchange(port, head(FORM, "Content-Length: 50"), b"--x\r\n", hang_up=True)
    assert exchange(port, head(JPEG, "Content-Length: 1"), b"x") == (200, 1)
    assert not caplog.records


def test_body_longer_than_declared_is_another_request(port: int) -> None:
    assert exchange(port, head(JPEG, "Content-Length: 2"), b"abcd") == (200, 2)


@pytest.mark.parametrize(
    "headers",
    [("Content-Length: -1",), ("Content-Length: x",), ("Content-Length: 1", "Content-Length: 2"), ("a\0b: c",)],
)
def test_headers_that_are_no_http(port: int, headers: tuple[str, ...]) -> None:
    assert exchange_status(port, head(JPEG, *headers)) == 400


def exchange_status(port: int, data: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        return int(connection.recv(65536).split()[1])


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("image/png", 200),
        ("IMAGE/JPEG; q=1", 200),
        ("image/jpg", 200),
        ("application/octet-stream", 200),
        ("text/plain", 415),
        ("image/gif", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),  # what curl sends with --data-binary alone
        ("\xff\xfe", 415),
    ],
)
def test_content_type(port: int, content_type: str, status: int) -> None:
    assert exchange(port, head(f"Content-Type: {content_type}", "Content-Length: 3"), b"abc")[0] == status


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (form(file_part(b"x", "photo")), 422, "photograph_missing"),
        (form(b'Content-Disposition: form-data; name="image"\r\n\r\ntext'), 422, "photograph_missing"),
        (form(file_part(b"1"), file_part(b"2")), 422, "photograph_missing"),
        (form(file_part(b"1"), end=b""), 400, "invalid_multipart"),
        (form(file_part(b"1"), end=b"--y--\r\n"), 400, "invalid_multipart"),
        (form(end=b""), 400, "invalid_multipart"),
        (form(end=b"\0" * 1000), 400, "invalid_multipart"),
        (form(*[file_part(b"1", "other")] * 200), 400, "invalid_multipart"),
        (form(*[b"X: y\r\n" * 100 + file_part(b"1")]), 400, "invalid_multipart"),
        (form(b"X: " + b"y" * 50_000 + b"\r\n" + file_part(b"1")), 400, "invalid_multipart"),
        (form(b"\0\xff: \0\r\n\r\nx"), 400, "invalid_multipart"),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), 400, "invalid_multipart"),
        ([head("Content-Type: multipart/form-data", "Content-Length: 1"), b"x"], 400, "invalid_multipart"),
        ([head(FORM[:-1] + "y" * 300, "Content-Length: 1"), b"x"], 400, "invalid_multipart"),
        ([head(FORM + "; charset=rot13", "Content-Length: 7"), b"--x--\r\n"], 422, "photograph_missing"),
    ],
)
def test_broken_form(port: int, request_bytes: list[bytes], status: int, code: str) -> None:
    answered, body = exchange(port, *request_bytes)
    assert (answered, body["code"]) == (status, code)


def test_strange_file_name_does_not_matter(port: int) -> None:
    part = b'Content-Disposition: form-data; name="image"; filename="../\0\xff%00\xf0"\r\n\r\nabc'
    assert exchange(port, *form(part)) == (200, 3)


def test_a_photograph_never_touches_the_disk(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert exchange(port, *form(file_part(b"x" * 90_000))) == (200, 90_000)


def test_all_bodies_together_take_no_more_memory_than_agreed() -> None:
    head = f"POST /length HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\nContent-Length: {LIMIT}\r\n"
    close = b"Connection: close\r\n\r\n"
    app = measuring(timeout_s=60, max_held_bytes=2 * LIMIT)
    with serve(app) as port:
        with contextlib.ExitStack() as stack:
            for _ in range(2):  # all but one byte each: nothing is answered, everything is held
                held = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                held.sendall(head.encode() + b"\r\n" + bytes(LIMIT - 1))
            status = 200
            while status == 200:  # until both have arrived
                status, answer = exchange(port, head.encode() + close + bytes(LIMIT))
            assert (status, answer["code"]) == (503, "overloaded")
            assert b'cupdisc_refused_total{reason="overloaded"}' in app.state.metrics.render()
        status = 503
        while status == 503:  # they have hung up, and there is room again
            status, answer = exchange(port, head.encode() + close + bytes(LIMIT))
        assert (status, answer) == (200, LIMIT)
