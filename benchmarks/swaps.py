"""Thirty changes of production in a bucket, almost back to back, at 70 % of the limit: does a request notice?

    python -m benchmarks.swaps

The bundled version and the same with another threshold for the cup take turns in fake-gcs-server. Each answer must be
200, and its masks those that the version which it names gives to that photograph when it is asked alone.
"""

import base64
import dataclasses
import io
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.load import quantile
from benchmarks.machine import cpu_name
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving
from model import artefact
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.registry import open_registry
from tests.storage import Objects, fake_storage

RESULTS = Path(__file__).parent / "results"
SWAPS, SHARE = 30, 0.7
CLIENTS = 16  # requests under way at most
FINDS_LIMIT_S = 10.0
BETWEEN_S = 0.1  # a rest after each swap, so that each version answers often enough to be caught
OTHER_CUP = 0.3  # threshold; with the bundled one the cups are narrower
MOST_DIFFERENT = 20  # pixels of a photograph: a batch of other photographs may change a last digit


@dataclasses.dataclass(frozen=True)
class Answer:
    """One request and what came of it."""

    photograph: int
    status: int
    version: str
    masks: np.ndarray | None  # (2, H, W) bool: disc and cup
    took_s: float


def main() -> None:
    """Measure, print and keep the report; exit code 1 where a request noticed."""
    photographs = list(varied(6, (1000, 1500)))
    with tempfile.TemporaryDirectory() as folder, fake_storage() as url:
        os.environ["STORAGE_EMULATOR_HOST"] = url
        bucket = Objects(url, "swaps").bucket
        registry = CloudRegistry(Bucket(f"gs://{bucket}/registry"), Path(folder, "publisher"))
        versions = two_versions(registry, Path(folder))
        given = {"registry": registry, "cache": Path(folder, "cache"), "poll_interval_s": 0, "keep_alive_s": 600}
        with serving(**given, log_level="error") as service:
            alone = {
                (version, number): ask(service, photographs, number, version)
                for version in versions
                for number in range(len(photographs))
            }
            until = time.monotonic() + FINDS_LIMIT_S
            found = asking(service, photographs, 4, lambda _: time.monotonic() < until)
            limit = len(found) / FINDS_LIMIT_S
            answers, swaps_s, seconds = swapped(service, photographs, registry, SHARE * limit)
    text, wrong = told(alone, answers, swaps_s, limit, seconds)
    print(text)
    (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-swaps.md").write_text(text, encoding="utf-8")
    if wrong:
        sys.exit(wrong)


def two_versions(registry: CloudRegistry, folder: Path) -> list[str]:
    """Publish the bundled version, in production, and the same with another threshold; their names."""
    bundled = open_registry("bundled").open("production")
    names = []
    for number, cup in enumerate((bundled.manifest.thresholds["cup"], OTHER_CUP), 1):
        names.append(f"2027.1.{number}")
        staged = shutil.copytree(bundled.folder, folder / names[-1])
        changed = {**bundled.manifest.thresholds, "cup": cup}
        artefact.write(staged, dataclasses.replace(bundled.manifest, version=names[-1], thresholds=changed))
        registry.publish(staged, alias=None if number > 1 else "production")
    return names


def ask(service: Service, photographs: list[bytes], number: int, version: str | None = None) -> Answer:
    """One photograph, by a version or by the one in production."""
    wanted = f"&version={version}" if version else ""
    url = f"{service.url}/v1/segmentations?masks=png{wanted}"
    request = urllib.request.Request(url, photographs[number], {"Content-Type": "image/jpeg"})
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(number, error.code, "none", None, time.perf_counter() - began)
    took_s = time.perf_counter() - began
    encoded = [base64.b64decode(found[part]["mask"]["data"]) for part in ("disc", "cup")]
    masks = np.stack([np.asarray(Image.open(io.BytesIO(each))) > 0 for each in encoded])
    return Answer(number, 200, found["version"]["version"], masks, took_s)


def asking(service: Service, photographs: list[bytes], clients: int, go_on: Callable[[int], bool]) -> list[Answer]:
    """The answers to clients that take turns for as long as `go_on` lets the next turn begin."""
    turns = itertools.count()

    def client() -> Iterator[Answer]:
        while go_on(turn := next(turns)):
            yield ask(service, photographs, turn % len(photographs))

    with ThreadPoolExecutor(clients) as pool:
        return [answer for each in pool.map(lambda _: list(client()), range(clients)) for answer in each]


def swapped(
    service: Service, photographs: list[bytes], registry: CloudRegistry, rate: float
) -> tuple[list[Answer], list[float], float]:
    """Let requests come at a rate while production changes; the answers, each swap's seconds, and seconds in all."""
    done, began = threading.Event(), time.monotonic()
    swaps_s = []
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            asking,
            *(service, photographs, CLIENTS),
            lambda turn: not done.wait(max(0.0, began + turn / rate - time.monotonic())),
        )
        try:
            for _ in range(SWAPS):
                now = registry.resolve("production")
                (other,) = set(registry.versions()) - {now}
                registry.set_alias("production", other, expected=now)
                started = time.monotonic()
                with urllib.request.urlopen(f"{service.url}/v1/admin/refresh", b"", timeout=60) as told_it:
                    assert json.load(told_it)["default"] == other
                swaps_s.append(time.monotonic() - started)
                time.sleep(BETWEEN_S)
        finally:
            done.set()
        answers = sent.result()
    return answers, swaps_s, time.monotonic() - began


