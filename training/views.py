"""Annotated photographs, cut once to what samples are drawn from: the whole field of view, or the disc's vicinity."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model import retina
from model.biomarkers import measure
from training.sources.example import Example, InvalidSource, Shares, labels_of, read_each

Kind = Literal["whole", "roi"]
WHOLE_SIZE = 448  # pixels; a disc of a 45° photograph keeps about 50
ROI_SIZE = 320  # pixels for ROI_DIAMETERS, so that a region of two discs keeps 178
ROI_DIAMETERS = 3.6  # wider than any region of two discs that augmentation cuts upright
STEP = 1.5  # from one crop's diameters to the next one's; all crops have the same pixels in a disc


@dataclass(frozen=True)
class Cut:
    """Which square of a photograph a view shows, and in how many pixels."""

    diameters: float | None  # side over the disc's diameter, around the disc; None for the whole field of view
    size: int  # pixels of a side

    @property
    def name(self) -> str:
        """As in a file name."""
        return f"whole-{self.size}" if self.diameters is None else f"disc-{self.diameters:g}-{self.size}"


WHOLE = Cut(None, WHOLE_SIZE)


def disc_cut(steps: int) -> Cut:
    """A crop around the disc: 3.6 diameters wide for no step, 2.4 for -1, 5.4 for 1."""
    return Cut(round(ROI_DIAMETERS * STEP**steps, 3), round(ROI_SIZE * STEP**steps))


SEVERAL = (WHOLE, *(disc_cut(steps) for steps in (-1, 0, 1)))
CUTS: dict[Kind, Cut] = {"whole": WHOLE, "roi": disc_cut(0)}


def cut_for(roi_diameters: float, largest_scale: float, shift: float) -> Cut:
    """The smallest crop that holds every region that augmentation cuts upright.

    Args:
        roi_diameters: side of the nominal region over the disc's diameter.
        largest_scale, shift: of `Augmentation`.
    """
    needed = roi_diameters * largest_scale + 2 * shift
    return next(cut for steps in range(-1, 20) if (cut := disc_cut(steps)).diameters and cut.diameters >= needed)


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


def views_of(example: Example, photograph: np.ndarray, shares: Shares, cuts: Iterable[Cut]) -> list[View]:
    """Several views of a photograph that is read already.

    Raises:
        InvalidSource: no disc, or nothing lit.
    """
    field = retina.field_of_view(photograph)
    disc = measure(labels_of(shares)).disc
    if disc is None or not field.found:
        raise InvalidSource(f"{example.image}: no disc, or no lit field of view")
    diameter = 2 * (disc.area / np.pi) ** 0.5
    views = []
    for cut in cuts:
        if cut.diameters is None:
            frame = field.frame()
        else:
            frame = retina.roi(disc.centre.x, disc.centre.y, diameter, cut.diameters)
        ((x, y),) = frame.to_input(np.array([[disc.centre.x, disc.centre.y]]), cut.size)
        views.append(
            View(
                example=example,
                image=frame.cut(photograph, cut.size),
                inside=field.cut(frame, cut.size).astype(np.uint8),
                disc=frame.cut(shares.disc, cut.size),
                cup=frame.cut(shares.cup, cut.size),
                x=float(x),
                y=float(y),
                diameter=diameter * cut.size / frame.side,
            )
        )
    return views


def cut_view(example: Example, kind: Kind) -> View:
    """Read one photograph and cut its view.

    Raises:
        InvalidSource: unreadable photograph or mask, or nothing lit.
    """
    return cut_one(example, CUTS[kind])


def cut_one(example: Example, cut: Cut) -> View:
    """As `cut_view`, of any cut."""
    photograph = example.read_photograph()
    return views_of(example, photograph, example.read_shares(photograph.shape[:2]), [cut])[0]


def cut_views(examples: Iterable[Example], kind: Kind) -> list[View]:
    """`cut_view` of each, two at a time, in the order given; every unreadable file is named at once."""
    return read_each(list(examples), lambda example: cut_view(example, kind))
