"""Photographs in files → overlays, masks and one table in a folder; segmented here, or by a service elsewhere."""

import base64
import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import images
from model.errors import CupDiscError, InvalidConfiguration, TooManyBytes
from model.images import Limits
from model.segmenter import Segmenter
from service import answers, rendering
from service.answers import Wish
from service.client import Segmented
from service.schemas import PngMask, SegmentationAnswer, Structure

TABLE = "results.csv"
COLUMNS = (
    *("file", "output", "error", "gradable", "reasons"),
    *("vertical_ratio", "vertical_low", "vertical_high", "horizontal_ratio", "area_ratio"),
    *("disc_area", "disc_width", "disc_height", "disc_x", "disc_y", "cup_area", "cup_width", "cup_height"),
    *("disc_confidence", "cup_confidence", "distance_from_training", "sharpness", "version", "sha256"),
)


def output_names(files: Sequence[Path]) -> list[str]:
    """A name for each file's results: its stem, numbered from the second file of the same stem on."""
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while name.lower() in taken:  # some file systems do not tell upper case from lower
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def segment_here(files: Sequence[Path], segmenter: Segmenter, limits: Limits) -> Iterator[tuple[Path, Segmented]]:
    """The answer of each file, one by one, as `Client.segment_many` gives it: masks as PNG."""
    for file in files:
        try:
            decoded = images.decode(_read(file, limits), limits)
            (found,) = segmenter.segment([decoded.pixels])
            yield file, answers.describe(decoded, found, segmenter, Wish("application/json"), 0.0)
        except (CupDiscError, OSError) as error:
            yield file, error


def write_results(
    files: Sequence[Path],
    segmented: Iterable[tuple[Path, Segmented]],
    out: Path,
    limits: Limits,
    overwrite: bool = False,
) -> Iterator[tuple[Path, str | None]]:
    """Write `NAME.overlay.png`, `NAME.disc.png`, `NAME.cup.png` and a row of `results.csv` for each file, one by one.

    A mask that is not known is not written; unknown cells of the table are empty.

    Args:
        segmented: each of `files` in the same order, with its answer or with what was wrong.
    Yields:
        Each file when it is done, and what was wrong with it.
    Raises:
        InvalidConfiguration: `out` holds results already, and `overwrite` is False; nothing has been written then.
    """
    names = output_names(files)
    results = [TABLE, *(f"{name}.{kind}.png" for name in names for kind in ("overlay", "disc", "cup"))]
    existing = [name for name in results if (out / name).exists()]
    if existing and not overwrite:
        raise InvalidConfiguration(f"{out} already holds {', '.join(existing[:3])}{' ...' * (len(existing) > 3)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in existing:
        (out / name).unlink()
    with (out / TABLE).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, COLUMNS, restval="")
        writer.writeheader()
        for (file, outcome), name in zip(segmented, names, strict=True):
            row, error = {"file": str(file)}, outcome
            if isinstance(outcome, SegmentationAnswer):
                row |= _row(outcome)
                try:
                    _write(file, out / name, outcome, limits)
                    row["output"] = name
                except (CupDiscError, OSError) as wrong:
                    error = wrong
            told = None
            if isinstance(error, CupDiscError):
                told, row["error"] = str(error), error.code
            elif isinstance(error, OSError):
                told, row["error"] = error.strerror or str(error), "cannot_be_read"
            writer.writerow(row)
            table.flush()
            yield file, told


def _read(file: Path, limits: Limits) -> bytes:
    size = file.stat().st_size
    if size > limits.max_bytes:
        raise TooManyBytes(f"{size} bytes; at most {limits.max_bytes} are taken")
    return file.read_bytes()


def _write(file: Path, target: Path, answer: SegmentationAnswer, limits: Limits) -> None:
    photograph = images.decode(_read(file, limits), limits).pixels
    labels = np.zeros(photograph.shape[:2], np.uint8)
    for kind, region in (("disc", answer.disc), ("cup", answer.cup)):
        if region:
            content = _png(region)
            target.with_name(f"{target.name}.{kind}.png").write_bytes(content)
            labels += images.decode_labels(content, limits) > 0
    overlay = rendering.overlay_png(photograph, labels if answer.gradable else labels * 0)
    target.with_name(f"{target.name}.overlay.png").write_bytes(overlay)


def _png(region: Structure) -> bytes:
    assert isinstance(region.mask, PngMask)  # noqa: S101 - as it was asked for
    return base64.b64decode(region.mask.data)


def _row(answer: SegmentationAnswer) -> dict[str, str]:
    """The table's cells; a disc without a cup keeps its own."""
    row: dict[str, Any] = {
        "gradable": str(answer.gradable).lower(),
        "reasons": " ".join(answer.reasons),
        "distance_from_training": answer.quality.distance_from_training,
        "sharpness": answer.quality.sharpness,
        "version": answer.version.version,
        "sha256": answer.version.sha256,
    }
    if ratios := answer.cup_to_disc_ratio:
        row["vertical_ratio"], row["horizontal_ratio"] = ratios.vertical, ratios.horizontal
        row["area_ratio"] = ratios.area
        if interval := ratios.vertical_interval:
            row["vertical_low"], row["vertical_high"] = interval.low, interval.high
    for name, region in (("disc", answer.disc), ("cup", answer.cup)):
        if region:
            row[f"{name}_area"], row[f"{name}_confidence"] = region.area, region.confidence
            row[f"{name}_width"], row[f"{name}_height"] = region.box.width, region.box.height
    if answer.disc:
        row["disc_x"], row["disc_y"] = answer.disc.centre.x, answer.disc.centre.y
    return {name: "" if value is None else str(value) for name, value in row.items()}
