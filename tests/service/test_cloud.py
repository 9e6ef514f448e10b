"""A service, a storage and the faults between them, each a process or server of its own: somebody always answers."""

import base64
import io
import itertools
import json
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.local_registry import LocalRegistry
from tests.photographs import EXAMPLE
from tests.service.conftest import draw_graded_eye, encode
from tests.service.running import Running, running
from tests.storage import Fault, FaultyProxy, Objects

OLD, NOW, NEXT, BLIND = "2026.1.1", "2026.2.1", "2026.3.1", "2026.4.1"
GRADED = encode(draw_graded_eye())
WEIGHTS = "segmenter/variables/variables.index"
SWAPS = 30


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


def test_the_service_outlives_its_storage(
    cloud: CloudRegistry, objects: Objects, proxy: FaultyProxy, blind: Path, tmp_path: Path
) -> None:
    """One long day."""
    name = f"models/disc-cup/{NEXT}/"
    proxy.set(Fault("", "down"))
    with running(tmp_path, **settings(cloud, tmp_path)) as service:
        # away at start, and nothing was ever downloaded: the version in the package serves
        assert service.segment(EXAMPLE.read_bytes())["version"]["version"] not in (NOW, NEXT)
        assert is_degraded(service, "storage_unavailable")
        proxy.set()
        service.wait(lambda: service.health == {"status": "ok"})
        assert answers_by(service) == NOW

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
            (WEIGHTS, weights[:-1], weights),
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

        # truncated on its way only: fetched again
        proxy.set(Fault(WEIGHTS.replace("/", "%2F"), "truncated", times=1))
        objects.write("models/disc-cup/aliases.json", json.dumps({"production": NEXT}).encode())
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
        assert service.segment(GRADED, version=OLD)["version"]["version"] == OLD


def masks_of(answer: Any) -> np.ndarray:
    """(2, H, W) bool: disc and cup."""
    encoded = [base64.b64decode(answer[part]["mask"]["data"]) for part in ("disc", "cup")]
    return np.stack([np.asarray(Image.open(io.BytesIO(each))) > 0 for each in encoded])


def test_thirty_swaps_under_load_and_nobody_notices(cloud: CloudRegistry, tmp_path: Path) -> None:
    """Every answer is 200, and its masks are those of the version that it names.

    Cups get wider and narrower in turn. The narrow one is now this version's, now that one's, of which one is not in
    memory: so every third swap loads and probes a version while photographs are being answered.
    """
    eyes = [encode(draw_graded_eye(disc=disc)) for disc in (50, 60, 70)]
    numbers, done = itertools.cycle(range(len(eyes))), threading.Event()
    given = settings(cloud, tmp_path, poll_interval_s=0.15, storage_timeout_s=10, storage_patience_s=30)
    with running(tmp_path, **given) as service:
        expected = {
            (version, number): masks_of(service.segment(eye, masks="png", version=version))
            for version in (OLD, NOW, NEXT)
            for number, eye in enumerate(eyes)
        }
        for number in range(len(eyes)):
            assert expected[NEXT, number][1].sum() > 1.3 * expected[NOW, number][1].sum()

        def ask() -> list[tuple[str, int, np.ndarray]]:
            found = []
            while not done.is_set():
                number = next(numbers)
                answer = service.segment(eyes[number], masks="png")
                found.append((answer["version"]["version"], number, masks_of(answer)))
            return found

        with ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(ask) for _ in range(2)]
            try:
                for wanted in [NEXT, NOW, NEXT, NOW, NEXT, OLD] * (SWAPS // 6):
                    cloud.set_alias("production", wanted)
                    service.wait(lambda wanted=wanted: service.call("/v1/versions")[1]["default"] == wanted)
            finally:
                done.set()
            answers = [answer for each in asking for answer in each.result()]
        _, metrics = service.call("/metrics")
    assert {version for version, *_ in answers} == {OLD, NOW, NEXT}
    for version, number, masks in answers:
        assert np.count_nonzero(masks != expected[version, number]) <= 2
    swaps = re.findall(r'version_events_total\{event="(?:swapped|rolled_back)".*\} (.*)', metrics)
    assert sum(map(float, swaps)) == SWAPS
