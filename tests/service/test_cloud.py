"""A service, a storage and the faults between them, each a process or server of its own: somebody always answers."""

import base64
import contextlib
import io
import itertools
import json
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model import signature
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.local_registry import LocalRegistry
from tests.model.test_signature import write_keys
from tests.photographs import EXAMPLE
from tests.service.conftest import draw_graded_eye, encode
from tests.service.running import Running, running
from tests.storage import Fault, FaultyProxy, Objects

OLD, NOW, NEXT, BLIND = "2026.1.1", "2026.2.1", "2026.3.1", "2026.4.1"
GRADED = encode(draw_graded_eye())
WEIGHTS = "segmenter/variables/variables.index"
SWAPS = 30
LOAD = 0.7  # of the measured saturation
CLIENTS = 8  # at most so many requests are under way, on however slow a machine


@pytest.fixture
def cloud(objects: Objects, published: Path, second: Path, tmp_path: Path) -> CloudRegistry:
    """A registry on the storage with NOW, in production, OLD and NEXT."""
    found = CloudRegistry(Bucket(f"gs://{objects.bucket}/models"), tmp_path / "mine")
    found.publish(LocalRegistry(published).open(NOW).folder, alias="production")
    found.publish(LocalRegistry(published).open(OLD).folder)
    found.publish(second)
    return found


def settings(cloud: CloudRegistry, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "registry": str(cloud),
        "cache": tmp_path / "cache",
        "poll_interval_s": 0.1,
        "storage_timeout_s": 1,
        "storage_patience_s": 1,
        "slowest_probe_s": 60,
        **more,
    }


def answers_by(service: Running) -> str:
    return str(service.segment(GRADED)["version"]["version"])


def is_degraded(service: Running, reason: str) -> bool:
    return service.health == {"status": "degraded", "reasons": [reason]}


@contextlib.contextmanager
def full_disk(service: Running) -> Iterator[None]:
    """Meanwhile the service can write no file beyond 20 bytes: what a full disk looks like from inside."""
    process, kind = service.process.pid, resource.RLIMIT_FSIZE
    before = resource.prlimit(process, kind)
    resource.prlimit(process, kind, (20, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, kind, before)


def serves_the_package_until_storage_is_back(service: Running, proxy: FaultyProxy) -> None:
    assert service.segment(EXAMPLE.read_bytes())["version"]["version"] not in (NOW, NEXT)
    assert is_degraded(service, "storage_unavailable")
    proxy.set()
    service.wait(lambda: service.health == {"status": "ok"})
    assert answers_by(service) == NOW


@pytest.mark.timeout(900)
def test_the_service_outlives_its_storage(
    cloud: CloudRegistry, objects: Objects, proxy: FaultyProxy, blind: Path, tmp_path: Path
) -> None:
    """One long day."""
    name = f"models/disc-cup/{NEXT}/"
    proxy.set(Fault("", "down"))
    with running(tmp_path, **settings(cloud, tmp_path)) as service:
        # away at start, and nothing was ever downloaded: the version in the package serves
        serves_the_package_until_storage_is_back(service, proxy)

        # down, slow and failing later: what serves goes on serving
        for fault in (Fault("", "down"), Fault("", "slow", 3.0), Fault("", "status", 500), Fault("", "status", 403)):
            proxy.set(fault)
            service.wait(lambda: is_degraded(service, "storage_unavailable"))
            assert answers_by(service) == NOW
        proxy.set()
        service.wait(lambda: service.health == {"status": "ok"})

        # versions that must not be served
        manifest, weights = objects.read(f"{name}manifest.json"), objects.read(f"{name}{WEIGHTS}")
        newer = json.dumps({**json.loads(manifest), "schema": 99}).encode()
        for path, content, right in (
            (WEIGHTS, weights[:-1], weights),  # truncated
            (WEIGHTS, weights[:-1] + bytes([weights[-1] ^ 1]), weights),  # of another digest
            ("manifest.json", manifest.replace(b'"created": "2026', b'"created": "2o26'), manifest),
            ("manifest.json", newer, manifest),
        ):
            objects.write(name + path, content)
            cloud.set_alias("production", NEXT)
            service.wait(lambda: is_degraded(service, "version_refused"))
            assert answers_by(service) == NOW
            cloud.roll_back("production")
            service.wait(lambda: service.health == {"status": "ok"})
            service.refresh()  # refused versions are looked at again
            objects.write(name + path, right)
        for target in ("2030.1.1", BLIND):
            if target == BLIND:
                cloud.publish(blind)
            objects.write("models/disc-cup/aliases.json", json.dumps({"production": target}).encode())
            service.wait(lambda: is_degraded(service, "version_refused"))
            assert answers_by(service) == NOW

        # no room for it on the disk
        with full_disk(service):
            objects.write("models/disc-cup/aliases.json", json.dumps({"production": NEXT}).encode())
            service.wait(lambda: "File too large" in str(service.refresh()["degraded"]))
            assert is_degraded(service, "version_refused")
            assert answers_by(service) == NOW

        # room again; and truncated on its way only: fetched again
        proxy.set(Fault(WEIGHTS.replace("/", "%2F"), "truncated", times=1))
        service.wait(lambda: service.health == {"status": "ok"})
        assert answers_by(service) == NEXT

        # killed in the middle of a download
        events = {event["event"] for event in service.refresh()["events"]}
        assert events >= {"loaded", "swapped", "refused", "storage_unavailable", "storage_available"}
        held = Fault(f"{OLD}.*variables", "held", times=1)
        proxy.set(held)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(service.call, "/v1/segmentations", GRADED, version=OLD)
            service.wait(lambda: bool(held.met))
            os.kill(service.process.pid, signal.SIGKILL)
            held.released.set()
            assert asked.exception()
    (copies,) = (tmp_path / "cache").iterdir()
    kept = LocalRegistry(copies)
    assert OLD not in kept.versions()
    assert [kept.open(version).manifest.version for version in kept.versions()] == kept.versions()

    # away at the next start: what was downloaded serves
    proxy.set(Fault("", "down"))
    with running(tmp_path, **settings(cloud, tmp_path)) as service:
        assert answers_by(service) == NEXT
        assert is_degraded(service, "storage_unavailable")
        proxy.set()
        service.wait(lambda: service.health == {"status": "ok"})
        # whatever else it takes from there, however slow the machine
        service.wait(lambda: service.call("/v1/segmentations", GRADED, version=OLD)[0] == 200)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [Fault("", "slow", 3.0), Fault("", "status", 500)], ids=lambda fault: fault.kind)
