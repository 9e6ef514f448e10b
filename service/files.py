"""Photographs in files → overlays, masks and one table in a folder, without a server."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model import images
from model.errors import CupDiscError, InvalidConfiguration, TooManyBytes
from model.images import Limits
from model.masks import Label
from model.segmenter import Segmentation, Segmenter
from service import rendering

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


def segment_files(
    files: Sequence[Path], out: Path, segmenter: Segmenter, limits: Limits, overwrite: bool = False
) -> Iterator[tuple[Path, str | None]]:
    """Write `NAME.overlay.png`, `NAME.disc.png`, `NAME.cup.png` and a row of `results.csv` for each file, one by one.

    A mask that is not known is not written; unknown cells of the table are empty.

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
        for file, name in zip(files, names, strict=True):
            row = {"file": str(file), "version": segmenter.version, "sha256": segmenter.digest}
            error = None
            try:
                row |= _segment(file, out / name, segmenter, limits)
            except CupDiscError as wrong:
                error, row["error"] = str(wrong), wrong.code
            except OSError as wrong:
                error, row["error"] = wrong.strerror or str(wrong), "cannot_be_read"
            writer.writerow(row)
            table.flush()
            yield file, error


def _segment(file: Path, target: Path, segmenter: Segmenter, limits: Limits) -> dict[str, Any]:
    size = file.stat().st_size
    if size > limits.max_bytes:
        raise TooManyBytes(f"{size} bytes; at most {limits.max_bytes} are taken")
    photograph = images.decode(file.read_bytes(), limits).pixels
    (found,) = segmenter.segment([photograph])
    labels = found.label_mask
    _write(target, "overlay", rendering.overlay_png(photograph, labels if found.gradable else labels * 0))
    if found.disc:
        _write(target, "disc", rendering.mask_png(labels >= Label.RIM))
    if found.cup:
        _write(target, "cup", rendering.mask_png(labels == Label.CUP))
    return {"output": target.name, **_row(found)}


def _write(target: Path, kind: str, content: bytes) -> None:
    target.with_name(f"{target.name}.{kind}.png").write_bytes(content)


def _row(found: Segmentation) -> dict[str, Any]:
    row: dict[str, Any] = {
        "gradable": str(found.gradable).lower(),
        "reasons": " ".join(found.reasons),
        "disc_confidence": found.disc_confidence,
        "cup_confidence": found.cup_confidence,
        "distance_from_training": found.distance_from_training,
        "sharpness": found.sharpness,
    }
    if found.ratios:
        row["vertical_ratio"], row["horizontal_ratio"] = found.ratios.vertical, found.ratios.horizontal
        row["area_ratio"] = found.ratios.area
    if found.vertical_interval:
        row["vertical_low"], row["vertical_high"] = found.vertical_interval.low, found.vertical_interval.high
    for name, region in (("disc", found.disc), ("cup", found.cup)):
        if region:
            row[f"{name}_area"] = region.area
            row[f"{name}_width"], row[f"{name}_height"] = region.box.width, region.box.height
    if found.disc:
        row["disc_x"], row["disc_y"] = found.disc.centre.x, found.disc.centre.y
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
