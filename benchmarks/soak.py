"""A busy service for a long time: 80 % of what it can do, and another version every minute.

    python -m benchmarks.soak --minutes 60

Nothing but 200 may come back, each version must have answered, and memory must stay flat.
"""

import argparse
import asyncio
import dataclasses
import io
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from benchmarks import load
from benchmarks.load import Report, quantile
from benchmarks.machine import cpu_name
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving
from model import artefact
from model.cores import usable_cores
from model.local_registry import LocalRegistry
from model.registry import open_registry

RESULTS = Path(__file__).parent / "results"
JPEGS = 16
OTHERS: tuple[tuple[str, dict[str, object]], ...] = (  # of which all but PNG are decoded in processes of their own
    ("JPEG", {"progressive": True, "quality": 90}),
    ("PNG", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"quality": 90}),
)
CLIENTS = 32  # connections, of which a few are in use at a time
KEEPS_S = 24 * 3600  # an idle connection: one that is closed just when it is used is nobody's error
WARMS_S = 10.0
FINDS_LIMIT_S = 30.0
LOOKS_S = 2.0  # between two looks at memory
LEAST_SENT = 0.95  # of the rate that was to be sent: a service that falls behind makes clients late
MOST_GROWTH = 0.02  # of the memory, from the second quarter to the last


@dataclass
class Watched:
    """What was seen beside the answers."""

    memory_mib: list[float] = field(default_factory=list)  # with the processes that decode
    alone_mib: list[float] = field(default_factory=list)  # without them
    swaps: int = 0

    def quarter(self, number: int) -> float:
        """Median of the memory in one quarter of the time, 0 to 3."""
        return _quarter(self.memory_mib, number)

    @property
    def growth(self) -> float:
        """Share by which the last quarter's memory exceeds the second's: by then both versions have answered."""
        return self.quarter(3) / self.quarter(1) - 1