def test_storage_that_ails_at_start_keeps_nobody_waiting(
    cloud: CloudRegistry, proxy: FaultyProxy, tmp_path: Path, fault: Fault
) -> None:
    proxy.set(fault)
    with running(tmp_path, **settings(cloud, tmp_path)) as service:
        serves_the_package_until_storage_is_back(service, proxy)


@pytest.mark.timeout(300)
def test_a_trusted_key_goes_for_the_bucket_and_for_the_version_in_the_package(
    cloud: CloudRegistry, proxy: FaultyProxy, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path, "own")
    kept = tmp_path / "signature"

    def sign(version: str) -> None:
        signature.sign(cloud.open(version), private, kept)
        cloud.sign(version, kept)

    sign(NOW)
    given = settings(cloud, tmp_path, trusted_key=public)
    # nothing was downloaded yet, and the version in the package is not signed with this key: it serves nothing at all
    proxy.set(Fault("", "down"))
    with pytest.raises(AssertionError), running(tmp_path, **given):
        pass
    while "nothing to serve" not in (log := (tmp_path / "service.log").read_text(encoding="utf-8")):
        time.sleep(0.02)
    assert re.search(r"bundled refused: .* is not signed", log)

    proxy.set()
    with running(tmp_path, **given) as service:
        assert service.health == {"status": "ok"}
        assert answers_by(service) == NOW
        cloud.set_alias("production", NEXT)
        service.wait(lambda: is_degraded(service, "version_refused"))
        assert "not signed" in service.refresh()["refused"][NEXT]
        assert answers_by(service) == NOW
        sign(NEXT)
        assert service.refresh()["default"] == NEXT
        assert answers_by(service) == NEXT


@pytest.mark.timeout(300)
def test_where_nothing_can_be_downloaded_the_version_in_the_package_serves(
    cloud: CloudRegistry, tmp_path: Path
) -> None:
    with running(tmp_path, **settings(cloud, tmp_path, cache="/sys/cupdisc")) as service:  # nobody may write there
        assert service.segment(EXAMPLE.read_bytes())["version"]["version"] not in (OLD, NOW, NEXT)
        assert is_degraded(service, "version_refused")
        assert "/sys/cupdisc" in service.refresh()["degraded"]["version_refused"]


