"""Held-out photographs, made worse on purpose: does a version still answer rightly, or say that it cannot? Markdown.

    python -m benchmarks.worsened [--version 2026.11.8] [--registry bundled] [--data DIR]

Every photograph that the version held out of its training is worsened in each way before it is segmented as a file of
a user's would be. Blur, noise and compression are made at the photograph's own size, so a source of crops is hit less
by the same share of the width than one of whole photographs.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks import of_a_version
from benchmarks.ways import WAYS, Way
from model.registry import open_registry
from model.segmenter import Segmenter
from training.evaluate import Result, evaluate
from training.judging import preset_of
from training.sources.example import Example, Shares
from training.split import read_splits

RESULTS = Path(__file__).parent / "results"
BAD_DISC = 0.8  # Dice below which a disc counts as wrong


@dataclass(frozen=True)
class Worsened(Example):
    """An example whose photograph comes worsened, with its annotation where that shows it."""

    way: Way = WAYS["as it is"]

    @classmethod
    def of(cls, example: Example, way: Way) -> Self:
        """The same photograph."""
        return cls(**{each.name: getattr(example, each.name) for each in fields(Example)}, way=way)

    def read_photograph(self) -> np.ndarray:
        """As `Example`."""
        return np.ascontiguousarray(self.way.change(super().read_photograph()))

    def read_shares(self, shape: tuple[int, int]) -> Shares:
        """As `Example`."""
        if self.way.places is None:
            return super().read_shares(shape)
        height, width = super().read_photograph().shape[:2]
        return Shares(*map(self.way.places, super().read_shares((height, width))))


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
