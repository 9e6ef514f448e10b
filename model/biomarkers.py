"""Numbers that a clinician reads, computed from a label mask. Knows no network and no web."""

import functools
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from model.errors import DiscNotFound, InvalidMask
from model.masks import Label, centre_of

Laterality = Literal["right", "left", "unknown"]  # which eye of the person

SMALLEST_BOUNDARY = 8  # pixels of boundary below which an ellipse has no meaning
RAYS = 360  # along which the rim is measured, half a degree off the sectors' borders
DEGREES = (np.arange(RAYS) + 0.5) * (360 / RAYS)
RAY_STEP = 0.5  # pixels; less than the slope of an interpolated edge
LONGEST_SIDE = 30_000  # pixels of a region that is measured as it is
RAY_SAMPLES = 4096  # at most; a disc more than 4000 pixels across is measured in longer steps

# Sectors of Garway-Heath et al. 2000 (Ophthalmology 107, 1809-1815) with the borders that OCT devices draw: degrees
# from the temporal side upwards, against the picture's horizontal, not against the line from disc to fovea.
SECTORS = {
    "temporal": (-45, 45),
    "superotemporal": (45, 85),
    "superonasal": (85, 125),
    "nasal": (125, 235),
    "inferonasal": (235, 275),
    "inferotemporal": (275, 315),
}
# where the eye is not known: degrees from the picture's right upwards
QUADRANTS = {"right": (-45, 45), "superior": (45, 135), "left": (135, 225), "inferior": (225, 315)}


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


@dataclass(frozen=True)
class RimSector:
    """The rim's width along the rays of one sector, in pixels and in disc diameters.

    `name` is of `SECTORS` or `QUADRANTS`; `width` is the mean over the rays, `smallest` the least of them. The disc's
    diameter here is that of the circle of its area.
    """

    name: str
    width: float
    smallest: float
    width_in_disc_diameters: float
    smallest_in_disc_diameters: float


def measure(mask: np.ndarray, left: int = 0, top: int = 0) -> Measurements:
    """Every number of a label mask.

    Args:
        mask: (H, W) uint8 with the values of `Label`, upright photograph, any size; or a part of one that holds all of
            the disc.
        left, top: where the part begins in the photograph.
    Raises:
        InvalidMask: another shape, type or value.
    """
    _check(mask)
    disc = _region(mask >= Label.RIM, left, top)
    cup = _region(mask == Label.CUP, left, top)
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


def rim_widths(mask: np.ndarray, laterality: Laterality = "unknown") -> tuple[RimSector, ...] | None:
    """How wide the rim is all around, by sector.

    On each ray from the disc's centre the rim reaches from the cup's outermost edge to the disc's. A ray that does not
    meet the cup, as it may where the cup lies far off the centre, counts from the centre.

    Args:
        mask: (H, W) uint8 with the values of `Label`, upright photograph.
        laterality: names the sectors: a right eye's temporal side is on the picture's left, a left eye's on its right.
    Returns:
        The six `SECTORS`, or the four `QUADRANTS` of the picture where the eye is unknown; None without disc or cup.
    Raises:
        InvalidMask: not a label mask.
    """
    _check(mask)
    inside = mask >= Label.RIM
    box = _box(inside)
    if box is None:
        return None
    centre, area = _weight(inside, box)
    part = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
    disc, cup = inside[part], mask[part] == Label.CUP
    if not cup.any():
        return None
    x, y = centre.x - box.left, centre.y - box.top
    to_disc, to_cup = _reach([disc, cup], x, y, DEGREES)
    widths = np.maximum(0, to_disc - to_cup)
    diameter = 2 * float(np.sqrt(area / np.pi))
    sectors = []
    for name, rays in _rays_of(laterality).items():
        within = widths[rays]
        mean, smallest = float(within.mean()), float(within.min())
        sectors.append(RimSector(name, mean, smallest, mean / diameter, smallest / diameter))
    return tuple(sectors)


