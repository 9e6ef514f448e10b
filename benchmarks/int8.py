"""Would int8 networks be worth it? NNCF's quantisation after training, accuracy and speed beside f32. Writes Markdown.

    python -m benchmarks.int8 FOLDER-OF-PHOTOGRAPHS…

Needs `nncf`, which nothing else here does: install it into an environment of its own. Half of the photographs set the
ranges, the other half are compared. Kept would be what moves the vertical ratio by less than 0.005 on the mean and is
at least 1.3 times as fast.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu_name
from model import engines, images
from model.engines import Engine
from model.images import Decoded
from model.masks import Label
from model.registry import open_registry
from model.segmentation import Segmentation
from model.segmenter import Segmenter

RESULTS = Path(__file__).parent / "results"
MOST = 120  # photographs
LARGEST_CHANGE, LEAST_GAIN = 0.005, 1.3
CALLS = 200


class Recording:
    """An engine that keeps what it was given."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.precision, self._engine = engine.name, engine.precision, engine
        self.seen: list[np.ndarray] = []

    def __call__(self, given: np.ndarray) -> np.ndarray:
        self.seen.append(given.copy())
        return self._engine(given)


class Quantised:
    """A network after NNCF, as an engine."""

    name, precision = "openvino", "f32"

    def __init__(self, saved_model: Path, seen: Sequence[np.ndarray]) -> None:
        import nncf

        core = engines.import_openvino().Core()
        quantised = nncf.quantize(core.read_model(saved_model), nncf.Dataset(seen), subset_size=len(seen))
        options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled: Any = core.compile_model(quantised, "CPU", options)

    def __call__(self, given: np.ndarray) -> np.ndarray:
        result: np.ndarray = self._compiled([given])[0]
        return result


def main() -> None:
    """The command."""
    files = sorted(file for folder in sys.argv[1:] for file in Path(folder).rglob("*.jp*g"))
    files = files[:: max(1, len(files) // MOST)][:MOST]
    artefact = open_registry("bundled").open("production")
    plain = Segmenter(artefact, precision="f32", threads=1)
    recorded: dict[str, Recording] = {}

    def record(network: str, engine: Engine) -> Engine:
        recorded[network] = Recording(engine)
        return recorded[network]

    recording = plain.sharing(record)
    for file in files[::2]:
        recording.segment([_decoded(file, plain)])
    quantised = {
        name: Quantised(folder, recorded[name].seen)
        for name, folder in (("locator", artefact.locator), ("segmenter", artefact.segmenter))
    }
    quick = plain.sharing(lambda network, engine: quantised[network])
    pairs = [tuple(one.segment([_decoded(file, plain)])[0] for one in (plain, quick)) for file in files[1::2]]
    changes = [
        abs(one.drawn_ratios.vertical - other.drawn_ratios.vertical)
        for one, other in pairs
        if one.drawn_ratios and other.drawn_ratios
    ]
    took = {name: _cpu_ms(recorded[name]._engine, quantised[name], recorded[name].seen[0]) for name in recorded}
    gain = sum(f32 for f32, _ in took.values()) / sum(int8 for _, int8 in took.values())
    kept = statistics.fmean(changes) < LARGEST_CHANGE and gain >= LEAST_GAIN
    rows = {
        "vertical ratio, mean and largest difference": f"{statistics.fmean(changes):.4f}, {max(changes):.4f}",
        "Dice of the discs, of the cups": ", ".join(f"{_dice(pairs, label):.4f}" for label in (Label.RIM, Label.CUP)),
        "another verdict": f"{sum(one.gradable != other.gradable for one, other in pairs)} of {len(pairs)}",
        **{f"{name}, f32 and int8": f"{f32:.1f}, {int8:.1f} ms" for name, (f32, int8) in took.items()},
        "both networks, times as fast": f"{gain:.2f}",
        f"kept (below {LARGEST_CHANGE}, at least {LEAST_GAIN} times)": "yes" if kept else "no",
    }
    now = datetime.now(UTC)
    text = (
        f"# int8, {now:%Y-%m-%d %H:%M} UTC\n\n{cpu_name()}, OpenVINO {version('openvino')}, NNCF {version('nncf')},"
        f" version {plain.version}. {len(files[::2])} photographs set the ranges, {len(pairs)} others were compared"
        " with f32; times are one thread's processor time for one photograph, medians in turns.\n\n| what | figure |\n"
        "|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items()) + "\n"
    )
    target = RESULTS / f"{now:%Y-%m-%d}-int8.md"
    target.write_text(text, encoding="utf-8")
    print(target)


def _decoded(file: Path, segmenter: Segmenter) -> Decoded:
    return images.decode(file.read_bytes(), smallest_side=segmenter.smallest_side)


def _dice(pairs: Sequence[tuple[Segmentation, ...]], least: Label) -> float:
    masks = [(one.drawn >= least, other.drawn >= least) for one, other in pairs]
    common = sum(np.count_nonzero(one & other) for one, other in masks)
    return 2 * common / sum(np.count_nonzero(one) + np.count_nonzero(other) for one, other in masks)


def _cpu_ms(f32: Engine, int8: Quantised, given: np.ndarray) -> tuple[float, float]:
    took: tuple[list[float], list[float]] = [], []
    for _ in range(CALLS):
        for engine, times in zip((f32, int8), took, strict=True):
            started = time.thread_time()
            engine(given)
            times.append((time.thread_time() - started) * 1000)
    return statistics.median(took[0]), statistics.median(took[1])


if __name__ == "__main__":
    main()
