"""A version on annotated photographs: the product's own way, end to end, no oracle crop; figures per source."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from model.biomarkers import measure
from model.errors import InvalidConfiguration
from model.masks import Label
from model.segmenter import Segmenter
from training.metrics import bootstrap_interval, dice
from training.sources.example import Example


@dataclass(frozen=True)
class Result:
    """One photograph. Ratios of what was drawn, refused or not; None where a cup was not annotated or not drawn."""

    source: str
    id: str
    disc_dice: float
    cup_dice: float | None
    vertical: float | None
    vertical_truth: float | None
    missed: bool  # the drawn disc's centre is not inside the annotated disc, or there is none
    gradable: bool
    reasons: str
    disc_confidence: float
    cup_confidence: float
    cup_outside: float
    distance: float
    sharpness: float
    interval_low: float | None
    interval_high: float | None

    @property
    def vertical_error(self) -> float | None:
        """Drawn minus annotated vertical ratio; a cup that was not drawn counts as ratio 0."""
        return None if self.vertical_truth is None else (self.vertical or 0.0) - self.vertical_truth


_RESULT = TypeAdapter(Result)


def evaluate_photograph(segmenter: Segmenter, example: Example) -> Result:
    """Segment one photograph and compare with its annotation, in the photograph's own pixels."""
    photograph = example.read_photograph()
    truth = example.read_labels(photograph.shape[:2])
    (answer,) = segmenter.segment([photograph])
    drawn, drawn_disc = answer.drawn, measure(answer.drawn).disc
    missed = True
    if drawn_disc is not None:
        missed = bool(truth[int(drawn_disc.centre.y), int(drawn_disc.centre.x)] == Label.BACKGROUND)
    true_ratios = measure(truth).ratios if example.cup_annotated else None
    interval = answer.vertical_interval
    return Result(
        source=example.source,
        id=example.id,
        disc_dice=dice(drawn >= Label.RIM, truth >= Label.RIM),
        cup_dice=dice(drawn == Label.CUP, truth == Label.CUP) if example.cup_annotated else None,
        vertical=answer.drawn_ratios.vertical if answer.drawn_ratios else None,
        vertical_truth=true_ratios.vertical if true_ratios else None,
        missed=missed,
        gradable=answer.gradable,
        reasons=" ".join(answer.reasons),
        disc_confidence=answer.raw_disc_confidence,
        cup_confidence=answer.raw_cup_confidence,
        cup_outside=answer.cup_outside,
        distance=answer.distance_from_training,
        sharpness=answer.sharpness or 0.0,
        interval_low=interval.low if interval else None,
        interval_high=interval.high if interval else None,
    )


def evaluate(
    segmenter: Segmenter, examples: Iterable[Example], watch: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """`evaluate_photograph` of each, in order; `watch` sees every result as it comes."""
    results = []
    for example in examples:
        results.append(evaluate_photograph(segmenter, example))
        watch(results[-1])
    return results


def summarise(results: Sequence[Result], how: str) -> list[dict[str, Any]]:
    """Figures per source, all photographs counted, refused ones included; for the manifest and the card.

    Args:
        how: "held out" (other photographs of the source were trained on) or "left out" (none was).
    """
    return [
        _figures(name, [r for r in results if r.source == name], how) for name in sorted({r.source for r in results})
    ]


def _figures(source: str, results: Sequence[Result], how: str) -> dict[str, Any]:
    with_cup = [r for r in results if r.cup_dice is not None]
    errors = [float(e) for r in with_cup if (e := r.vertical_error) is not None]
    figures: dict[str, Any] = {"source": source, "how": how, "photographs": len(results)}
    figures |= _mean("disc_dice", [r.disc_dice for r in results])
    if with_cup:
        figures |= _mean("cup_dice", [float(r.cup_dice or 0.0) for r in with_cup])
        figures |= _mean("vertical_mae", [abs(e) for e in errors])
        figures["vertical_bias"] = round(float(np.mean(errors)), 4)
    covered = [
        bool(r.interval_low <= r.vertical_truth <= r.interval_high)
        for r in with_cup
        if r.interval_low is not None and r.interval_high is not None and r.vertical_truth is not None
    ]
    if covered:
        figures["interval_coverage"] = round(float(np.mean(covered)), 4)
    figures["discs_missed"] = sum(r.missed for r in results)
    figures["not_gradable"] = sum(not r.gradable for r in results)
    figures["cup_outside_disc"] = round(float(np.mean([r.cup_outside for r in results])), 5)
    return figures


def _mean(name: str, values: Sequence[float]) -> dict[str, Any]:
    low, high = bootstrap_interval(values)
    return {name: round(float(np.mean(values)), 4), f"{name}_95": [round(low, 4), round(high, 4)]}


def read_csv(path: Path) -> list[Result]:
    """The inverse of `write_csv`.

    Raises:
        InvalidConfiguration: not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_RESULT.validate_strings(_without_blanks(row)) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError) as error:
        raise InvalidConfiguration(f"{path}: no table of results: {error}") from error


def _without_blanks(row: dict[str, str]) -> dict[str, str | None]:
    """A blank cell is None, save for `reasons`, where it means that there are none."""
    return {name: value or (None if name != "reasons" else "") for name, value in row.items()}


def write_csv(results: Sequence[Result], path: Path) -> None:
    """One row per photograph."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)
