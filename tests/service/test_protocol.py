"""What a connection may cost: slow heads, too many connections, clients that do not read, and what is no HTTP."""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import Response
from uvicorn.protocols.http import h11_impl

from service.app import create_app
from service.protocol import counted_as
from service.settings import Settings
from tests.service.listening import answered, connect, listening

HEAD_TIMEOUT_S = 1.0
PATIENT = {"head_timeout_s": 300.0, "keep_alive_s": 300.0}  # however slow this machine is, these do not end
GET = b"GET /health/live HTTP/1.1\r\nHost: here\r\n"
UPLOAD = (  # of which the body does not come
    b"POST /v1/segmentations HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n"
    b"Expect: 100-continue\r\n\r\n"
)


@pytest.fixture(scope="module")
def port(published: Path) -> Iterator[int]:
    with listening(Settings(registry=str(published), head_timeout_s=HEAD_TIMEOUT_S, keep_alive_s=1.0)) as number:
        yield number


def whole_answer(connection: socket.socket) -> bytes:
    """To `GET`, on a connection that stays open."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(65536)
    return received


def problem(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    found = json.loads(body)
    assert int(head.split()[1]) == found["status"]
    return found["status"], found["code"]


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET, GET + b"X: "])
def test_a_head_that_does_not_come_is_not_waited_for(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(sent)
        assert problem(answered(connection)) == (408, "head_too_slow")


def test_a_head_that_drips_is_not_waited_for_either(port: int) -> None:
    began = time.monotonic()
    with connect(port) as connection:
        connection.settimeout(0.05)
        received = b""
        for byte in GET * 10:
            try:
                connection.sendall(bytes([byte]))
                received = connection.recv(65536)
                break
            except TimeoutError:
                continue
        assert problem(received) == (408, "head_too_slow")
        assert time.monotonic() - began >= HEAD_TIMEOUT_S


def test_the_head_of_a_second_request_is_timed_too(published: Path) -> None:
    settings = Settings(registry=str(published), head_timeout_s=HEAD_TIMEOUT_S, keep_alive_s=300)
    with listening(settings) as port, connect(port) as connection:
        connection.sendall(GET + b"\r\n")
        assert whole_answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /")
        assert problem(answered(connection)) == (408, "head_too_slow")


def test_an_idle_connection_is_closed_without_a_word(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(GET + b"\r\n")
        received = answered(connection)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == 1


def test_one_connection_more_than_agreed_is_told_so(published: Path) -> None:
    with listening(Settings(registry=str(published), max_connections=8, **PATIENT)) as port:
        held = [connect(port) for _ in range(8)]
        for connection in held:
            connection.sendall(UPLOAD)
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # its head has come
        with connect(port) as one_more:
            received = answered(one_more)
            assert problem(received) == (503, "too_many_connections")
            assert b"retry-after" in received
        for connection in held:
            connection.close()
        while not received.startswith(b"HTTP/1.1 200"):  # until the places are free again
            with connect(port) as connection:
                connection.sendall(GET + b"Connection: close\r\n\r\n")
                received = answered(connection)


def test_silent_connections_make_room_the_longest_silent_first(published: Path) -> None:
    with (
        listening(Settings(registry=str(published), max_connections=4, **PATIENT)) as port,
        contextlib.ExitStack() as held,
    ):
        for connection in (silent := [held.enter_context(connect(port)) for _ in range(4)])[::-1]:
            connection.sendall(GET + b"\r\n")
            assert whole_answer(connection).startswith(b"HTTP/1.1 200")  # silent from now on, the last one first
        with connect(port) as one_more:
            one_more.sendall(GET + b"Connection: close\r\n\r\n")
            assert answered(one_more).startswith(b"HTTP/1.1 200")
        assert answered(silent.pop()) == b""
        for connection in silent:
            connection.sendall(GET + b"Connection: close\r\n\r\n")
            assert answered(connection).startswith(b"HTTP/1.1 200")


def test_who_still_reads_its_answer_makes_no_room(published: Path) -> None:
    settings, answer = Settings(registry=str(published), max_connections=1, **PATIENT), b"x" * 2**24
    app = create_app(settings)
    app.add_api_route("/large", lambda: Response(answer))  # complete for uvicorn once it is in its memory
    with listening(settings, app) as port, connect(port) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        received = b""
        while b"\r\n\r\nx" not in received:
            received += slow.recv(1024)
        with connect(port) as one_more:
            assert problem(answered(one_more)) == (503, "too_many_connections")
        while not received.endswith(answer):
            piece = slow.recv(2**20)
            assert piece
            received += piece
        with connect(port) as one_more:  # it has all of it now
            one_more.sendall(GET + b"Connection: close\r\n\r\n")
            assert answered(one_more).startswith(b"HTTP/1.1 200")


def test_one_address_may_not_take_all_connections(published: Path) -> None:
    with listening(Settings(registry=str(published), max_connections_per_address=2, **PATIENT)) as port:
        held = [connect(port) for _ in range(2)]
        with connect(port) as one_more:
            assert problem(answered(one_more)) == (503, "too_many_connections")
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as neighbour:
            neighbour.sendall(GET + b"Connection: close\r\n\r\n")
            assert answered(neighbour).startswith(b"HTTP/1.1 200")
        for connection in held:
            connection.close()


def test_a_household_with_many_addresses_is_one(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As seen by the server: this machine has one address of IPv6 alone."""
    peers = itertools.chain((f"2001:db8::{number}" for number in (1, 2, 3)), ["2001:db8:0:1::1"])
    monkeypatch.setattr(h11_impl, "get_remote_addr", lambda transport: (next(peers), 50000))
    with listening(Settings(registry=str(published), max_connections_per_address=2, **PATIENT)) as port:
        held = [connect(port) for _ in range(2)]
        with connect(port) as third:
            assert problem(answered(third)) == (503, "too_many_connections")
        with connect(port) as neighbour:
            neighbour.sendall(GET + b"Connection: close\r\n\r\n")
            assert answered(neighbour).startswith(b"HTTP/1.1 200")
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_what_an_address_is_counted_as(host: str, expected: str) -> None:
    assert counted_as(host) == expected


def test_a_client_that_does_not_read_is_left(published: Path) -> None:
    def left() -> bool:
        with connect(port) as other:
            other.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            return b'cupdisc_refused_total{reason="slow_reader"} 1.0' in answered(other)

    with listening(Settings(registry=str(published), write_timeout_s=0.5)) as port, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: here\r\n\r\n"
        connection.sendall(asked * 4)  # megabytes, more than all buffers hold
        while not left():
            time.sleep(0.05)
        received = answered(connection)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1 200") < 4


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
        b"GET / HTTPS/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \0\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000,
    ],
)
def test_what_is_no_http_is_told_so_in_json(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(sent)
        assert problem(answered(connection)) == (400, "invalid_http")


def test_a_head_that_is_large_and_comes_at_once_is_refused(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(GET + b"Connection: close\r\nX: " + b"y" * 20_000 + b"\r\n\r\n")
        assert problem(answered(connection)) == (431, "head_too_large")
