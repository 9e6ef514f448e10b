"""An evaluation as one HTML file that needs nothing else: figures, refusals and, where asked for, the worst answers."""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from model.biomarkers import measure
from model.masks import Label
from model.retina import Frame, square_around
from model.segmenter import Segmenter
from training import plots
from training.calibrate import COVERAGE
from training.config import Preset
from training.evaluate import Result, write_csv
from training.judging import Judged
from training.sources.example import Example
from training.whole_file import whole_file, writing

WORST = 12
SIDE = 320  # pixels of a picture of a worst answer
DIAMETERS = 2.4  # of the disc, that it shows
DISC, CUP, TRUTH = (0, 212, 106), (48, 144, 255), (255, 255, 255)

ROWS = (  # figure of `summary.summarise`, its name for people, its format
    ("disc_dice", "disc Dice", "{:.3f}"),
    ("cup_dice", "cup Dice", "{:.3f}"),
    ("disc_iou", "disc IoU", "{:.3f}"),
    ("cup_iou", "cup IoU", "{:.3f}"),
    ("vertical_mae", "vCDR mean abs. error", "{:.3f}"),
    ("vertical_bias", "vCDR bias", "{:+.3f}"),
    ("disc_radii_ratio", "disc radii ratio", "{:.3f}"),
    ("cup_radii_ratio", "cup radii ratio", "{:.3f}"),
    ("disc_hausdorff95", "disc Hausdorff, pixels", "{:.1f}"),
    ("cup_hausdorff95", "cup Hausdorff, pixels", "{:.1f}"),
    ("disc_hausdorff95_in_disc_diameters", "disc Hausdorff, disc diameters", "{:.3f}"),
    ("cup_hausdorff95_in_disc_diameters", "cup Hausdorff, disc diameters", "{:.3f}"),
    ("glaucoma_auc", "glaucoma AUC of the drawn vCDR", "{:.3f}"),
    ("glaucoma_auc_annotated", "glaucoma AUC of the annotated vCDR", "{:.3f}"),
    ("disc_calibration_error", "disc pixels' calibration error", "{:.4f}"),
    ("cup_calibration_error", "cup pixels' calibration error", "{:.4f}"),
    ("interval_coverage", "annotated vCDR in the interval", "{:.1%}"),
    ("interval_width", "mean width of the interval", "{:.3f}"),
    ("discs_missed", "discs missed", "{}"),
    ("not_gradable", "not gradable", "{}"),
)


def write_evaluation(
    folder: Path,
    segmenter: Segmenter,
    preset: Preset,
    judged: Mapping[str, Judged],
    results: Mapping[str, Sequence[Result]],
    figures: Sequence[dict[str, Any]],
    photographs: bool,
) -> None:
    """Write photographs.csv, metrics.json and report.html into a folder.

    Args:
        preset, judged: sources by name, as `judging.choose` gives them; `results` are theirs, in the same order.
        photographs: whether the report shows the worst answers.
    Raises:
        CannotWrite: e.g. no space left; no file is half there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    everything = [dataclasses.replace(each, how=part.how) for name, part in judged.items() for each in results[name]]
    write_csv(everything, folder / "photographs.csv")
    with whole_file(folder / "metrics.json") as partial:
        partial.write_text(json.dumps(list(figures), indent=1) + "\n", encoding="utf-8")
    pictures: list[tuple[str, str]] = []
    shown: set[str] = set()
    if photographs:
        worst = sorted(zip([e for part in judged.values() for e in part.examples], everything, strict=True), key=_score)
        pictures = [(_answer(segmenter, example), _caption(result)) for example, result in worst[:WORST]]
        shown = {example.source for example, _ in worst[:WORST]}
    write_report(
        folder / "report.html",
        f"{segmenter.name} {segmenter.version}"
        + (f", cups as drawn by {segmenter.convention}" if segmenter.convention else ""),
        everything,
        figures,
        segmenter.manifest.calibration,
        [
            f"version {segmenter.version}, sha256 {segmenter.digest}",
            f"engine {segmenter.engine}, {segmenter.precision}",
        ],
        pictures,
        [f"{source.name} ({source.terms or 'terms not told'})" for source in preset.sources if source.name in shown],
    )


def write_report(
    path: Path,
    title: str,
    results: Sequence[Result],
    metrics: Sequence[dict[str, Any]],
    calibration: dict[str, Any],
    facts: Sequence[str] = (),
    pictures: Sequence[tuple[str, str]] = (),
    terms: Sequence[str] = (),
) -> None:
    """Write the file; without `pictures` it holds no photograph.

    Args:
        metrics: of these results, by `summary.summarise`.
        calibration: of the version's manifest; {} where it has no interval.
        facts: lines under the title.
        pictures: (base64 of a JPEG, caption) of the worst answers.
        terms: source and terms of the photographs that the pictures show.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("report.html.jinja").render(
        title=title,
        facts=facts,
        metrics=metrics,
        table=_table(metrics),
        figures=[figure for figure in _figures(results, calibration) if figure[2]],
        refusals=[_refusal(r) for r in results if not r.gradable],
        pictures=pictures,
        terms=terms,
    )
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _score(pair: tuple[Example, Result]) -> float:
    result = pair[1]
    return min(result.disc_dice, 1.0 if result.cup_dice is None else result.cup_dice)