def told(
    alone: dict[tuple[str, int], Answer], answers: list[Answer], swaps_s: list[float], limit: float, seconds: float
) -> tuple[str, str]:
    """The report as Markdown, and what went wrong."""
    statuses = Counter(answer.status for answer in answers)
    differences = [
        int(np.count_nonzero(answer.masks != alone[answer.version, answer.photograph].masks))
        for answer in answers
        if answer.masks is not None
    ]
    names = sorted({version for version, _ in alone})
    pairs = [(alone[names[0], number], alone[names[1], number]) for number in {number for _, number in alone}]
    apart = min(int(np.count_nonzero(one.masks != other.masks)) for one, other in pairs)
    took = [answer.took_s * 1000 for answer in answers]
    by_version = Counter(answer.version for answer in answers)
    rows = {
        "limit, measured before": f"{limit:.1f} photographs per s",
        f"sent, {SHARE:.0%} of it": f"{len(answers) / seconds:.1f} per s for {seconds:.0f} s",
        "changes of production": f"{len(swaps_s)}, {BETWEEN_S:g} s after one another, each "
        f"{statistics.median(swaps_s) * 1000:.0f} ms (median), at most {max(swaps_s) * 1000:.0f} ms",
        "outcomes": ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())),
        "answered by": ", ".join(f"{count} × {version}" for version, count in sorted(by_version.items())),
        "masks other than those of the version named": f"{sum(each > MOST_DIFFERENT for each in differences)} answers; "
        f"at most {max(differences, default=0)} pixels differ",
        "the two versions' masks of one photograph": f"at least {apart} pixels apart",
        "p50, p99, longest": ", ".join(f"{ms:.0f} ms" for ms in (quantile(took, 0.5), quantile(took, 0.99), max(took))),
    }
    load = f"load average at the end {os.getloadavg()[0]:.1f}"
    machine = f"{os.cpu_count()} cores, {cpu_name()}; the clients share them with the service; {load}."
    title = f"# Thirty swaps under load, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    head = f"{title}\n\n{machine}\n\n| what | figure |\n|---|---|"
    wrong = [f"{count} × {status}" for status, count in statuses.items() if status != 200]
    if max(differences, default=0) > MOST_DIFFERENT:
        wrong.append("masks of another version than the one named")
    if apart <= 10 * MOST_DIFFERENT or min(by_version.values()) < SWAPS // 2 or len(by_version) < 2:
        wrong.append("the two versions could not be told apart")
    return "\n".join([head, *(f"| {name} | {value} |" for name, value in rows.items())]) + "\n", ", ".join(wrong)


if __name__ == "__main__":
    main()
