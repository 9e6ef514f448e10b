"""An outline as a client sends it, a PNG of labels or polygons → a label mask."""

from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from model import images
from model.errors import InvalidMask, TooManyPixels
from model.images import Limits
from service import polygons
from service.schemas import Outlines

MAX_BORDER = 500_000  # sides of pixels; a disc as large as the largest photograph, and its cup, have 50,000
ROWS = 256  # that are looked at in one go


@dataclass(frozen=True)
class Labelled:
    """(H, W) of `Label`; and the share of the cup as sent that lay outside the disc and was dropped."""

    labels: np.ndarray
    cup_outside: float


def from_png(data: bytes, limits: Limits) -> Labelled:
    """A grey or palette PNG with the values of `Label`; `biomarkers.measure` refuses what is none.

    Raises:
        PhotographError, InvalidMask: as `images.decode_labels`.
    """
    return Labelled(images.decode_labels(data, limits), 0.0)


def from_json(data: bytes, limits: Limits) -> Labelled:
    """`Outlines`, drawn.

    Raises:
        InvalidMask: not `Outlines`, or nothing that can be drawn.
        TooManyPixels: the picture would be larger than a photograph may be.
    """
    try:
        outlines = Outlines.model_validate_json(data)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        raise InvalidMask("; ".join(text.removeprefix(": ") for text in wrong)) from None
    width, height = outlines.width, outlines.height
    if width * height > limits.max_pixels:
        raise TooManyPixels(f"{width} x {height} pixels, more than the limit of {limits.max_pixels:,}")
    disc, cup = (polygons.fill(rings, width, height) for rings in (outlines.disc, outlines.cup))
    drawn = np.count_nonzero(cup)
    cup &= disc
    outside = 1 - np.count_nonzero(cup) / drawn if drawn else 0.0
    labels = disc.view(np.uint8)  # in place: each whole copy of the largest picture takes 40 MB
    labels += cup.view(np.uint8)
    return Labelled(labels, outside)


def check_border(labels: np.ndarray) -> None:
    """Raises InvalidMask where disc and cup have more border than any that a person outlines.

    To measure takes time and memory by the border's length, and a chequerboard of a few kilobytes would take gigabytes.
    """
    border = 0
    for top in range(0, len(labels), ROWS):
        rows = labels[top : top + ROWS + 1]
        border += int(np.count_nonzero(rows[:ROWS, 1:] != rows[:ROWS, :-1]))
        border += int(np.count_nonzero(rows[1:] != rows[:-1]))
    if border > MAX_BORDER:
        raise InvalidMask(f"disc and cup have a border of {border} pixels' sides; {MAX_BORDER} are taken")
