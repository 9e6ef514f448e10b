"""Numbers that a clinician reads, computed from a label mask. Knows no network and no web."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.errors import DiscNotFound, InvalidMask
from model.masks import Label

SMALLEST_BOUNDARY = 8  # pixels of boundary below which an ellipse has no meaning


@dataclass(frozen=True)
class Box:
    """The smallest upright rectangle around a region, in whole pixels; `left` and `top` are inside it."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Point:
    """A place in the photograph: the centre of the top left pixel is (0.5, 0.5)."""

    x: float
    y: float


@dataclass(frozen=True)
class Ellipse:
    """Full axes in pixels; `angle_deg` in [-90, 90) turns the axis called `width` clockwise from horizontal."""

    x: float
    y: float
    width: float
    height: float
    angle_deg: float


@dataclass(frozen=True)
class Region:
    """Disc or cup. `area` in pixels; `ellipse` is None where the boundary is too short to fit one."""

    box: Box
    centre: Point
    area: int
    ellipse: Ellipse | None


@dataclass(frozen=True)
class Ratios:
    """vCDR, hCDR and aCDR: no unit, in [0, 1]; 0 where the mask has no cup."""

    vertical: float
    horizontal: float
    area: float


@dataclass(frozen=True)
class Measurements:
    """All numbers of one label mask; without a disc, or without a cup, what would need it is None."""

    disc: Region | None
    cup: Region | None
    ratios: Ratios | None


def measure(mask: np.ndarray) -> Measurements:
    """Every number of a label mask.

    Args:
        mask: (H, W) uint8 with the values of `Label`, upright photograph, any size.
    Raises:
        InvalidMask: another shape, type or value.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.size == 0 or mask.max() > Label.CUP:
        raise InvalidMask(f"a label mask is (H, W) uint8 with values 0 to 2; this is {mask.shape} {mask.dtype}")
    disc = _region(mask >= Label.RIM)
    cup = _region(mask == Label.CUP)
    return Measurements(disc, cup, None if disc is None else _ratios(disc, cup))


def vertical_cup_to_disc_ratio(mask: np.ndarray) -> float:
    """Cup height over disc height of one eye.

    Args:
        mask: (H, W) uint8 with the values of `Label`, upright photograph.
    Returns:
        No unit, in [0, 1]; 0.0 for a mask without cup pixels.
    Raises:
        DiscNotFound: no pixel is rim or cup.
        InvalidMask: not a label mask.
    Source: Orlando et al. 2020 (REFUGE), arXiv:1910.03667.
    """
    ratios = measure(mask).ratios
    if ratios is None:
        raise DiscNotFound("the mask has no disc, and so no ratio")
    return ratios.vertical


def _ratios(disc: Region, cup: Region | None) -> Ratios:
    if cup is None:
        return Ratios(0.0, 0.0, 0.0)
    return Ratios(cup.box.height / disc.box.height, cup.box.width / disc.box.width, cup.area / disc.area)


def _region(inside: np.ndarray) -> Region | None:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return None
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1))
    part = inside[box.top : box.top + box.height, box.left : box.left + box.width].astype(np.uint8)
    moments = cv2.moments(part, binaryImage=True)
    area = int(np.count_nonzero(part))
    x, y = moments["m10"] / moments["m00"] + 0.5 + box.left, moments["m01"] / moments["m00"] + 0.5 + box.top
    return Region(box, Point(x, y), area, _ellipse(part, box))


def _ellipse(part: np.ndarray, box: Box) -> Ellipse | None:
    """Least-squares ellipse through the outermost pixels (Fitzgibbon et al. 1999, as in OpenCV)."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    boundary = max(contours, key=len)
    if len(boundary) < SMALLEST_BOUNDARY or min(part.shape) < 3:
        return None
    (x, y), (first, second), angle = cv2.fitEllipseDirect(boundary)
    if not np.isfinite([x, y, first, second, angle]).all() or min(first, second) <= 0:
        return None
    if angle >= 45:  # name the axes by the direction that they are nearer to: `height` is the upright one
        first, second, angle = second, first, angle - 90
    if angle >= 45:
        first, second, angle = second, first, angle - 90
    # the boundary runs through pixel centres, half a pixel inside the region's edge
    return Ellipse(x + 0.5 + box.left, y + 0.5 + box.top, first + 1.0, second + 1.0, float(angle))
