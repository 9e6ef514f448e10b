"""Where the retina lies in a photograph, and the exact way between a square of it and a network's input.

Coordinates are continuous pixels: pixel (row r, column c) covers [c, c + 1) × [r, r + 1), so that its centre is
(c + 0.5, r + 0.5) and a photograph spans [0, W] × [0, H].
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from model import resampling

SEARCH_SIDE = 256  # pixels; the field of view is found on a photograph reduced to this
BLACK = 12  # a pixel whose brightest channel is below this may be surround; sensor and JPEG noise stay under it
DIM = range(8, 60)  # grey levels of the brightest pixel of a photograph whose surround is darker too; below is no light
WHITE = 243  # a pixel whose darkest channel is above this may be surround
BAND = 256  # rows interpolated at once
MARGIN = 2  # pixels around a part that cubic interpolation looks at
FINE = 8  # pixels of a square for each of the network's; up to here none is rounded on the way
LARGEST_PADDING = 1.5  # times the photograph's part in a square that is cut in one go
LARGEST_WASTE = 4  # a square of which less than one part in so many shows the photograph is not made as a whole
SMALLEST_SHARE = 0.02  # of the photograph; less lit than this is no field of view


@dataclass(frozen=True)
class Frame:
    """A square of a photograph; it may reach beyond the photograph's edges.

    Whole pixels, so that cutting is exact: no resampling but one, to the network's size.
    """

    left: int
    top: int
    side: int  # pixels, at least 1

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """The square, resampled once; averaged over areas where that means fewer pixels, interpolated where more.

        Args:
            image: (H, W) or (H, W, C) uint8 or float32.
            size: pixels of a side of the answer.
        Returns:
            (size, size) or (size, size, C), type of `image`; 0 beyond the photograph's edges.
        """
        rows, columns = self.overlap(image.shape[:2])
        inside = image[rows, columns]
        if inside.size == 0:
            return np.zeros((size, size, *image.shape[2:]), image.dtype)
        top, left = rows.start - self.top, columns.start - self.left
        below, right = self.side - top - inside.shape[0], self.side - left - inside.shape[1]
        if self.side**2 <= LARGEST_PADDING * inside.shape[0] * inside.shape[1]:
            if top or left or below or right:
                inside = cv2.copyMakeBorder(inside, top, below, left, right, cv2.BORDER_CONSTANT)
            return cv2.resize(inside, (size, size), interpolation=_interpolation(self.side, size))
        # one axis after the other, the longer first: a whole square around a strip of pixels could fill the memory
        if inside.shape[0] >= inside.shape[1]:
            return _fit(_fit(inside, 0, top, self.side, size), 1, left, self.side, size)
        return _fit(_fit(inside, 1, left, self.side, size), 0, top, self.side, size)

    def cut_finely(
        self, image: np.ndarray, size: int, times: int = 1, shape: tuple[int, int] | None = None
    ) -> np.ndarray:
        """`cut`, not rounded to whole grey levels, also where only a reduced photograph is at hand.

        Rounding is most of what a reduced photograph's cut differs by from the whole one's, and shifts a cup's edge.
        What lies in the square of a reduced one is put back on the photograph's own pixels first, by cubic
        interpolation: averaging the few large pixels would blur.

        Args:
            image: (h, w, C) uint8, the photograph, or a reduced one each pixel of which stands for `times` × `times`,
                from the photograph's top left corner on.
            shape: (H, W) of the photograph where it is reduced.
        Returns:
            (size, size, C) float32, grey levels.
        """
        shape = shape or (image.shape[0], image.shape[1])
        rows, columns = self.overlap(shape)
        if rows.start == rows.stop or columns.start == columns.stop:
            return np.zeros((size, size, *image.shape[2:]), np.float32)
        if times > 1 and self.side >= size:
            return resampling.averaged(image, times, shape, (self.top, self.left), self.side, size)
        margin = MARGIN if times > 1 else 0
        top, left = max(0, rows.start // times - margin), max(0, columns.start // times - margin)
        part = image[top : -(-rows.stop // times) + margin, left : -(-columns.stop // times) + margin]
        if times > 1:  # enlarged beyond the photograph's own pixels
            height, width = part.shape[:2]
            part = cv2.resize(part.astype(np.float32), (width * times, height * times), interpolation=cv2.INTER_CUBIC)
        own = part[: shape[0] - top * times, : shape[1] - left * times]
        frame = Frame(self.left - left * times, self.top - top * times, self.side)
        if self.side <= FINE * size:  # of more pixels the average is as good, and floats take much memory
            return frame.cut(own.astype(np.float32, copy=False), size)
        fine = frame.cut(own, FINE * size).astype(np.float32)
        return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)

    def paste(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The inverse of `cut`: values on the network's grid, resampled to the photograph's.

        Args:
            values: (S, S) or (S, S, C) float32 that cover this square.
            shape: (H, W) of the photograph.
        Returns:
            (H, W) or (H, W, C) float32; 0 outside the square.
        """
        out = np.zeros((*shape, *values.shape[2:]), np.float32)
        out[self.overlap(shape)] = self.resample(values, shape)
        return out

    def resample(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """`paste` without the rest of the photograph: rows and columns of `overlap`, (h, w) or (h, w, C) float32."""
        rows, columns = self.overlap(shape)
        if self.side**2 <= LARGEST_WASTE * (rows.stop - rows.start) * (columns.stop - columns.start):
            whole = cv2.resize(values.astype(np.float32, copy=False), (self.side, self.side))
            return whole[
                rows.start - self.top : rows.stop - self.top, columns.start - self.left : columns.stop - self.left
            ]
        wide = _interpolate(values.astype(np.float32, copy=False), 1, columns, self.left, self.side)
        return _interpolate(wide, 0, rows, self.top, self.side)

    def overlap(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of a photograph of `shape` (H, W) that this square covers; may be empty."""
        height, width = shape
        rows = slice(min(max(self.top, 0), height), min(max(self.top + self.side, 0), height))
        columns = slice(min(max(self.left, 0), width), min(max(self.left + self.side, 0), width))
        return rows, columns

    def enlarged(self, times: int) -> "Frame":
        """The same square of a photograph that is `times` as large."""
        return Frame(self.left * times, self.top * times, self.side * times)

    def to_input(self, points: np.ndarray, size: int) -> np.ndarray:
        """(N, 2) points x, y of the photograph as points of a network input of `size` pixels."""
        return (np.asarray(points, np.float64) - (self.left, self.top)) * (size / self.side)

    def to_photograph(self, points: np.ndarray, size: int) -> np.ndarray:
        """(N, 2) points x, y of a network input of `size` pixels as points of the photograph."""
        return np.asarray(points, np.float64) * (self.side / size) + (self.left, self.top)


@dataclass(frozen=True)
class FieldOfView:
    """The lit part of a photograph: `inside` is (h, w) uint8, 0 or 1; `scale` is (w / W, h / H), both at most 1."""

    inside: np.ndarray
    scale: tuple[float, float]

    @property
    def found(self) -> bool:
        """Whether anything is lit."""
        return bool(self.inside.any())

    def frame(self) -> Frame:
        """The smallest square around the field of view, both centred alike. Call it only when `found`."""
        left, top, width, height = cv2.boundingRect(self.inside)
        across, down = self.scale
        x, y = (left + width / 2) / across, (top + height / 2) / down
        return square_around(x, y, max(width / across, height / down))

    def enlarged(self, times: int) -> "FieldOfView":
        """The same field of view of a photograph that is `times` as large."""
        return FieldOfView(self.inside, (self.scale[0] / times, self.scale[1] / times))

    def cut(self, frame: Frame, size: int) -> np.ndarray:
        """(size, size) bool: which pixels of `frame.cut(photograph, size)` show retina."""
        across, down = (frame.side / size * scale for scale in self.scale)  # reduced pixels per pixel of the answer
        left, top = frame.left * self.scale[0], frame.top * self.scale[1]
        matrix = np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(self.inside, matrix, (size, size), flags=flags, borderValue=0).astype(bool)


def halved(photograph: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """The photograph in which every pixel is the mean of 2 × 2, as often as its longer side keeps `side` pixels.

    Halving is many times cheaper than any other averaging, and what looks for the disc needs few pixels.

    Args:
        photograph: (H, W, 3) uint8.
    Returns:
        (H // n, W // n, 3) uint8, and n: 1, 2, 4 and so on. Up to n - 1 rows and columns at the far edges are left out.
    """
    times = 1
    while max(photograph.shape[:2]) >= 2 * side and min(photograph.shape[:2]) >= 2:
        height, width = (length // 2 for length in photograph.shape[:2])
        whole = photograph[: 2 * height, : 2 * width]
        photograph, times = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), 2 * times
    return photograph, times


def field_of_view(photograph: np.ndarray) -> FieldOfView:
    """The lit part of a photograph: black or white surround or none, round or cut off, anywhere in the picture.

    Surround is what is nearly black or nearly white and connected to the picture's edge. The field of view is the
    convex hull of the largest rest: a circle cut by straight edges is convex, and its dark corners may look like
    surround.

    Args:
        photograph: (H, W, 3) uint8.
    """
    height, width = photograph.shape[:2]
    scale = min(1.0, SEARCH_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # what is left to reduce is less than a half: to that linear interpolation is as good as averaging, and quicker
    small = cv2.resize(halved(photograph, SEARCH_SIDE)[0], size, interpolation=cv2.INTER_LINEAR)
    red, green, blue = cv2.split(small)
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    lightest = int(brightest.max())
    black = BLACK * lightest / DIM.stop if lightest in DIM else BLACK
    surround = _touching_the_edge((brightest < black) | (darkest > WHITE))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    # border 0: what lies beyond the picture must not eat a field of view that fills it
    lit = cv2.copyMakeBorder(1 - surround, 3, 3, 3, 3, cv2.BORDER_REPLICATE)
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, kernel)[3:-3, 3:-3]
    inside = np.zeros_like(lit)
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=_pixels_within, default=None)
    if largest is not None and _pixels_within(largest) >= SMALLEST_SHARE * lit.size:
        cv2.fillConvexPoly(inside, cv2.convexHull(largest), 1)
    return FieldOfView(inside, (size[0] / width, size[1] / height))


def square_around(x: float, y: float, side: float) -> Frame:
    """The frame of whole pixels nearest to a square with centre (x, y)."""
    whole = max(1, math.ceil(side))
    return Frame(round(x - whole / 2), round(y - whole / 2), whole)


def roi(x: float, y: float, diameter: float, diameters: float) -> Frame:
    """The region of interest: `diameters` disc diameters wide around the disc's centre (x, y), photograph pixels."""
    return square_around(x, y, diameter * diameters)


def _touching_the_edge(candidates: np.ndarray) -> np.ndarray:
    """(h, w) uint8: 1 where a candidate pixel is connected to the picture's edge through candidates."""
    around = cv2.copyMakeBorder(candidates.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(around, None, (0, 0), 2)
    return np.equal(around[1:-1, 1:-1], 2).astype(np.uint8)


def _pixels_within(contour: np.ndarray) -> float:
    """How many pixels a contour encloses, its own among them (Pick's theorem)."""
    return float(cv2.contourArea(contour)) + len(contour) / 2 + 1


def _fit(part: np.ndarray, axis: int, start: int, side: int, size: int) -> np.ndarray:
    """`part` at `start` on an axis that is `side` long and black elsewhere, resampled to `size` along that axis."""
    length = part.shape[axis]
    if length < side:
        padding = [(0, 0)] * part.ndim
        padding[axis] = (start, side - start - length)
        part = np.pad(part, padding)
    target = (part.shape[1], size) if axis == 0 else (size, part.shape[0])
    return cv2.resize(part, target, interpolation=_interpolation(side, size))


def _interpolation(side: int, size: int) -> int:
    return cv2.INTER_AREA if side > size else cv2.INTER_LINEAR


def _interpolate(values: np.ndarray, axis: int, wanted: slice, start: int, side: int) -> np.ndarray:
    """Linear interpolation along one axis, from a grid over [start, start + side) to the pixels in `wanted` alone."""
    size = values.shape[axis]
    places = np.clip((np.arange(wanted.start, wanted.stop) + 0.5 - start) * (size / side) - 0.5, 0, size - 1)
    lower = places.astype(np.intp)
    upper = np.minimum(lower + 1, size - 1)
    share = (places - lower).astype(np.float32)
    columns = np.moveaxis(values, axis, 0)
    out = np.empty((places.size, *columns.shape[1:]), np.float32)
    for first in range(0, places.size, BAND):  # in bands: whole temporaries would double a large photograph's memory
        band = slice(first, first + BAND)
        weight = share[band].reshape(-1, *(1,) * (columns.ndim - 1))
        out[band] = columns[lower[band]] * (1 - weight) + columns[upper[band]] * weight
    return np.moveaxis(out, 0, axis)