def _quarter(values: list[float], number: int) -> float:
    return statistics.median(values[number * len(values) // 4 : max(1, (number + 1) * len(values) // 4)])


def main() -> None:
    """Soak, print and keep the report; exit code 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--load", type=float, default=0.8, help="share of the measured limit")
    parser.add_argument("--swap-every", type=float, default=60.0, help="seconds from one version to the next")
    parser.add_argument("--most-growth", type=float, default=MOST_GROWTH, help="share by which memory may grow")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    photographs = all_kinds()
    with tempfile.TemporaryDirectory() as folder:
        registry = two_versions(Path(folder))
        with serving(registry=registry, poll_interval_s=1, keep_alive_s=KEEPS_S, log_level="error") as service:
            # every process that decodes is there from the beginning: one that comes later would look like a leak
            asyncio.run(load.run(service.url, photographs[-1:], CLIENTS, min(WARMS_S, options.minutes * 5)))
            limit = asyncio.run(load.run(service.url, photographs, 4, min(FINDS_LIMIT_S, options.minutes * 15))).rate
            before, cpu = service.figures(), service.cpu_with_decoders_s()
            with watched(service, LocalRegistry(registry), options.swap_every) as seen:
                wanted = load.run(service.url, photographs, CLIENTS, options.minutes * 60, rate=options.load * limit)
                report = asyncio.run(wanted)
            used = (service.cpu_with_decoders_s() - cpu + report.cpu_s) / report.seconds / usable_cores()
            answered = by_version(before, service.figures())
    text = told(report, seen, limit, options.load, answered, used)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{datetime.now(UTC):%Y-%m-%d}-soak.md").write_text(text, encoding="utf-8")
    for sample in report.samples:
        if sample.outcome != "200":
            print(f"{sample.took_s * 1000:.0f} ms: {sample.outcome} {sample.told}")
    wrong = [f"{count} × {outcome}" for outcome, count in report.outcomes.items() if outcome != "200"]
    if (sent := len(report.samples) / report.seconds) < LEAST_SENT * options.load * limit:
        wrong.append(f"only {sent:.1f} photographs per s were sent")
    if len([count for count in answered.values() if count]) < 2:
        wrong.append("a version has not answered")
    if seen.growth > options.most_growth:
        wrong.append(f"memory grew by {seen.growth:.1%}")
    if wrong:
        sys.exit(", ".join(wrong))


def all_kinds() -> list[bytes]:
    """Photographs as cameras write them, and after every few one of another kind."""
    jpegs = list(varied(JPEGS))
    found: list[bytes] = []
    for number, (kind, options) in enumerate(OTHERS):
        file = io.BytesIO()
        Image.open(io.BytesIO(jpegs[number])).save(file, kind, **options)  # type: ignore[arg-type]
        found += [*jpegs[number :: len(OTHERS)], file.getvalue()]
    return found


def two_versions(folder: Path) -> Path:
    """A registry with the bundled version under two names, the first in production."""
    bundled = open_registry("bundled").open("production")
    registry = LocalRegistry(folder / "registry")
    year, month, number = bundled.manifest.version.split(".")
    for counter in (0, 1):
        version = f"{year}.{month}.{int(number) + counter}"
        staged = shutil.copytree(bundled.folder, folder / version)
        artefact.write(staged, dataclasses.replace(bundled.manifest, version=version))
        registry.publish(staged, alias=None if counter else "production")
    return folder / "registry"


@contextmanager
def watched(service: Service, registry: LocalRegistry, swap_every_s: float) -> Iterator[Watched]:
    """Meanwhile, in a thread: look at memory, and let production be each version in turn."""
    seen, stop = Watched(), threading.Event()

    def watch() -> None:
        began = time.monotonic()
        while not stop.wait(LOOKS_S):
            seen.memory_mib.append(service.memory_with_decoders_mib())
            seen.alone_mib.append(service.memory_mib())
            if time.monotonic() - began >= (seen.swaps + 1) * swap_every_s:
                now = registry.resolve("production")
                (other,) = set(registry.versions()) - {now}
                registry.set_alias("production", other, expected=now)
                seen.swaps += 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def by_version(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    """Photographs that each version has answered meanwhile."""
    found: dict[str, int] = {}
    for name, value in after.items():
        if name.startswith("cupdisc_answers_total"):
            version = name.partition('version="')[2].partition('"')[0]
            found[version] = found.get(version, 0) + round(value - before.get(name, 0.0))
    return found


def told(report: Report, seen: Watched, limit: float, share: float, answered: dict[str, int], used: float) -> str:
    """The report, as Markdown. `used`: share of the cores that service and clients took."""
    took = report.took_ms()
    share_of = f"{usable_cores()} of {os.cpu_count()} cores of an {cpu_name()}"
    machine = f"Service and clients together on {share_of}; load average at the end {os.getloadavg()[0]:.1f}"
    by_quarter, alone = (
        " → ".join(f"{_quarter(values, number):.1f}" for number in range(4))
        for values in (seen.memory_mib, seen.alone_mib)
    )
    outcomes = ", ".join(f"{count} × {outcome}" for outcome, count in sorted(report.outcomes.items()))
    versions = ", ".join(f"{count} × {version}" for version, count in sorted(answered.items()))
    rows = {
        "time": f"{report.seconds / 60:.1f} minutes",
        "limit, measured before": f"{limit:.1f} photographs per s",
        f"sent, {share:.0%} of it": f"{len(report.samples) / report.seconds:.1f} per s",
        "of the cores' time, service and clients took": f"{used:.0%}",
        "outcomes": outcomes,
        "another version in production": f"{seen.swaps} times",
        "answered by": versions,
        "p50, p99, longest": ", ".join(
            f"{value:.0f} ms" for value in (quantile(took, 0.5), quantile(took, 0.99), max(took))
        ),
        "resident memory with the decoders' processes, median of each quarter": f"{by_quarter} MiB",
        "without them": f"{alone} MiB",
        "from the second quarter to the last": f"{seen.growth:+.2%}",
    }
    head = f"# Soak, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n{machine}.\n\n| what | figure |\n|---|---|\n"
    return head + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


if __name__ == "__main__":
    main()
