"""More than it can do, and clients of all bad habits: some are told to wait, nobody else notices, nothing is left over.

At a service that really listens; a gate before the decoder decides how long its only worker is busy.
"""

import concurrent.futures as cf
import contextlib
import json
import resource
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI

from model.errors import Overloaded
from service import uploads
from service.app import create_app
from service.queueing import Queue
from service.settings import Settings
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.listening import answered, connect, listening

URL = "/v1/segmentations?masks=none"
PREDICT = "/v1/models/disc-cup:predict"
EIGHT = json.dumps({"instances": [{"b64": b64encode(EYE).decode()}] * 8}).encode()
OUTLINES = b'{"width": 40, "height": 30, "disc": [[[5, 5], [24, 5], [24, 24], [5, 24]]], "cup": []}'
LABEL_MASK = encode(np.pad(np.ones((20, 20), np.uint8), 5), "PNG")


@dataclass
class Gated:
    """A listening service whose worker waits behind a gate with every photograph; and what has come that far."""

    port: int
    app: FastAPI
    gate: threading.Event
    begun: list[int]  # bytes of each photograph

    @property
    def queue(self) -> Queue:
        queue: Queue = self.app.state.queue
        return queue

    def post(self, data: bytes = EYE, query: str = URL, **headers: str) -> httpx2.Response:
        return httpx2.post(f"http://127.0.0.1:{self.port}{query}", content=data, headers=headers, timeout=60)

    def idle(self) -> bool:
        return self.queue._waiting == 0 and self.queue._free == self.queue._terms.workers


@contextlib.contextmanager
def gated(published: Path, **settings: Any) -> Iterator[Gated]:
    chosen = Settings(registry=str(published), **{"max_parallel": 1, **settings})
    app = create_app(chosen)
    gate, begun, decode = threading.Event(), [], app.state.decode

    def behind_the_gate(data: bytes, side: int | None) -> Any:
        begun.append(len(data))
        assert gate.wait(60)
        return decode(data, side)

    app.state.decode = behind_the_gate
    with listening(chosen, app) as port:
        try:
            yield Gated(port, app, gate, begun)
        finally:
            gate.set()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def head(length: int) -> bytes:
    return (
        f"POST {URL} HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def test_beyond_the_queue_503_with_retry_after_before_any_of_the_body(published: Path) -> None:
    with gated(published, max_queue_length=1) as service, cf.ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(service.post) for _ in range(2)]
        until(lambda: len(service.begun) == 1 and service.queue._waiting == 1)
        with connect(service.port) as connection:
            connection.sendall(head(30 * 2**20))  # and not a byte of it
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(65536)
        top, _, body = received.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: " in top.lower()
        assert json.loads(body)["code"] == "overloaded"
        assert len(service.begun) == 1
        service.gate.set()
        assert [answer.result(60).status_code for answer in accepted] == [200, 200]
        assert service.post().status_code == 200


@pytest.mark.parametrize(
    ("path", "kind", "data"),
    [
        ("/v1/measurements", "image/png", LABEL_MASK),
        ("/v1/measurements", "application/json", OUTLINES),
        ("/page/picture", "image/jpeg", EYE),
    ],
    ids=["mask", "outlines", "picture"],
)
def test_measurements_and_pictures_wait_in_the_same_queue(published: Path, path: str, kind: str, data: bytes) -> None:
    with gated(published, max_queue_length=1) as service, cf.ThreadPoolExecutor(2) as pool:
        held = [pool.submit(service.post) for _ in range(2)]
        until(lambda: service.queue._waiting == 1)
        refused = service.post(data, path, **{"content-type": kind})
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        service.gate.set()
        assert {answer.result(60).status_code for answer in held} == {200}
        until(service.idle)
        assert service.post(data, path, **{"content-type": kind}).status_code == 200
        service.gate.clear()
        held = [pool.submit(service.post)]
        until(lambda: service.queue._free == 0)
        service.queue._terms = type(service.queue._terms)(1, 1, 0.2)
        late = service.post(data, path, **{"content-type": kind})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        service.gate.set()
        assert held[0].result(60).status_code == 200
        until(service.idle)


