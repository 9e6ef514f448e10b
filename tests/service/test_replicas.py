"""Three replicas behind nginx, under load: one is killed, one loses its storage, and everybody gets an answer."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.local_registry import LocalRegistry
from service import replicas
from service.replicas import Group, State, Telling
from service.settings import Settings
from service.uploads import FORM_OVERHEAD
from tests.photographs import REPOSITORY
from tests.service.conftest import EYE
from tests.service.running import Running, running
from tests.storage import Fault, FaultyProxy, Objects

OLD, NEW = "2026.2.1", "2026.3.1"
REPLICAS = 3
CLIENTS = 3
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

needs_nginx = pytest.mark.skipif(
    not NGINX and not os.environ.get("CUPDISC_REQUIRE_NGINX"), reason="no nginx on this machine"
)


class Load:
    """Clients who ask again and again, and keep what came of it: the version that answered, or what went wrong."""

    def __init__(self, url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url, self._stopping = url, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with httpx2.Client(timeout=120) as client:
            while not self._stopping.is_set():
                try:
                    answer = client.post(f"{self._url}/v1/segmentations?masks=none", content=EYE)
                    came = answer.json()["version"]["version"] if answer.status_code == 200 else answer.text
                except httpx2.HTTPError as error:
                    came = repr(error)
                self.outcomes[came] += 1

    def go_on(self, answers: int) -> None:
        """Until there are so many more."""
        until, deadline = self.outcomes.total() + answers, time.monotonic() + 120
        while self.outcomes.total() < until:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def behind_nginx(folder: Path, urls: list[str]) -> Iterator[str]:
    """The address of a proxy before these, set up by the file that we recommend."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (REPOSITORY / "docker" / "nginx.conf").read_text(encoding="utf-8")
    for number, url in enumerate(urls, 8001):
        text = text.replace(f"127.0.0.1:{number} ", f"{url.removeprefix('http://')} ")
    configuration = folder / "nginx.conf"
    configuration.write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"), encoding="utf-8")
    assert NGINX
    command = [NGINX, "-p", str(folder), "-c", str(configuration), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
        try:
            deadline = time.monotonic() + 60
            while nginx.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            nginx.terminate()


def runs(service: Running) -> tuple[str, list[str]]:
    """Its version, and what is wrong."""
    (state,) = service.call("/v1/versions")[1]["replicas"]
    return state["default"], state["degraded"]


@needs_nginx
def test_no_answer_fails_while_one_is_killed_and_one_cut_off_from_storage(
    objects: Objects, storage_url: str, published: Path, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = CloudRegistry(Bucket(f"gs://{objects.bucket}/models"), tmp_path / "mine")
    cloud.publish(LocalRegistry(published).open(OLD).folder, alias="production")
    cloud.publish(second)
    with contextlib.ExitStack() as stack:
        services, lines = [], []
        for number in range(REPLICAS):
            lines.append(FaultyProxy(storage_url))
            stack.callback(lines[-1].close)
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", lines[-1].url)
            folder = tmp_path / f"{number}"
            folder.mkdir()
            patience = {"storage_timeout_s": 1, "storage_patience_s": 1, "slowest_probe_s": 60, "poll_interval_s": 0.2}
            started = running(folder, registry=str(cloud), cache=folder / "cache", **patience)
            services.append(stack.enter_context(started))
        load = Load(stack.enter_context(behind_nginx(tmp_path, [each.url for each in services])))
        stack.callback(load.stop)
        killed, cut_off, well = services
        load.go_on(30)

        killed.process.send_signal(signal.SIGKILL)
        lines[1].set(Fault("", "down"))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
        CloudRegistry(Bucket(f"gs://{objects.bucket}/models"), tmp_path / "mine").set_alias("production", NEW)
        well.wait(lambda: runs(well) == (NEW, []))
        cut_off.wait(lambda: runs(cut_off) == (OLD, ["storage_unavailable"]))
        before = load.outcomes.copy()
        load.go_on(60)
        both = load.outcomes - before
        assert set(both) == {OLD, NEW}  # each answer names who gave it

        lines[1].set()
        cut_off.wait(lambda: runs(cut_off) == (NEW, []))
        load.go_on(30)
        load.stop()
    assert set(load.outcomes) == {OLD, NEW}
    assert load.outcomes.total() >= 120


def test_the_names_of_replicas_are_the_operators(published: Path, tmp_path: Path) -> None:
    with running(tmp_path, registry=published, replica="pod-7") as service:
        told = service.call("/v1/versions")[1]
        assert told["replica"] == "pod-7"
        assert [each["name"] for each in told["replicas"]] == ["pod-7"]


def test_the_proxy_holds_every_photograph_that_the_service_takes() -> None:
    text = (REPOSITORY / "docker" / "nginx.conf").read_text(encoding="utf-8")
    largest = Settings().max_photograph_bytes + FORM_OVERHEAD
    for name in ("client_max_body_size", "client_body_buffer_size"):
        assert [int(mib) * 2**20 >= largest for mib in re.findall(rf"{name} (\d+)m;", text)] == [True]


def test_a_look_at_the_registry_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "TICK_S", 0.01)
    group, looks = Group(tmp_path, 1), []

    def look() -> None:
        looks.append(time.monotonic())
        if len(looks) == 1:
            raise RuntimeError("something else than a registry that cannot be read")

    state = State("one", os.getpid(), NEW, None, (NEW,), ())
    with contextlib.closing(Telling(group, lambda: state, look)):
        deadline = time.monotonic() + 30
        while len(looks) < 2:
            assert time.monotonic() < deadline
            group.look_again()
            time.sleep(0.02)
