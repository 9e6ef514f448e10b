"""Held-out photographs, made worse on purpose: does a version still answer rightly, or say that it cannot? Markdown.

    python -m benchmarks.worsened [--version 2026.11.5] [--registry bundled] [--data DIR]

Every photograph that the version held out of its training is worsened in each way before it is segmented as a file of
a user's would be. Blur, noise and compression are made at the photograph's own size, so a source of crops is hit less
by the same share of the width than one of whole photographs.
"""

import io
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from PIL import Image

from benchmarks import of_a_version
from model import retina
from model.registry import open_registry
from model.segmenter import Segmenter
from training.evaluate import Result, evaluate
from training.judging import preset_of
from training.sources.example import Example
from training.split import read_splits

RESULTS = Path(__file__).parent / "results"
BAD_DISC = 0.8  # Dice below which a disc counts as wrong
HAZE = 200  # grey level of what lies before the retina

Way = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 → the same, worse


def blurred(share: float) -> Way:
    """By a Gaussian whose deviation is a share of the width."""
    return lambda image: cv2.GaussianBlur(image, (0, 0), share * image.shape[1])


def exposed(gain: float) -> Way:
    """Darker or brighter; what is too bright is cut off."""
    return lambda image: _grey_levels(image.astype(np.float32) * gain)


def noisy(deviation: float) -> Way:
    """Normal noise, independent in each pixel and channel; the same each time."""
    return lambda image: _grey_levels(image + np.random.default_rng(0).normal(0, deviation, image.shape))


def compressed(quality: int) -> Way:
    """Through a JPEG."""

    def way(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return way


def shrunk(width: int) -> Way:
    """To so many pixels across and back."""

    def way(image: np.ndarray) -> np.ndarray:
        height, whole = image.shape[:2]
        small = cv2.resize(image, (width, max(1, round(height * width / whole))), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (whole, height), interpolation=cv2.INTER_CUBIC)

    return way


def hazy(share: float) -> Way:
    """As through a cataract: contrast lost to an even light, inside the field of view."""

    def way(image: np.ndarray) -> np.ndarray:
        lit = image.max(axis=-1, keepdims=True) >= retina.BLACK
        return _grey_levels(image * (1 - share) + share * HAZE * lit)

    return way


def shaded(image: np.ndarray) -> np.ndarray:
    """Light from one side: 15 % at the left edge, all of it at the right."""
    return _grey_levels(image * np.linspace(0.15, 1, image.shape[1])[None, :, None])


def red_free(image: np.ndarray) -> np.ndarray:
    """The green channel alone."""
    return np.repeat(image[..., 1:2], 3, axis=2)


def swapped(image: np.ndarray) -> np.ndarray:
    """Red and blue exchanged, as a faulty program might write it."""
    return np.ascontiguousarray(image[..., ::-1])


def _grey_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


WAYS: dict[str, Way] = {
    "as it is": lambda image: image,
    **{f"blur, deviation {share:.1%} of the width": blurred(share) for share in (0.003, 0.007, 0.015, 0.03)},
    **{f"{width} pixels across, enlarged again": shrunk(width) for width in (150, 80)},
    **{f"exposure × {gain:g}": exposed(gain) for gain in (0.3, 0.1, 2.0, 3.5)},
    **{f"noise of {deviation} grey levels": noisy(deviation) for deviation in (20, 50)},
    **{f"JPEG of quality {quality}": compressed(quality) for quality in (10, 3)},
    **{f"haze, {share:.0%}": hazy(share) for share in (0.5, 0.85)},
    "light from one side": shaded,
    "red-free": red_free,
    "red and blue swapped": swapped,
}


@dataclass(frozen=True)
class Worsened(Example):
    """An example whose photograph comes worsened; its annotation stays."""

    way: Way = lambda image: image

    @classmethod
    def of(cls, example: Example, way: Way) -> Self:
        """The same photograph."""
        return cls(**{each.name: getattr(example, each.name) for each in fields(Example)}, way=way)

    def read_photograph(self) -> np.ndarray:
        """As `Example`."""
        return self.way(super().read_photograph())


def main() -> None:
    """Measure and write."""
    options = of_a_version.options(__doc__)
    artefact = open_registry(options.registry).open(options.version)
    segmenter = Segmenter(artefact)
    held_out = [
        example
        for split in read_splits(preset_of(artefact.manifest), options.data).values()
        if not split.left_out
        for example in split.held_out
    ]
    rows = []
    for name, way in WAYS.items():
        results = evaluate(segmenter, [Worsened.of(example, way) for example in held_out])
        rows += [row(name, source, those) for source, those in by_source(results).items()]
        print(name, flush=True)
    target = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-worsened.md"
    target.write_text(report(segmenter, rows), encoding="utf-8")
    print(target)


def by_source(results: Iterable[Result]) -> dict[str, list[Result]]:
    """In the order of the first of each."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.source, []).append(result)
    return found


def row(way: str, source: str, results: Sequence[Result]) -> str:
    """What became of one source's photographs."""
    gradable = [result for result in results if result.gradable]
    errors = [abs(result.vertical_error) for result in gradable if result.vertical_error is not None]
    wrong = sum(result.disc_dice < BAD_DISC for result in gradable)
    reasons = Counter(reason for result in results for reason in result.reasons.split())
    said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    cells = [way, source, dice(results), f"{len(gradable)} of {len(results)}", dice(gradable)]
    return f"| {' | '.join([*cells, _mean(errors), str(wrong), said])} |"


def dice(results: Sequence[Result]) -> str:
    """Means of disc and cup."""
    return f"{_mean([each.disc_dice for each in results])}, {_mean([each.cup_dice or 0.0 for each in results])}"


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3f}" if values else "–"


SAYS = (
    "the photographs that it held out of its training. Dice are means of disc and cup: of what the networks drew, "
    "shown to a user or not, and of the gradable ones alone. Wrong is a gradable one whose disc has a "
    f"Dice below {BAD_DISC}."
)
HEAD = (
    "| made worse by | source | Dice, all | gradable | Dice of these | vCDR error of these | wrong among these | "
    "reasons |\n|" + "---|" * 8
)


def report(segmenter: Segmenter, rows: Sequence[str]) -> str:
    """Markdown."""
    head = f"# Photographs made worse, {datetime.now(UTC):%Y-%m-%d}"
    about = f"Version {segmenter.version}, {segmenter.engine}, {segmenter.precision}; {SAYS}"
    return "\n".join([head, "", about, "", HEAD, *rows, ""])


if __name__ == "__main__":
    main()
