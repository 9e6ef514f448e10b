"""Images per second of the training step, alone and with its input pipeline, in f32 and bf16, on every device at hand.

Both networks of the preset `bundled`, on drawn photographs out of a cache: what is in the pictures does not change the
time. Writes Markdown into `results/` and prints it. `KERAS_BACKEND=jax` measures under JAX.
"""

import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import sys

from benchmarks.machine import cpu_name
from model.errors import InvalidConfiguration
from training.accelerator import Accelerator, choose
from training.cache import Cache
from training.config import Preset, SourceConfig
from training.prepare import cuts_for, prepare_sources
from training.preset_files import read_preset
from training.split import read_splits
from training.synthetic import write_folder
from training.throughput import LAPS, STEPS, Throughput, as_cells, measure_preset

RESULTS = Path(__file__).parent / "results"
PHOTOGRAPHS = 24
COLUMNS = ("network", "device", "precision", "batch", "step alone", "with its samples", "samples alone", "cost")


def main() -> None:
    """Measure, print, keep. `--quick` only shows that it runs: one short lap, nothing is kept."""
    quick = "--quick" in sys.argv[1:]
    steps, laps = (2, 1) if quick else (STEPS, LAPS)
    rows: list[Throughput] = []
    emulating: set[str] = set()
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-training-throughput-{os.environ['KERAS_BACKEND']}.md"
    for accelerator, more in measure(4 if quick else PHOTOGRAPHS, steps, laps):
        rows += more
        emulating |= set() if accelerator.bf16 else {str(accelerator)}
        if not quick:  # the slow rows come last: what is measured is kept, whatever becomes of them
            path.write_text(as_markdown(rows, sorted(emulating), steps, laps), encoding="utf-8")
    print(as_markdown(rows, sorted(emulating), steps, laps))
    if not quick:
        print(f"kept: {path}", file=sys.stderr)


def measure(photographs: int, steps: int, laps: int) -> Iterator[tuple[Accelerator, list[Throughput]]]:
    """Both networks on every device that this Keras backend sees, in float32, then in bf16, emulated or not."""
    with tempfile.TemporaryDirectory() as folder:
        preset = drawn_preset()
        write_folder(Path(folder) / "drawn", photographs, seed=1)
        location = str(Path(folder) / "cache")
        prepare_sources(preset, Path(folder), cuts_for(preset, []), location)
        cache = Cache(location)
        splits = read_splits(preset, Path(folder), cache)
        for device in ("tpu", "gpu", "cpu"):
            try:
                accelerator = choose(device)
            except InvalidConfiguration:
                continue  # there is none
            forced = dataclasses.replace(accelerator, bf16=True)
            for mixed in (False, True):
                yield accelerator, measure_preset(preset, splits, cache, forced, (mixed,), steps, laps)


def drawn_preset() -> Preset:
    """The networks and the variety of the version that ships, on one drawn source."""
    bundled = read_preset("bundled")
    networks = {
        part: dataclasses.replace(getattr(bundled, part), sources={"drawn": 1.0}) for part in ("locator", "segmenter")
    }
    return dataclasses.replace(bundled, name="drawn", sources=(SourceConfig("drawn"),), never_held_out=(), **networks)


def as_markdown(rows: Sequence[Throughput], emulating: Sequence[str], steps: int = STEPS, laps: int = LAPS) -> str:
    """The table and what it was measured on."""
    software = f"Python {platform.python_version()}, Keras {version('keras')} on {os.environ['KERAS_BACKEND']}"
    lines = [
        f"# Training throughput, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{os.cpu_count()} cores, {cpu_name()}, {software}. Images per second, medians of {laps} laps of {steps} "
        "steps. `cost` is by how much a step is longer when its samples are made beside it, from prepared photographs, "
        "than when they lie in memory: median over laps that were timed side by side. On a CPU both take their time "
        "from the same cores.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(as_cells(row))} |" for row in rows),
    ]
    if emulating:
        lines += ["", f"Training takes f32 by itself, as bf16 is emulated or no faster: {', '.join(emulating)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
