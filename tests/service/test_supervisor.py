"""Several processes behind one address: one answer, one set of figures, nobody missed who dies, all of them stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import InvalidConfiguration
from service import supervisor
from service.settings import Settings
from tests.service.conftest import EYE
from tests.service.running import Running, running

LAPSE = "2026.1.1"


@pytest.fixture(scope="module")
def pair(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two replicas."""
    folder = tmp_path_factory.mktemp("pair")
    settings = {"registry": published, "replica": "one", "rate": ""}
    with running(folder, "--workers", "2", **settings) as service:
        service.wait(lambda: len(replicas(service)) == 2)
        yield service


def test_the_others_start_from_what_the_first_has_compiled(published: Path, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    with running(tmp_path, "--workers", "2", registry=published, compiled=cache) as service:
        service.wait(lambda: bool(replicas(service)))
        kept = blobs(cache)
        service.wait(lambda: len(replicas(service)) == 2)
        assert len(kept) == 2  # a locator and a segmenter
        assert blobs(cache) == kept
        memory = [Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") for pid in pids(service)]
        assert [all(str(cache / name) in one for name in kept) for one in memory].count(True) == 1  # who began later


def blobs(cache: Path) -> dict[str, int]:
    """Name, and when it was written."""
    return {file.name: file.stat().st_mtime_ns for file in cache.glob("*.blob")}


def replicas(service: Running) -> list[dict[str, Any]]:
    try:
        status, answer = service.call("/v1/versions")
    except OSError:
        return []  # the first one does not listen yet
    return answer["replicas"] if status == 200 else []


def figures(service: Running) -> dict[str, float]:
    text = service.call("/metrics")[1]
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def answered(service: Running) -> float:
    return sum(value for name, value in figures(service).items() if name.startswith("cupdisc_answers_total"))


def test_any_replica_tells_of_all(pair: Running) -> None:
    before = answered(pair)
    for _ in range(6):
        assert pair.segment(EYE)["version"]["version"] == "2026.2.1"
    assert {answered(pair) for _ in range(6)} == {before + 6}
    found = figures(pair)
    names = [each["name"] for each in replicas(pair)]
    assert all(re.fullmatch(r"one-\d+", name) for name in names)
    assert found['cupdisc_live_version{role="production",version="2026.2.1"}'] == 2
    assert {f'process_resident_memory_bytes{{replica="{name}"}}' for name in names} <= set(found)
    assert [(each["default"], each["degraded"]) for each in replicas(pair)] == [("2026.2.1", [])] * 2


def test_no_log_tells_what_clients_write(pair: Running) -> None:
    pair.call("/v1/versions", secret="of-a-patient")
    assert "of-a-patient" not in pair.log.read_text(encoding="utf-8")


def test_who_is_killed_is_replaced_and_what_it_counted_stays(pair: Running) -> None:
    pair.segment(EYE)
    counted = answered(pair)
    killed = int(replicas(pair)[0]["name"].removeprefix("one-"))
    os.kill(killed, signal.SIGKILL)
    pair.wait(lambda: len(now := pids(pair)) == 2 and killed not in now)
    assert answered(pair) == counted
    assert figures(pair)['cupdisc_live_version{role="production",version="2026.2.1"}'] == 2
    pair.segment(EYE)


def pids(service: Running) -> set[int]:
    return {int(each["name"].removeprefix("one-")) for each in replicas(service)}


def test_a_look_at_the_registry_is_for_all_of_them(registry: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2", registry=registry, poll_interval_s=0) as service:
        service.wait(lambda: len(replicas(service)) == 2)
        aliases = registry / "disc-cup" / "aliases.json"
        aliases.write_text(json.dumps({"production": LAPSE}), encoding="utf-8")
        assert service.refresh()["default"] == LAPSE
        service.wait(lambda: {each["default"] for each in replicas(service)} == {LAPSE})
        children = [int(each["name"]) for each in replicas(service)]
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert not any(alive(pid) for pid in children)


def test_replicas_do_not_outlive_their_supervisor(published: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2", registry=published) as service:
        service.wait(lambda: len(replicas(service)) == 2)
        children = [int(each["name"]) for each in replicas(service)]
        service.process.kill()
        service.process.wait()
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def alive(pid: int) -> bool:
    """And no zombie, which a machine without a real init keeps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_answer_waits_for_the_client_to_acknowledge_its_head(tmp_path: Path) -> None:
    with supervisor.ReplicaConfig(Settings(), "127.0.0.1", 0, 2, tmp_path).bind_socket() as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            connection, _ = listening.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_where_nothing_can_be_served_it_ends_and_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "2", "--registry", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert f"nothing to serve; no version in {tmp_path}" in done.stderr


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5", ""])
def test_a_number_that_is_none_is_refused(workers: str) -> None:
    with pytest.raises(InvalidConfiguration, match="workers"):
        supervisor.number_of(workers)


def test_together_they_take_no_more_than_one_process_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "usable_cores", lambda: 8)
    share = supervisor.divided(Settings(max_queue_length=30, max_connections=100, max_held_bytes=1001), 4)
    assert (share.threads, share.max_parallel, share.max_queue_length, share.max_connections) == (2, 3, 8, 25)
    assert share.max_held_bytes == 251
    chosen = supervisor.divided(Settings(threads=3, max_parallel=5), 4)
    assert (chosen.threads, chosen.max_parallel) == (3, 5)
    assert supervisor.number_of("3") == 3


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_auto_takes_a_process_for_every_two_cores(cores: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "usable_cores", lambda: cores)
    assert supervisor.number_of("auto") == expected