def test_the_metrics_tell_who_was_refused(published: Path) -> None:
    with gated(published, max_queue_length=1) as service, cf.ThreadPoolExecutor(2) as pool:
        held = [pool.submit(service.post) for _ in range(2)]
        until(lambda: service.queue._waiting == 1)
        assert service.post().status_code == 503
        service.gate.set()
        assert {answer.result(60).status_code for answer in held} == {200}
        until(service.idle)
        service.gate.clear()
        service.queue._terms = type(service.queue._terms)(1, 1, 0.2)
        assert service.post().status_code == 504
        figures = httpx2.get(f"http://127.0.0.1:{service.port}/metrics").text
        assert 'cupdisc_refused_total{reason="overloaded"} 1.0' in figures
        assert 'cupdisc_refused_total{reason="deadline_exceeded"} 1.0' in figures


def test_a_request_of_eight_photographs_is_refused_once(published: Path) -> None:
    together = threading.Barrier(8)

    def no_process(data: bytes, side: int | None) -> Any:
        together.wait(60)
        raise Overloaded("no process can be started")

    with gated(published, max_parallel=8) as service:
        service.app.state.decode = no_process
        refused = service.post(EIGHT, PREDICT)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        figures = httpx2.get(f"http://127.0.0.1:{service.port}/metrics").text
        assert 'cupdisc_refused_total{reason="overloaded"} 1.0' in figures


def test_the_photographs_of_one_request_are_let_in_together_and_the_next_request_is_not(published: Path) -> None:
    with gated(published, max_queue_length=2) as service, cf.ThreadPoolExecutor(1) as pool:
        let_in = pool.submit(service.post, EIGHT, PREDICT)
        until(lambda: service.queue._waiting == 7)
        assert service.post(EIGHT, PREDICT).status_code == 503
        assert service.post().status_code == 503
        service.gate.set()
        assert let_in.result(60).status_code == 200
        assert len(let_in.result().json()["predictions"]) == 8
        until(service.idle)


def test_an_answer_that_comes_too_late_is_a_504_and_the_next_one_is_on_time(published: Path) -> None:
    with gated(published, deadline_s=5) as service:
        service.queue._terms = type(service.queue._terms)(1, 32, 0.2)
        answer = service.post()
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        service.queue._terms = type(service.queue._terms)(1, 32, 60)
        service.gate.set()
        until(service.idle)
        assert service.post().status_code == 200


def test_who_hangs_up_while_waiting_is_never_worked_on(published: Path) -> None:
    with gated(published) as service, cf.ThreadPoolExecutor(1) as pool:
        busy = pool.submit(service.post)
        until(lambda: len(service.begun) == 1)
        for _ in range(3):
            with connect(service.port) as connection:
                connection.sendall(head(len(EYE)) + EYE)
                until(lambda: service.queue._waiting == 1)
            until(lambda: service.queue._waiting == 0)
        service.gate.set()
        assert busy.result(60).status_code == 200
        until(service.idle)
        assert len(service.begun) == 1


def test_a_bulk_client_does_not_keep_a_single_one_waiting(published: Path) -> None:
    """Twelve photographs from one address, then one from another: it is second, not last."""
    with gated(published) as service, cf.ThreadPoolExecutor(13) as pool:
        bulk = [pool.submit(service.post) for _ in range(12)]
        until(lambda: service.queue._waiting == 11)
        single = encode(draw_eye(320, 240, 30, 15))
        with socket.create_connection(("127.0.0.1", service.port), source_address=("127.0.0.2", 0)) as connection:
            connection.sendall(head(len(single)) + single)
            until(lambda: service.queue._waiting == 12)
            service.gate.set()
            assert answered(connection).startswith(b"HTTP/1.1 200")
        assert all(answer.result(60).status_code == 200 for answer in bulk)
        assert service.begun.index(len(single)) <= 2


