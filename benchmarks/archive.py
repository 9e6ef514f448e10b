"""`cupdisc bulk` over 500 photographs: on one and two workers, killed and continued, beside `cupdisc segment`.

    make bulk
    .venv/bin/python -m benchmarks.archive --photographs FOLDER

Without a folder it draws them. Prints Markdown.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import cv2
from pyarrow import parquet

from benchmarks.machine import cpu_name
from model import images
from model.cores import usable_cores
from model.images import Limits
from model.registry import open_registry
from model.segmenter import Segmenter

COMMAND = Path(".venv-bulk/bin/cupdisc")
BATCHES = (1, 2, 4, 8, 16)
TRIED = 48  # photographs that are batched
TINY = 20_000  # files of nine bytes
KILLED_AFTER = 0.4  # of the time that the whole run took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photographs", type=Path, help="a folder of photographs; drawn where not given")
    parser.add_argument("--count", type=int, default=500, help="of those that are drawn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cupdisc-archive-") as scratch:
        eyes, out = options.photographs or drawn(Path(scratch) / "eyes", options.count), Path(scratch) / "out"
        files = sorted(file for file in eyes.rglob("*") if file.suffix in (".jpg", ".png"))
        size = sum(file.stat().st_size for file in files) / len(files) / 1e6
        print(f"# An archive through Apache Beam, {datetime.now(UTC):%Y-%m-%d}\n")
        print(
            f"{usable_cores()} cores, {cpu_name()}, Python {platform.python_version()}, FnApiRunner. {len(files)} "
            f"photographs, {size:.2f} MB each on average; once each.\n"
        )
        print("| what | seconds from start to end | photographs per s | answered | largest process, MiB |")
        print("|---|---|---|---|---|")
        took = {}
        for workers in (2, 1):
            shutil.rmtree(out, ignore_errors=True)
            took[workers] = bulk(eyes, out, workers)
            show(f"`cupdisc bulk --workers {workers}`", took[workers], len(files), answered(out))
        began = time.perf_counter()
        target = str(Path(scratch) / "segment")
        table = [".venv/bin/cupdisc", "segment", str(eyes), "--out", target, "--no-masks", "--no-overlays"]
        subprocess.run(table, check=False, capture_output=True)
        show("`cupdisc segment`, table alone", time.perf_counter() - began, len(files), "")
        shutil.rmtree(out)
        killed(eyes, out, took[2], len(files))
        shutil.rmtree(out)
        few = Path(scratch) / "tiny"
        few.mkdir()
        for number in range(TINY):
            (few / f"{number}.jpg").write_bytes(b"no photo!")
        seconds = bulk(few, out, 2)
        show(f"{TINY:,} files of 9 bytes, none a photograph", seconds, TINY, answered(out, "failed"))
        show("the same again: nothing to do", bulk(few, out, 2), TINY, answered(out, "failed"))
        batches(files)


def drawn(folder: Path, count: int) -> Path:
    """Whole photographs and crops, drawn by `training.synthetic`."""
    from training.synthetic import write_folder

    write_folder(folder, count, 9)
    return folder / "images"


def bulk(eyes: Path, out: Path, workers: int) -> float:
    """Seconds of a whole command."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(COMMAND), "bulk", str(eyes), str(out), "--workers", str(workers)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - began


def killed(eyes: Path, out: Path, whole_s: float, count: int) -> None:
    """Kill everything in the middle, then go on."""
    command = [str(COMMAND), "bulk", str(eyes), str(out), "--workers", "2"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        time.sleep(whole_s * KILLED_AFTER)
        os.killpg(run.pid, signal.SIGKILL)
    kept = sum(parquet.read_table(file).num_rows for file in (out / ".unfinished/segments").glob("*.parquet"))
    seconds = bulk(eyes, out, 2)
    counted = json.loads((out / "summary/counts.json").read_text())["all"]["photographs"]
    names = parquet.read_table(out / "results").column("file").to_pylist()
    again = f"`kill -9` of all processes after {whole_s * KILLED_AFTER:.0f} s ({kept} rows kept), then the same command"
    show(again, seconds, count - kept, f"{len(names)}, {len(set(names))} different; {counted} in the summary")


def answered(out: Path, place: str = "results") -> str:
    """Rows in the tables, and how many photographs they are about."""
    names = parquet.read_table(out / place).column("file").to_pylist()
    return f"{len(names)}, {len(set(names))} different"


def show(what: str, seconds: float, count: int, rows: str) -> None:
    """One line of the table."""
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"| {what} | {seconds:.1f} | {count / seconds:.1f} | {rows} | {largest:.0f} |", flush=True)


def batches(files: list[Path]) -> None:
    """Milliseconds of a photograph in one call of the networks, by the number in the call; one thread, as a worker."""
    cv2.setNumThreads(1)
    segmenter = Segmenter(open_registry("bundled").open("production"), threads=1)
    chosen = files[:: max(1, len(files) // TRIED)][:TRIED]
    decoded = [images.decode(file.read_bytes(), Limits(), segmenter.smallest_side) for file in chosen]
    segmenter.segment(decoded[:16])
    print(f"\n| photographs in one call | ms for each, median of 3 ({segmenter.precision}, one thread) |\n|---|---|")
    times: dict[int, list[float]] = {size: [] for size in BATCHES}
    for _ in range(3):
        for size in BATCHES:
            began = time.perf_counter()
            for first in range(0, len(decoded), size):
                segmenter.segment(decoded[first : first + size])
            times[size].append((time.perf_counter() - began) * 1000 / len(decoded))
    for size in BATCHES:
        print(f"| {size} | {statistics.median(times[size]):.1f} |")


if __name__ == "__main__":
    main()
