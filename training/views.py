"""Annotated photographs, cut once to what samples are drawn from: the whole field of view, or the disc's vicinity."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model import retina
from model.biomarkers import measure
from training.sources.example import Example, InvalidSource, labels_of, read_each

Kind = Literal["whole", "roi"]
WHOLE_SIZE = 448  # pixels; a disc of a 45° photograph keeps about 50
ROI_SIZE = 320  # pixels for ROI_DIAMETERS, so that a region of two discs keeps 178
ROI_DIAMETERS = 3.6  # wider than any region that augmentation cuts upright


@dataclass(frozen=True)
class View:
    """A square of one photograph with its annotation.

    `image` (V, V, 3) uint8; `inside` (V, V) uint8, 1 where retina is seen; `disc` and `cup` (V, V) uint8, 0 to 255, the
    share of each pixel, or of the experts who marked it. `x`, `y` and `diameter` of the disc are in pixels of the view;
    the diameter is that of a circle of the disc's area.
    """

    example: Example
    image: np.ndarray
    inside: np.ndarray
    disc: np.ndarray
    cup: np.ndarray
    x: float
    y: float
    diameter: float


def cut_view(example: Example, kind: Kind) -> View:
    """Read one photograph and cut its view.

    Raises:
        InvalidSource: unreadable photograph or mask, or nothing lit.
    """
    photograph = example.read_photograph()
    shares = example.read_shares(photograph.shape[:2])
    field = retina.field_of_view(photograph)
    disc = measure(labels_of(shares)).disc
    if disc is None or not field.found:
        raise InvalidSource(f"{example.image}: no disc, or no lit field of view")
    diameter = 2 * (disc.area / np.pi) ** 0.5
    if kind == "whole":
        frame, size = field.frame(), WHOLE_SIZE
    else:
        frame, size = retina.roi(disc.centre.x, disc.centre.y, diameter, ROI_DIAMETERS), ROI_SIZE
    ((x, y),) = frame.to_input(np.array([[disc.centre.x, disc.centre.y]]), size)
    return View(
        example=example,
        image=frame.cut(photograph, size),
        inside=field.cut(frame, size).astype(np.uint8),
        disc=frame.cut(shares.disc, size),
        cup=frame.cut(shares.cup, size),
        x=float(x),
        y=float(y),
        diameter=diameter * size / frame.side,
    )


def cut_views(examples: Iterable[Example], kind: Kind) -> list[View]:
    """`cut_view` of each, two at a time, in the order given; every unreadable file is named at once."""
    return read_each(list(examples), lambda example: cut_view(example, kind))
