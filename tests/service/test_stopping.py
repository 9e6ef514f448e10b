"""How the service ends: not ready first, then what is under way is answered, then exit code 0."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.service.conftest import EYE, draw_eye, encode
from tests.service.listening import begin_request

Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start_process(published: Path) -> Iterator[Start]:
    """`cupdisc serve` in a process of its own, and its port; arguments are settings."""
    started = []

    def start(**settings: str) -> tuple[subprocess.Popen[str], int]:
        environment = {name if name.isupper() else f"CUPDISC_{name.upper()}": one for name, one in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", "0", "--registry", str(published)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                return process, int(found[1])
        pytest.fail("the service did not start")

    yield start
    for process in started:
        process.kill()
        process.communicate()


def status(port: int, health: str) -> tuple[int, bytes]:
    """And the body; status 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{health}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError):
        return 0, b""


def post(port: int, photograph: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a photograph."""
    headers = {"Content-Type": "application/octet-stream"}
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        connection.request("POST", "/v1/segmentations?masks=none", photograph, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def waiting(port: int) -> int:
    """How many photographs wait for a worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        found = re.search(rb"^cupdisc_queue_length (\d+)", answer.read(), re.MULTILINE)
    assert found
    return int(found[1])


def decoders_of(process: subprocess.Popen[str]) -> set[int]:
    """Ids of the processes that decode for it."""
    return {
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if _parent(path) == process.pid and b"service.decoder" in path.joinpath("cmdline").read_bytes()
    }


def test_a_stopped_service_is_not_ready_finishes_and_exits_with_0(start_process: Start) -> None:
    process, port = start_process(stop_delay_s="4")
    finish, _ = begin_request(port, EYE)
    process.send_signal(signal.SIGTERM)
    while (answer := status(port, "ready"))[0] == 200:
        time.sleep(0.02)
    assert answer[0] == 503
    assert b'"stopping"' in answer[1]
    assert status(port, "live")[0] == 200
    while status(port, "live")[0] == 200:
        time.sleep(0.1)  # until the delay is over: then nobody is let in any more
    assert status(port, "live")[0] == 0
    received = finish()
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"gradable":true' in received
    assert process.wait(120) == 0


def test_what_waits_in_the_queue_when_the_service_is_stopped_is_answered(start_process: Start) -> None:
    """Its only worker is held by a decoder that is stopped, from before SIGTERM until nobody is let in any more."""
    process, port = start_process(
        max_parallel="1", decode_timeout_s="100", deadline_s="200", stop_delay_s="3", stop_grace_s="200"
    )
    tiff = encode(draw_eye(), "TIFF")
    assert post(port, tiff)[0] == 200
    (decoder,) = decoders_of(process)
    os.kill(decoder, signal.SIGSTOP)
    with ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(post, port, tiff)]
        while waiting(port) < 6:  # some may be answered before the first one holds the worker
            answers.append(pool.submit(post, port, EYE))
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        while (answer := status(port, "ready"))[0] == 200:
            time.sleep(0.02)
        assert answer[0] == 503
        assert b'"stopping"' in answer[1]
        assert waiting(port) >= 6
        while status(port, "live")[0] == 200:
            time.sleep(0.1)
        assert process.poll() is None
        assert sum(not answer.done() for answer in answers) >= 7
        os.kill(decoder, signal.SIGCONT)
        found = [answer.result(300) for answer in answers]
    assert {code for code, _ in found} == {200}
    assert all(b'"gradable":true' in body for _, body in found)
    assert process.wait(120) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_ends_at_once(start_process: Start, number: signal.Signals) -> None:
    process, _ = start_process()
    process.send_signal(number)
    assert process.wait(120) == 0
    assert process.stderr
    assert "Traceback" not in process.stderr.read()


def test_what_takes_longer_than_the_grace_is_cut_off(start_process: Start) -> None:
    process, port = start_process(stop_grace_s="1")
    _, hang_up = begin_request(port, EYE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    hang_up()


def test_a_killed_service_leaves_no_process_and_no_file(start_process: Start, tmp_path: Path) -> None:
    process, port = start_process(TMPDIR=str(tmp_path))
    tiff = b"II*\0" + bytes(100)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/segmentations", tiff, {"Content-Type": "image/tiff"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    children = decoders_of(process)
    assert children
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(Path(f"/proc/{child}/exe").exists() for child in children):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{child}/exe").exists() for child in children)
    assert list(tmp_path.iterdir()) == []


def _parent(path: Path) -> int:
    try:
        return int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1