@functools.cache
def _rays_of(laterality: Laterality) -> dict[str, np.ndarray]:
    """Which rays belong to each sector."""
    temporal = 180 - DEGREES if laterality == "right" else DEGREES
    borders = QUADRANTS if laterality == "unknown" else SECTORS
    return {name: np.flatnonzero((temporal - first) % 360 < last - first) for name, (first, last) in borders.items()}


def _reach(regions: list[np.ndarray], x: float, y: float, degrees: np.ndarray) -> list[np.ndarray]:
    """How far it is from (x, y) to each region's outermost edge, per ray, in pixels; 0 where a ray does not meet it.

    The edge is where the mask, interpolated between pixel centres, falls to a half: no staircase.
    """
    height, width = regions[0].shape
    if max(height, width) > LONGEST_SIDE:  # a strip, no disc of any eye: OpenCV takes no longer sides
        times = -(-max(height, width) // LONGEST_SIDE)
        size = (-(-width // times), -(-height // times))
        small = [np.asarray(cv2.resize(region.astype(np.uint8), size), bool) for region in regions]
        return [reach * times for reach in _reach(small, x / times, y / times, degrees)]
    step = max(RAY_STEP, float(np.hypot(height, width)) / RAY_SAMPLES)
    angles = np.deg2rad(degrees).astype(np.float32)[:, None]
    return [_edge_along(region, x, y, np.cos(angles), np.sin(angles), step) for region in regions]


def _edge_along(
    region: np.ndarray, x: float, y: float, cosines: np.ndarray, sines: np.ndarray, step: float
) -> np.ndarray:
    """`_reach` of one region, sampled only between its boundary's nearest and farthest points."""
    lit = np.ascontiguousarray(region).view(np.uint8)
    contours, _ = cv2.findContours(lit, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros(len(cosines))
    boundary = np.concatenate(contours).reshape(-1, 2) + 0.5
    distances = np.hypot(boundary[:, 0] - x, boundary[:, 1] - y)
    # beyond the boundary's outermost pixel, and the one around it, there is nothing
    nearest, farthest = int((float(distances.min()) - 2) / step), int((float(distances.max()) + 2) / step) + 1
    radii = np.float32(step) * np.arange(farthest, max(0, nearest) - 1, -1, dtype=np.float32)  # from outside inwards
    columns, rows = np.float32(x - 0.5) + radii * cosines, np.float32(y - 0.5) - radii * sines
    values = np.asarray(cv2.remap(lit.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderValue=0))
    within = values >= 0.5
    first = np.argmax(within, axis=1)
    rays = np.arange(len(values))
    here, beyond = values[rays, first], values[rays, np.maximum(first - 1, 0)]
    share = (here - 0.5) / np.maximum(here - beyond, 1e-9)
    return np.where(within[rays, first], radii[first] + step * share, 0.0)


def _check(mask: np.ndarray) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.size == 0 or mask.max() > Label.CUP:
        raise InvalidMask(f"a label mask is (H, W) uint8 with values 0 to 2; this is {mask.shape} {mask.dtype}")


def _ratios(disc: Region, cup: Region | None) -> Ratios:
    if cup is None:
        return Ratios(0.0, 0.0, 0.0)
    return Ratios(cup.box.height / disc.box.height, cup.box.width / disc.box.width, cup.area / disc.area)


def _region(inside: np.ndarray, left: int = 0, top: int = 0) -> Region | None:
    box = _box(inside)
    if box is None:
        return None
    centre, area = _weight(inside, box)
    part = inside[box.top : box.top + box.height, box.left : box.left + box.width].view(np.uint8)
    placed = Box(box.left + left, box.top + top, box.width, box.height)
    return Region(placed, Point(centre.x + left, centre.y + top), area, _ellipse(part, placed))


def _box(inside: np.ndarray) -> Box | None:
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    return Box(left, top, width, height) if width else None


def _weight(inside: np.ndarray, box: Box) -> tuple[Point, int]:
    """Centre and area of what is inside, all of it within the box."""
    x, y, area = centre_of(inside[box.top : box.top + box.height, box.left : box.left + box.width])
    return Point(x + box.left, y + box.top), area


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
