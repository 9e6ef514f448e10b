"""A version on annotated photographs: the product's own way, end to end, no oracle crop; one result for each."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.biomarkers import measure
from model.errors import InvalidConfiguration
from model.masks import Label
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from training.judging import LEFT_OUT, NEVER_SEEN
from training.metrics import dice, hausdorff_95, radii_ratio, reliability
from training.sources.example import Example, Shares, labels_of, read_each
from training.whole_file import whole_file


@dataclass(frozen=True)
class Result:
    """One photograph. Ratios of what was drawn, refused or not; None where a cup was not annotated or not drawn.

    From `glaucoma` on, None in a table that was written before there was such a column.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

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
    glaucoma: bool | None = None  # the clinic's diagnosis
    disc_radii_ratio: float | None = None
    cup_radii_ratio: float | None = None
    disc_hausdorff95: float | None = None  # pixels; None where nothing was drawn
    cup_hausdorff95: float | None = None
    disc_diameter: float | None = None  # pixels, of the circle of the annotated disc's area
    locator_confidence: float | None = None
    how: str | None = None  # what the version knew of the source, in the words of `judging`
    # (2, BINS, 3) `metrics.reliability` of disc and cup, the cup's all 0 where not annotated; not in the table
    pixels: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def vertical_error(self) -> float | None:
        """Drawn minus annotated vertical ratio; a cup that was not drawn counts as ratio 0."""
        return None if self.vertical_truth is None else (self.vertical or 0.0) - self.vertical_truth


@dataclass(frozen=True)
class Overlap:
    """One photograph, only as far as thresholds are chosen by it; `cup_dice` as in `Result`."""

    source: str
    disc_dice: float
    cup_dice: float | None


COLUMNS = [each.name for each in fields(Result) if each.name != "pixels"]
_RESULT = TypeAdapter(Result)


def evaluate_photograph(segmenter: Segmenter, example: Example) -> Result:
    """Segment one photograph and compare with its annotation, in the photograph's own pixels.

    Raises:
        InvalidSource: an unreadable photograph or annotation.
    """
    photograph = example.read_photograph()
    shares = example.read_shares(photograph.shape[:2])
    truth = labels_of(shares)
    (answer,) = segmenter.segment([photograph])
    drawn, drawn_disc = answer.drawn, measure(answer.drawn).disc
    missed = True
    if drawn_disc is not None:
        missed = bool(truth[int(drawn_disc.centre.y), int(drawn_disc.centre.x)] == Label.BACKGROUND)
    true_ratios = measure(truth).ratios if example.cup_annotated else None
    interval = answer.vertical_interval
    disc, true_disc = drawn >= Label.RIM, truth >= Label.RIM
    cup, true_cup = drawn == Label.CUP, truth == Label.CUP
    return Result(
        source=example.source,
        id=example.id,
        disc_dice=dice(disc, true_disc),
        cup_dice=dice(cup, true_cup) if example.cup_annotated else None,
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
        glaucoma=example.glaucoma,
        disc_radii_ratio=radii_ratio(disc, true_disc),
        cup_radii_ratio=radii_ratio(cup, true_cup) if example.cup_annotated else None,
        disc_hausdorff95=hausdorff_95(disc, true_disc),
        cup_hausdorff95=hausdorff_95(cup, true_cup) if example.cup_annotated else None,
        disc_diameter=2 * float(np.sqrt(np.count_nonzero(true_disc) / np.pi)),
        locator_confidence=answer.locator_confidence,
        pixels=_pixels(answer, shares, example.cup_annotated),
    )


def _pixels(answer: Segmentation, shares: Shares, cup_annotated: bool) -> np.ndarray | None:
    """Probabilities against the annotation, on the segmenter's grid, where it shows the photograph."""
    if answer.roi is None or answer.probabilities is None:
        return None
    size = answer.probabilities.shape[0]
    within = answer.roi.cut(np.full(shares.disc.shape, 255, np.uint8), size) == 255
    tables = [
        reliability(answer.probabilities[..., i][within], answer.roi.cut(share, size)[within] / 255)
        for i, share in enumerate(shares)
    ]
    counted = np.array([1.0, float(cup_annotated)])[:, None, None]
    return np.asarray(np.stack(tables) * counted)


def evaluate(
    segmenter: Segmenter, examples: Sequence[Example], watch: Callable[[], None] = lambda: None
) -> list[Result]:
    """`evaluate_photograph` of each, two at a time, in the order given; `watch` is called after each.

    Raises:
        InvalidSource: lists every photograph or annotation that cannot be read.
    """
    return read_each(examples, lambda example: evaluate_photograph(segmenter, example), watch)


def overlaps(segmenters: Mapping[float, Segmenter], examples: Sequence[Example]) -> dict[float, list[Overlap]]:
    """By the keys of `segmenters`, the Dice of each on every photograph, which is read once for all of them.

    Raises:
        InvalidSource: lists every photograph or annotation that cannot be read.
    """

    def one(example: Example) -> list[Overlap]:
        photograph = example.read_photograph()
        truth = example.read_labels(photograph.shape[:2])
        answers = [segmenter.segment([photograph])[0].drawn for segmenter in segmenters.values()]
        return [_overlap(example, drawn, truth) for drawn in answers]

    return dict(zip(segmenters, map(list, zip(*read_each(examples, one), strict=True)), strict=True))


def _overlap(example: Example, drawn: np.ndarray, truth: np.ndarray) -> Overlap:
    cup = dice(drawn == Label.CUP, truth == Label.CUP) if example.cup_annotated else None
    return Overlap(example.source, dice(drawn >= Label.RIM, truth >= Label.RIM), cup)


def read_csv(path: Path) -> list[Result]:
    """The inverse of `write_csv`; columns that were added later may be missing.

    Raises:
        InvalidConfiguration: not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_RESULT.validate_python(_without_blanks(row)) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError) as error:
        raise InvalidConfiguration(f"{path}: no table of results: {error}") from error


def read_left_out(paths: Sequence[Path]) -> list[Result]:
    """Of tables as `read_csv` takes them, the photographs of sources that the versions never saw.

    A table from before the column `how` tells nothing of that and is taken whole.

    Raises:
        InvalidConfiguration: not such a table, one without any such photograph, or a photograph that stands in two of
            them: two runs are no two photographs.
    """
    found: list[Result] = []
    tables: dict[tuple[str, str], Path] = {}
    for path in paths:
        unseen = [result for result in read_csv(path) if result.how in (None, LEFT_OUT, NEVER_SEEN)]
        if not unseen:
            raise InvalidConfiguration(f"{path}: no photograph of a source that was left out")
        for result in unseen:
            if (before := tables.setdefault((result.source, result.id), path)) != path:
                raise InvalidConfiguration(f"{path}: {result.source}/{result.id} stands in {before} too; give one run")
        found += unseen
    return found


def _without_blanks(row: dict[str, str]) -> dict[str, str | None]:
    """A blank cell is None, save for `reasons`, where it means that there are none."""
    return {name: value or (None if name != "reasons" else "") for name, value in row.items()}


def write_csv(results: Sequence[Result], path: Path) -> None:
    """One row per photograph; the table appears whole or not at all. Raises CannotWrite."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(result, name) for name in COLUMNS] for result in results)
