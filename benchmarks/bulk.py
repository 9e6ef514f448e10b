"""`cupdisc segment` over 500 whole photographs, beside the least that any program would have to do with them.

That least is: read files, let Pillow decode them at the same reduced scale, call the locator and the segmenter once
each on ready inputs; nothing else. It is taken in three ways: in one loop, where the networks have all cores and
decoding has one; in as many processes as there are cores; and in as many processes with as many photographs in a call
as `cupdisc segment` has. All take turns. Writes one dated Markdown file.
"""

import argparse
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import cpu_name
from benchmarks.photographs import WIDTHS, varied
from model.cores import usable_cores
from model.images import Limits
from model.registry import open_registry
from model.segmenter import Segmenter
from service.bulk import Run
from service.files import find
from service.settings import Settings
from service.worker import TOGETHER, Here, Job

RESULTS = Path(__file__).parent / "results"
ROUNDS = 3
LIMITS = {  # whether all cores get a process each, and how many photographs share a call
    "one loop": (False, 1),
    "a process for each core": (True, 1),
    f"a process for each core, {TOGETHER} in a call": (True, TOGETHER),
}
WAYS = {"table alone": (False, False), "masks": (True, False), "masks and overlays": (True, True)}


@dataclass(frozen=True)
class Timing:
    """Photographs per second: while all cores are at work, and from the command's start to its end."""

    working: float
    whole: float


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photographs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cupdisc-bulk-") as scratch:
        eyes = Path(scratch) / "eyes"
        eyes.mkdir()
        for number, content in enumerate(varied(options.photographs)):
            (eyes / f"{number:05}.jpg").write_bytes(content)
        size = sum(file.stat().st_size for file in eyes.iterdir()) / options.photographs / 1e6
        limits: dict[str, list[Timing]] = {name: [] for name in LIMITS}
        ways: dict[str, list[Timing]] = {name: [] for name in WAYS}
        for number in range(options.rounds):  # side by side: the machine's mood is the same for all
            for name, (crowd, together) in LIMITS.items():
                limits[name].append(bare(eyes, usable_cores() if crowd else 1, together))
            for name, (masks, overlays) in WAYS.items():
                if number == 0 or name == "table alone":
                    ways[name].append(bulk(eyes, Path(scratch) / "out", masks, overlays))
    segmenter = Segmenter(open_registry("bundled").open("production"))
    now = datetime.now(UTC)
    lines = [
        f"# Bulk on one machine, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"{usable_cores()} cores, {cpu_name()}, Python {platform.python_version()}, OpenVINO {version('openvino')}, "
        f"Pillow {version('pillow')}, version {segmenter.version}, {segmenter.engine} {segmenter.precision}. "
        f"{options.photographs} JPEGs, {min(WIDTHS)} to {max(WIDTHS)} pixels wide, {size:.1f} MB each; median of "
        f"{options.rounds} rounds, pictures once. Load average at the end {os.getloadavg()[0]:.1f}.",
        "",
        "| what | photographs per s, at work | ÷ the loop | ÷ the processes | ÷ these, as many in a call"
        " | from start to end of the command |",
        "|---|---|---|---|---|---|",
        *(row(f"bare decoding + bare networks, {name}", timings, *limits.values()) for name, timings in limits.items()),
        *(row(f"cupdisc segment, {name}", timings, *limits.values()) for name, timings in ways.items()),
    ]
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{now:%Y-%m-%d}-bulk.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(target)


def row(name: str, timings: list[Timing], *limits: list[Timing]) -> str:
    """Of the table; the shares are medians over the rounds."""
    shares = [
        statistics.median(one.working / other.working for one, other in zip(timings, limit, strict=False))
        for limit in limits
    ]
    working, whole = (
        statistics.median(values) for values in zip(*((t.working, t.whole) for t in timings), strict=True)
    )
    return f"| {name} | {working:.1f} | {' | '.join(f'{one:.2f}' for one in shares)} | {whole:.1f} |"


def bulk(eyes: Path, out: Path, masks: bool, overlays: bool) -> Timing:
    """The engine of the command, watched from inside, and then the command itself."""
    settings = Settings()
    artefact = open_registry(settings.registry).open(settings.version)
    by = Here(settings.registry, artefact.manifest.version, settings.engine, settings.precision)
    job = Job(by, Limits(), out, masks, overlays)
    moments = []
    for done in Run(find([eyes], out), job, usable_cores()):
        assert done.wrong is None, done
        moments.append(time.perf_counter())
    first = usable_cores() * TOGETHER  # that each worker has in its first call
    working = (len(moments) - first) / (moments[-1] - moments[first - 1])
    shutil.rmtree(out)
    flags = [] if masks else ["--no-masks"]
    flags += [] if overlays else ["--no-overlays"]
    command = [str(Path(sys.executable).with_name("cupdisc")), "segment", str(eyes), "--out", str(out), *flags]
    whole = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    shutil.rmtree(out)
    return Timing(working, len(moments) / whole)


def bare(eyes: Path, processes: int, together: int) -> Timing:
    """The limit, by processes that share the cores and begin together once all are ready."""
    files = sorted(eyes.iterdir())
    threads = usable_cores() // processes
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    began = time.perf_counter()
    crew = [
        context.Process(target=least, args=(files[number::processes], threads, together, barrier))
        for number in range(processes)
    ]
    for process in crew:
        process.start()
    barrier.wait()
    ready = time.perf_counter()
    for process in crew:
        process.join()
    ended = time.perf_counter()
    assert not any(process.exitcode for process in crew)
    return Timing(len(files) / (ended - ready), len(files) / (ended - began))


def least(files: list[Path], threads: int, together: int, barrier: Barrier) -> None:
    """What no program can do without."""
    artefact = open_registry("bundled").open("production")
    smallest = Segmenter(artefact).smallest_side
    networks = artefact.load_networks(threads=threads)
    entries = (artefact.manifest.locator, artefact.manifest.segmenter)
    inputs = [np.zeros((together, entry.input_size, entry.input_size, 3), np.float32) for entry in entries]
    for network, ready in zip(networks, inputs, strict=True):
        network(ready)
    barrier.wait()
    for first in range(0, len(files), together):
        some = files[first : first + together]
        for file in some:
            image = Image.open(file)
            reduction = next((each for each in (8, 4, 2) if min(image.size) // each >= smallest), 1)
            image.draft(None, (image.width // reduction, image.height // reduction))
            np.asarray(image)
        for network, ready in zip(networks, inputs, strict=True):
            network(ready[: len(some)])


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    os.environ.pop("CUPDISC_THREADS", None)
    main()
