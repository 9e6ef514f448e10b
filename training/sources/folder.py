"""A source in the project's own layout: `index.csv`, `images/<id>.jpg` (or .png), `masks/<id>.png`.

`index.csv` has the columns `id, disc, cup, view`: `disc` and `cup` are 1 where annotated, `view` is `full` or `crop`. A
mask has one byte per pixel and its photograph's size: 0 background, 1 rim, 2 cup.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from model.errors import CupDiscError
from model.images import decode

SUFFIXES = (".jpg", ".png")
COLUMNS = ("id", "disc", "cup", "view")


class InvalidSource(CupDiscError):
    """A source's files are not as its layout says; the message lists every one of them."""

    code = "invalid_source"


@dataclass(frozen=True)
class DiscEllipse:
    """A disc outlined as an upright ellipse: centre and full axes in pixels of the photograph."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Example:
    """One annotated photograph of a source, not yet read."""

    source: str
    id: str
    image: Path
    mask: Path | None  # None where the disc is given as an ellipse
    ellipse: DiscEllipse | None
    cup_annotated: bool
    view: Literal["full", "crop"]

    def read_photograph(self) -> np.ndarray:
        """(H, W, 3) uint8, upright RGB.

        Raises:
            InvalidSource: unreadable; names the file.
        """
        try:
            return decode(self.image.read_bytes()).pixels
        except (OSError, CupDiscError) as error:
            raise InvalidSource(f"{self.image}: {error}") from error

    def read_labels(self, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) uint8 of `Label` for a photograph of `shape`; a disc without annotated cup is 1 throughout.

        Raises:
            InvalidSource: unreadable, of another size, with other values, or without a disc; names the file.
        """
        if self.mask is None:
            return self._drawn_ellipse(shape)
        labels = cv2.imread(str(self.mask), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise InvalidSource(f"{self.mask}: cannot be read")
        if labels.shape != shape or labels.dtype != np.uint8:
            raise InvalidSource(f"{self.mask}: is {labels.shape} {labels.dtype}, its photograph is {shape} uint8")
        if labels.max() > 2 or not labels.any():
            raise InvalidSource(f"{self.mask}: must hold 0, 1 and 2 and a disc; holds {np.unique(labels)[:8].tolist()}")
        return np.minimum(labels, 1) if not self.cup_annotated else labels

    def _drawn_ellipse(self, shape: tuple[int, int]) -> np.ndarray:
        assert self.ellipse is not None  # noqa: S101  an Example has a mask or an ellipse, made so in `read_source`
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        across = (columns + 0.5 - self.ellipse.x) / (self.ellipse.width / 2)
        down = (rows + 0.5 - self.ellipse.y) / (self.ellipse.height / 2)
        return (across**2 + down**2 <= 1).astype(np.uint8)


def read_source(folder: Path, name: str, ellipses: Path | None = None) -> list[Example]:
    """The annotated photographs of a folder, in the order of their ids.

    Args:
        folder: holds `index.csv`.
        name: of the source, in reports.
        ellipses: a CSV `id, x, y, width, height` with discs for photographs that have no mask; others are left out.
    Raises:
        InvalidSource: lists every missing file, double id and odd row at once.
    """
    rows = _rows(folder / "index.csv", COLUMNS)
    drawn = {row["id"]: row for row in _rows(ellipses, ("id", "x", "y", "width", "height"))} if ellipses else {}
    examples, problems, seen = [], [], set()
    for row in rows:
        identity = row["id"]
        if identity in seen:
            problems.append(f"{folder / 'index.csv'}: id {identity} stands twice")
        seen.add(identity)
        if row["view"] not in ("full", "crop") or {row["disc"], row["cup"]} - {"0", "1"}:
            problems.append(f"{folder / 'index.csv'}: id {identity}: view full or crop, disc and cup 0 or 1")
            continue
        if row["disc"] != "1" and identity not in drawn:
            continue
        image = next((path for end in SUFFIXES if (path := folder / "images" / f"{identity}{end}").is_file()), None)
        mask = folder / "masks" / f"{identity}.png" if row["disc"] == "1" else None
        if image is None:
            problems.append(f"{folder / 'images' / identity}: no .jpg or .png")
        if mask is not None and not mask.is_file():
            problems.append(f"{mask}: missing")
        try:
            ellipse = None if mask else DiscEllipse(*(float(drawn[identity][k]) for k in ("x", "y", "width", "height")))
        except ValueError:
            problems.append(f"{ellipses}: id {identity}: x, y, width and height must be numbers")
            continue
        if image is not None:
            view: Literal["full", "crop"] = "full" if row["view"] == "full" else "crop"
            examples.append(Example(name, identity, image, mask, ellipse, row["cup"] == "1", view))
    if problems:
        raise InvalidSource("\n".join(problems))
    if not examples:
        raise InvalidSource(f"{folder}: holds no annotated photograph")
    return sorted(examples, key=lambda example: example.id)


def digest(examples: list[Example]) -> str:
    """sha256 over ids, photographs and masks: the same digest is the same data."""
    total = hashlib.sha256()
    for example in examples:
        total.update(f"{example.source}/{example.id}/{example.ellipse}/{example.cup_annotated}\n".encode())
        for path in (example.image, example.mask):
            if path is not None:
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise InvalidSource(f"{path}: lacks the columns {', '.join(sorted(missing))}")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidSource(f"{path}: {error}") from error