def masks_of(answer: Any) -> np.ndarray:
    """(2, H, W) bool: disc and cup."""
    encoded = [base64.b64decode(answer[part]["mask"]["data"]) for part in ("disc", "cup")]
    return np.stack([np.asarray(Image.open(io.BytesIO(each))) > 0 for each in encoded])


@dataclass(frozen=True)
class Answer:
    """What came for one of several photographs."""

    number: int
    version: str
    masks: np.ndarray  # as `masks_of`


class Askers:
    """Clients that send some photographs in turn, all of which must be answered, in threads of their own."""

    def __init__(self, service: Running, photographs: list[bytes]) -> None:
        self._service, self._photographs = service, photographs

    def saturate(self, seconds: float) -> float:
        """Answers per second to four clients that ask as soon as they are answered: no core rests."""
        began, turns = time.monotonic(), itertools.count()
        with ThreadPoolExecutor(4) as pool:
            go_on = lambda _: time.monotonic() < began + seconds  # noqa: E731
            asking = [pool.submit(self._ask, turns, go_on) for _ in range(4)]
            return sum(len(each.result()) for each in asking) / (time.monotonic() - began)

    @contextlib.contextmanager
    def at(self, rate: float) -> Iterator[list[Answer]]:
        """Meanwhile, a request when its turn comes, whether or not others are answered; all answers are there after."""
        answers: list[Answer] = []
        turns, done, began = itertools.count(), threading.Event(), time.monotonic()

        def wait(turn: int) -> bool:
            return not done.wait(max(0.0, began + turn / rate - time.monotonic()))

        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(self._ask, turns, wait) for _ in range(CLIENTS)]
            try:
                yield answers
            finally:
                done.set()
            for each in asking:
                answers += each.result()

    def _ask(self, turns: Iterator[int], go_on: Callable[[int], bool]) -> list[Answer]:
        found = []
        while go_on(turn := next(turns)):
            number = turn % len(self._photographs)
            answer = self._service.segment(self._photographs[number], masks="png")
            found.append(Answer(number, answer["version"]["version"], masks_of(answer)))
        return found


@pytest.mark.timeout(900)
def test_thirty_swaps_under_load_and_nobody_notices(cloud: CloudRegistry, tmp_path: Path) -> None:
    """Every answer is 200, and its masks are those of the version that it names.

    Cups get wider and narrower in turn. The narrow one is now this version's, now that one's, of which one is not in
    memory: so every third swap loads and probes a version while photographs are being answered.
    """
    eyes = [encode(draw_graded_eye(disc=disc)) for disc in (50, 60, 70)]
    given = settings(cloud, tmp_path, poll_interval_s=5, storage_timeout_s=20, storage_patience_s=60, deadline_s=120)
    with running(tmp_path, **given) as service:
        expected = {
            (version, number): masks_of(service.segment(eye, masks="png", version=version))
            for version in (OLD, NOW, NEXT)
            for number, eye in enumerate(eyes)
        }
        for number in range(len(eyes)):
            assert expected[NEXT, number][1].sum() > 1.3 * expected[NOW, number][1].sum()
        askers = Askers(service, eyes)
        limit = askers.saturate(4.0)
        began = time.monotonic()
        with askers.at(LOAD * limit) as answers:
            for wanted in [NEXT, NOW, NEXT, NOW, NEXT, OLD] * (SWAPS // 6):
                cloud.set_alias("production", wanted)
                assert service.refresh()["default"] == wanted
        rate = len(answers) / (time.monotonic() - began)
        limit = min(limit, askers.saturate(2.0))  # in case other work came to this machine meanwhile
        _, metrics = service.call("/metrics")
    assert len(answers) >= SWAPS
    assert rate >= 0.8 * LOAD * limit
    assert {answer.version for answer in answers} == {OLD, NOW, NEXT}
    for answer in answers:
        assert np.count_nonzero(answer.masks != expected[answer.version, answer.number]) <= 2
    swaps = re.findall(r'version_events_total\{event="(?:swapped|rolled_back)".*\} (.*)', metrics)
    assert sum(map(float, swaps)) == SWAPS