@pytest.mark.parametrize("sent", [b"", EYE[:1], EYE[: len(EYE) // 2]], ids=["nothing", "a byte", "half"])
def test_senders_that_stop_take_no_worker(published: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LINGER_S", 0.1)
    with gated(published, upload_timeout_s=2.0) as service:
        service.gate.set()
        stopped = [connect(service.port) for _ in range(20)]
        for connection in stopped:
            connection.sendall(head(len(EYE)) + sent)
        assert service.post().status_code == 200
        assert service.begun == [len(EYE)]
        for connection in stopped:
            assert b"upload_too_slow" in answered(connection)
            connection.close()
        assert service.idle()


def test_a_byte_at_a_time_takes_no_worker_either(published: Path) -> None:
    with gated(published, upload_timeout_s=120) as service:
        service.gate.set()
        slow = [connect(service.port) for _ in range(10)]
        for connection in slow:
            connection.sendall(head(len(EYE)))
        for byte in EYE[:20]:
            for connection in slow:
                connection.sendall(bytes([byte]))
            assert service.post().status_code == 200
        assert len(service.begun) == 20
        for connection in slow:
            connection.close()
        assert service.idle()


def test_a_thousand_connections_that_say_nothing_are_not_in_the_way(published: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(4096, before[1])), before[1]))
    try:
        with gated(published, head_timeout_s=60) as service, contextlib.ExitStack() as held:
            service.gate.set()
            for _ in range(1000):
                held.enter_context(connect(service.port))
            for _ in range(3):
                assert service.post().status_code == 200
            assert service.idle()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_client_that_never_reads_its_answer_keeps_no_worker(published: Path) -> None:
    """An overlay of megabytes of noise, which fills every buffer on the way."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    data = encode(noise)
    asked = head(len(data)).replace(b"masks=none", b"render=overlay").replace(b"Connection: close\r\n", b"")
    with gated(published, write_timeout_s=60) as service, contextlib.ExitStack() as held:
        service.gate.set()
        for _ in range(4):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(asked + data)
        until(lambda: len(service.begun) == 4 and service.idle())
        assert service.post().status_code == 200


def test_photographs_of_few_bytes_and_many_pixels_never_take_all_the_workers(published: Path) -> None:
    many_pixels = encode(np.zeros((2000, 3000, 3), np.uint8), "PNG")
    assert len(many_pixels) < 2**16
    with gated(published, max_parallel=2) as service, cf.ThreadPoolExecutor(3) as pool:
        costly = [pool.submit(service.post, many_pixels) for _ in range(2)]
        until(lambda: service.queue._waiting == 1)
        ordinary = pool.submit(service.post)
        until(lambda: len(service.begun) == 2)
        assert service.begun == [len(many_pixels), len(EYE)]
        service.gate.set()
        assert [answer.result(60).status_code for answer in (*costly, ordinary)] == [200] * 3


def test_small_and_very_large_photographs_mixed_all_get_their_own_answer(published: Path) -> None:
    shapes = [(1200, 900), (6000, 4000), (1000, 1000), (640, 480), (6000, 4000), (1100, 900)]
    eyes = {shape: encode(draw_eye(*shape, disc=shape[1] / 8, cup=shape[1] / 16)) for shape in set(shapes)}
    with gated(published, max_parallel=3) as service, cf.ThreadPoolExecutor(6) as pool:
        service.gate.set()
        answers = list(pool.map(lambda shape: service.post(eyes[shape]).json(), shapes))
        for (width, height), answer in zip(shapes, answers, strict=True):
            assert (answer["image"]["width"], answer["image"]["height"]) == (width, height)
            assert answer["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.02)
            assert answer["disc"]["box"]["height"] == pytest.approx(height / 4, rel=0.03)
            assert answer["disc"]["centre"]["x"] == pytest.approx(width / 2, abs=0.006 * width)
        assert service.idle()