def _answer(segmenter: Segmenter, example: Example) -> str:
    """Base64 of a JPEG: the photograph with the answer's outlines and the annotated ones."""
    photograph = example.read_photograph()
    truth = example.read_labels(photograph.shape[:2])
    (answer,) = segmenter.segment([photograph])
    return base64.b64encode(_picture(photograph, truth, answer.drawn)).decode("ascii")


def _caption(result: Result) -> str:
    parts = [f"{result.source}/{result.id}: disc {result.disc_dice:.2f}"]
    if result.cup_dice is not None:
        parts.append(f"cup {result.cup_dice:.2f}")
    if result.vertical_truth is not None:
        parts.append(f"vCDR {result.vertical or 0:.2f}, annotated {result.vertical_truth:.2f}")
    return ", ".join(parts) + ("" if result.gradable else f"; refused: {result.reasons}")


def _picture(photograph: np.ndarray, truth: np.ndarray, drawn: np.ndarray) -> bytes:
    """JPEG of the surroundings of the annotated disc, with both outlines."""
    disc = measure(truth).disc
    assert disc is not None  # noqa: S101  # `read_labels` raises without one
    side = DIAMETERS * max(disc.box.width, disc.box.height)
    frame = square_around(disc.centre.x, disc.centre.y, min(side, max(truth.shape)))
    picture = np.ascontiguousarray(frame.cut(photograph, SIDE))
    outlines = (
        (truth >= Label.RIM, TRUTH, 1),
        (truth == Label.CUP, TRUTH, 1),
        (drawn >= Label.RIM, DISC, 2),
        (drawn == Label.CUP, CUP, 2),
    )
    for mask, colour, width in outlines:
        _outline(picture, frame, mask, colour, width)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return encoded.tobytes()


def _outline(picture: np.ndarray, frame: Frame, mask: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    inside = frame.cut(np.where(mask, 255, 0).astype(np.uint8), SIDE) >= 128
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, width, cv2.LINE_AA)


def _table(metrics: Sequence[dict[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(name, (value, interval) of each source) of the figures that any source has."""

    def cell(row: dict[str, Any], key: str, form: str, part: str = "") -> tuple[str, str]:
        if key not in row:
            return ("–", "")
        value, interval = row[key], row.get(f"{key}_95")
        if part:
            value, interval = value[part], interval and interval[part]
        return form.format(value), " to ".join(form.format(end) for end in interval) if interval else ""

    table = [
        (name, [cell(row, key, form) for row in metrics])
        for key, name, form in ROWS
        if any(key in row for row in metrics)
    ]
    for key, prefix, names in (
        (
            "vertical_error_percentiles",
            "vCDR abs. error, ",
            {"50": "median", "90": "90th percentile", "95": "95th percentile"},
        ),
        ("vertical_mae_of_the_surest", "vCDR mean abs. error, ", {"0.9": "surest 90 %", "0.5": "surest half"}),
    ):
        for part, name in names.items():
            cells = [cell(row, key, "{:.3f}", part) for row in metrics]
            if any(key in row for row in metrics):
                table.append((prefix + name, cells))
    return table


def _figures(results: Sequence[Result], calibration: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(heading, explanation, SVG); an empty drawing where there is nothing to draw."""
    new_sources = calibration.get("on_new_sources", [])
    promised = calibration.get("coverage", COVERAGE)
    annotated = any(r.vertical_error is not None for r in results)
    new = " Black: calibrated without anything of that source." if new_sources else ""
    return [
        (
            "Agreement with the annotation",
            "One point per photograph; the box holds the middle half.",
            plots.dice_distributions(results),
        ),
        (
            "Vertical ratio against the annotation (Bland and Altman)",
            "A line off zero is a bias: this source's annotators draw larger or smaller cups than the version does. "
            "Dashed: the limits between which 95 % of differences lie if they are normal.",
            plots.bland_altman(results) if annotated else "",
        ),
        (
            "Probabilities of pixels",
            "On the diagonal a probability means what it says. The error is the expected calibration error over all "
            "pixels of the segmenter's region; most of them are easy, which keeps it small.",
            plots.pixel_calibration(results),
        ),
        (
            "Error among those that are answered",
            "To the left only the surest answers count. A curve that rises says that confidence means something. The "
            "cross stands where the version's own limits of what is gradable put it.",
            plots.risk_and_coverage(results),
        ),
        (
            "Does the interval hold the annotated ratio?",
            f"Per source, with exact binomial intervals.{new}",
            plots.interval_coverage(results, promised, new_sources),
        ),
    ]


def _refusal(result: Result) -> tuple[str, ...]:
    cup = "–" if result.cup_dice is None else f"{result.cup_dice:.3f}"
    error = "–" if result.vertical_error is None else f"{result.vertical_error:+.3f}"
    return (f"{result.source}/{result.id}", result.reasons, f"{result.disc_dice:.3f}", cup, error)
