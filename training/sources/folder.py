"""A source in the project's own layout: `index.csv`, `images/<id>.jpg` (or .png), `masks/<id>.png`.

`index.csv` has the columns `id, disc, cup, view`: `disc` and `cup` are 1 where annotated, `view` is `full` or `crop`. A
mask has one byte per pixel and its photograph's size: 0 background, 1 rim, 2 cup. A column `glaucoma` may hold the
diagnosis: 1, 0 or empty; a column `person` whose eye it is, in any words.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from training.sources.example import Annotation, Example, InvalidSource, Shares
from training.sources.outlines import LabelMask

SUFFIXES = (".jpg", ".png")
COLUMNS = ("id", "disc", "cup", "view")


@dataclass(frozen=True)
class DiscEllipse:
    """A disc outlined as an upright ellipse: centre and full axes in pixels of the photograph."""

    x: float
    y: float
    width: float
    height: float

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    @property
    def variant(self) -> str | None:
        return repr(self)

    def read(self, shape: tuple[int, int]) -> Shares:
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        across = (columns + 0.5 - self.x) / (self.width / 2)
        down = (rows + 0.5 - self.y) / (self.height / 2)
        disc = np.where(across**2 + down**2 <= 1, 255, 0).astype(np.uint8)
        return Shares(disc, np.zeros_like(disc))


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
        if row.get("glaucoma") not in ("0", "1", "", None):
            problems.append(f"{folder / 'index.csv'}: id {identity}: glaucoma 1, 0 or empty")
        if row["disc"] != "1" and identity not in drawn:
            continue
        image = next((path for end in SUFFIXES if (path := folder / "images" / f"{identity}{end}").is_file()), None)
        annotation: Annotation
        if image is None:
            problems.append(f"{folder / 'images' / identity}: no .jpg or .png")
        if row["disc"] == "1":
            annotation = LabelMask(folder / "masks" / f"{identity}.png")
        else:
            try:
                annotation = DiscEllipse(*(float(drawn[identity][k]) for k in ("x", "y", "width", "height")))
            except ValueError:
                problems.append(f"{ellipses}: id {identity}: x, y, width and height must be numbers")
                continue
        problems += [f"{path}: missing" for path in annotation.files if not path.is_file()]
        if image is not None:
            view: Literal["full", "crop"] = "full" if row["view"] == "full" else "crop"
            glaucoma = {"1": True, "0": False}.get(row.get("glaucoma") or "")
            person, cup = row.get("person") or "", row["cup"] == "1"
            examples.append(Example(name, identity, image, annotation, cup, view, glaucoma=glaucoma, person=person))
    if problems:
        raise InvalidSource("\n".join(problems))
    if not examples:
        raise InvalidSource(f"{folder}: holds no annotated photograph")
    return sorted(examples, key=lambda example: example.id)


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
