"""Outlines → mask, the inverse of `rendering.mask_rings`. A pure function of numbers."""

from collections.abc import Sequence

import numpy as np

from model.errors import InvalidMask

MAX_POINTS = 50_000  # of all rings together; the outline of a disc of 2000 pixels has about 5000
MAX_CLIMB = 1_000_000  # rows that all rings together may climb and fall
TOUCHING = 1e-6  # pixels; edges so near to each other touch, they do not cross


def fill(rings: Sequence[Sequence[tuple[float, float]]], width: int, height: int) -> np.ndarray:
    """The mask inside closed outlines.

    Args:
        rings: points [column, row], whole numbers at the centres of pixels; the last joins the first. A ring inside
            another is a hole: what lies inside an even number of rings is outside.
        width, height: of the mask, pixels.
    Returns:
        (height, width) bool: the pixels whose centres lie inside or exactly on an outline.
    Raises:
        InvalidMask: too many points, a point outside the picture, or a ring that crosses itself.
    """
    mask = np.zeros((height, width), bool)
    if not rings:
        return mask
    starts, ends, ring = _edges(rings, width, height)
    level = starts[:, 1] == ends[:, 1]
    for (x0, y), (x1, _) in zip(starts[level], ends[level], strict=True):
        if y == int(y):
            mask[int(y), max(0, int(np.ceil(min(x0, x1)))) : int(max(x0, x1)) + 1] = True
    edge, row = _rows(starts[:, 1], ends[:, 1], ~level)
    (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
    x = x0 + (row - y0) * (x1 - x0) / (y1 - y0)  # in this order exact where it is a whole number
    on_edge = (x == np.floor(x)) & (x >= 0) & (x < width)
    mask[row[on_edge], x[on_edge].astype(np.intp)] = True
    counted = row < np.maximum(y0, y1)  # a point where two edges meet counts once
    edge, row, x = edge[counted], row[counted], x[counted]
    _refuse_crossings(ring[edge], row, x, np.where(y1 > y0, 1, -1)[counted])
    if not row.size:
        return mask
    # each edge turns inside into outside for all pixels to its right, and the last in a row back again
    column = np.maximum(0, np.ceil(x)).astype(np.intp)
    top, left = row.min(), column.min()
    turns = np.zeros((row.max() + 1 - top, column.max() + 1 - left), np.uint8)
    np.add.at(turns, (row - top, column - left), 1)  # it may wrap: odd stays odd
    turns &= 1
    np.bitwise_xor.accumulate(turns, axis=1, out=turns)
    box = mask[top : row.max() + 1, left : column.max() + 1]
    box |= turns[:, : box.shape[1]].view(bool)
    return mask


def _edges(
    rings: Sequence[Sequence[tuple[float, float]]], width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends of every edge, (N, 2) each, and the number of its ring, (N,)."""
    points = sum(len(ring) for ring in rings)
    if points > MAX_POINTS:
        raise InvalidMask(f"{points} points; outlines may have {MAX_POINTS} together")
    starts = np.array([point for ring in rings for point in ring], np.float64).reshape(-1, 2)
    inside = (starts >= -0.5) & (starts <= np.array([width - 0.5, height - 0.5]))
    if not inside.all():  # not so for NaN either
        x, y = starts[~inside.all(axis=1)][0]
        raise InvalidMask(f"the point [{x:g}, {y:g}] lies outside the {width} x {height} pixels of the picture")
    ends = np.concatenate([np.roll(one, -1, axis=0) for one in np.split(starts, np.cumsum([len(r) for r in rings]))])
    return starts, ends, np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])


def _rows(y0: np.ndarray, y1: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every row of pixel centres that an edge meets: the edge's number, and the row."""
    first = np.ceil(np.minimum(y0, y1)).astype(np.intp)
    count = np.where(wanted, np.floor(np.maximum(y0, y1)).astype(np.intp) - first + 1, 0)
    total = int(count.sum())
    if total > MAX_CLIMB:
        raise InvalidMask(f"the outlines climb and fall {total} rows; {MAX_CLIMB} are taken")
    edge = np.repeat(np.arange(count.size), count)
    within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    return edge, first[edge] + within


def _refuse_crossings(ring: np.ndarray, row: np.ndarray, x: np.ndarray, direction: np.ndarray) -> None:
    """An outline that does not cross itself runs around each place once at most, and always the same way.

    So from edge to edge along a row its winding number is 0 or 1, or 0 or -1. A loop that holds no row's pixel centres
    goes unseen; it changes no pixel.
    """
    if not ring.size:
        return
    order = np.lexsort((x, row, ring))
    ring, row, x = ring[order], row[order], x[order]
    winding = np.cumsum(direction[order])[:-1]  # 0 again at the end of each row
    span = (np.diff(row) == 0) & (np.diff(ring) == 0) & (np.diff(x) > TOUCHING)
    for sign in (1, -1):
        highest = np.zeros(ring[-1] + 1, np.intp)
        np.maximum.at(highest, ring[:-1][span], sign * winding[span])
        if sign == 1:
            most = highest
    if (most + highest > 1).any():
        raise InvalidMask("an outline crosses itself")
