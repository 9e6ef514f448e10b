"""The table of results: what its columns mean, a row of it, and how it is written as CSV and Parquet."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from model.biomarkers import Ratios, Region
from model.errors import InvalidConfiguration
from model.segmentation import Interval, Segmentation
from service import schemas
from service.schemas import SegmentationAnswer

TABLE, PARQUET = "results.csv", "results.parquet"
Row = dict[str, str]  # by column; what is unknown is missing

# column: type, meaning. Lengths and areas are pixels of the photograph as it is in the file.
COLUMNS: dict[str, tuple[type, str]] = {
    "file": (str, "The photograph, as it was named."),
    "output": (str, "What the names of its pictures begin with. Empty where the file could not be used."),
    "error": (str, "The code of what was wrong with the file. Empty where it was answered."),
    "gradable": (bool, "Whether the ratios may be read."),
    "reasons": (str, "Why not, separated by spaces."),
    "vertical_ratio": (float, "Height of the cup over height of the disc."),
    "vertical_low": (float, "Lower end of the vertical ratio's interval."),
    "vertical_high": (float, "Its upper end."),
    "horizontal_ratio": (float, "Width of the cup over width of the disc."),
    "area_ratio": (float, "Area of the cup over area of the disc."),
    "disc_area": (int, "Pixels in the disc, cup included."),
    "disc_width": (int, "Of the smallest upright rectangle around the disc."),
    "disc_height": (int, "Likewise."),
    "disc_left": (int, "Its left edge, from the photograph's left edge."),
    "disc_top": (int, "Its top edge, from the photograph's top edge."),
    "disc_x": (float, "The disc's centre, from the left edge."),
    "disc_y": (float, "From the top edge."),
    "cup_area": (int, "Pixels in the cup."),
    "cup_width": (int, "As for the disc."),
    "cup_height": (int, "As for the disc."),
    "cup_left": (int, "As for the disc."),
    "cup_top": (int, "As for the disc."),
    "disc_confidence": (float, "How decided the network was about the disc, 0 to 1."),
    "cup_confidence": (float, "And about the cup."),
    "distance_from_training": (float, "1 is a typical training photograph; larger is more foreign."),
    "sharpness": (float, "Around the disc; 1 is typical."),
    "version": (str, "Of the networks."),
    "sha256": (str, "Of that version's manifest."),
    "convention": (str, "Whose annotation was drawn; empty where the version goes by looks."),
}


class Version(Protocol):
    """The version that found it."""

    @property
    def version(self) -> str:
        """Its name."""

    @property
    def digest(self) -> str:
        """SHA-256 of its manifest."""

    @property
    def convention(self) -> str | None:
        """Whose annotation it draws."""


def row_here(found: Segmentation, by: Version) -> Row:
    """What this machine found; the same as `row_there` of a service's answer for the same photograph."""
    return _row(
        (by.version, by.digest, by.convention),
        (found.gradable, found.reasons),
        (found.disc, found.disc_confidence),
        (found.cup, found.cup_confidence),
        (found.ratios, found.vertical_interval),
        (found.distance_from_training, found.sharpness),
    )


def row_there(answer: SegmentationAnswer) -> Row:
    """What a service answered."""
    ratios = answer.cup_to_disc_ratio
    return _row(
        (answer.version.version, answer.version.sha256, answer.version.convention),
        (answer.gradable, answer.reasons),
        (answer.disc, answer.disc.confidence if answer.disc else None),
        (answer.cup, answer.cup.confidence if answer.cup else None),
        (ratios, ratios.vertical_interval if ratios else None),
        (answer.quality.distance_from_training, answer.quality.sharpness),
    )


def _row(
    version: tuple[str, str, str | None],
    verdict: tuple[bool, Iterable[str]],
    disc: tuple[Region | schemas.Region | None, float | None],
    cup: tuple[Region | schemas.Region | None, float | None],
    ratio: tuple[Ratios | schemas.Ratios | None, Interval | schemas.Interval | None],
    quality: tuple[float, float | None],
) -> Row:
    """Rounded as the API rounds: lengths to 2 digits, numbers without a unit to 4."""
    ratios, interval = ratio
    values: dict[str, object] = {
        "gradable": str(verdict[0]).lower(),
        "reasons": " ".join(verdict[1]),
        "vertical_ratio": ratios and round(ratios.vertical, 4),
        "vertical_low": interval and round(interval.low, 4),
        "vertical_high": interval and round(interval.high, 4),
        "horizontal_ratio": ratios and round(ratios.horizontal, 4),
        "area_ratio": ratios and round(ratios.area, 4),
        "disc_x": disc[0] and round(disc[0].centre.x, 2),
        "disc_y": disc[0] and round(disc[0].centre.y, 2),
        "distance_from_training": round(quality[0], 4),
        "sharpness": None if quality[1] is None else round(quality[1], 4),
        "version": version[0],
        "sha256": version[1],
        "convention": version[2],
    }
    for name, (region, confidence) in (("disc", disc), ("cup", cup)):
        if region and confidence is not None:
            values |= {f"{name}_area": region.area, f"{name}_confidence": round(confidence, 4)}
            values |= {f"{name}_width": region.box.width, f"{name}_height": region.box.height}
            values |= {f"{name}_left": region.box.left, f"{name}_top": region.box.top}
    return {name: str(value) for name, value in values.items() if value is not None}


def line(row: Mapping[str, str], columns: Iterable[str] = COLUMNS) -> bytes:
    """One record of CSV. A file name that is not UTF-8 is written with backslashes."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, list(columns), restval="").writerow(row)
    return text.getvalue().encode("utf-8", "backslashreplace")


HEADER = line({name: name for name in COLUMNS}).decode()


def check_parquet() -> None:
    """Whether Parquet can be written here.

    Raises:
        InvalidConfiguration: no, and why.
    """
    if find_spec("pyarrow") is None:
        raise InvalidConfiguration("Parquet needs the package pyarrow: pip install 'cupdisc[parquet]'")


def write_parquet(table: Path, target: Path) -> None:
    """A finished CSV as Parquet, with real types; empty cells become nulls."""
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    types = {str: pyarrow.string(), bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
    options = arrow_csv.ConvertOptions(
        column_types={name: types[kind] for name, (kind, _) in COLUMNS.items()},
        strings_can_be_null=True,
        null_values=[""],
        true_values=["true"],
        false_values=["false"],
    )
    values = arrow_csv.read_csv(
        table, parse_options=arrow_csv.ParseOptions(newlines_in_values=True), convert_options=options
    )
    parquet.write_table(values, target)


def flush_to_disk(file: Path) -> None:
    """Wait until a file has really been written."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
