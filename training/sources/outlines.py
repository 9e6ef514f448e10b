"""Discs and cups as data sets store them: values of one mask, two masks, two contours."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from training.sources.example import InvalidSource, Shares

BETWEEN_NUMBERS = re.compile(r"[\s,;]+")


@dataclass(frozen=True)
class LabelMask:
    """One mask that holds background, rim and cup as three values."""

    path: Path
    background: int = 0
    rim: int = 1
    cup: int = 2

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        values = read_mask(self.path, shape)
        return split_values(self.path, values, self.background, self.rim, self.cup)


@dataclass(frozen=True)
class MaskPair:
    """A mask of the disc and one of the cup: 0 outside, anything else inside."""

    disc: Path
    cup: Path | None
    left_half: bool = False  # a mask as wide as a stereo pair is cut to its left half

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.disc,) if self.cup is None else (self.disc, self.cup)

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        disc, *cup = (self._share(path, shape) for path in self.files)
        return Shares(disc, cup[0] if cup else np.zeros_like(disc))

    def _share(self, path: Path, shape: tuple[int, int]) -> np.ndarray:
        mask = read_mask(path)
        if self.left_half and mask.shape[1] > shape[1]:
            mask = mask[:, : mask.shape[1] // 2]
        return np.where(_of_shape(path, mask, shape) > 0, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class ContourPair:
    """Closed contours of disc and cup: text files with a point in each line, `x y` or `x , y`, in pixels."""

    disc: Path
    cup: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.disc,) if self.cup is None else (self.disc, self.cup)

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        disc, *cup = (_filled(read_contour(path, shape), shape) for path in self.files)
        return Shares(disc, cup[0] if cup else np.zeros_like(disc))


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W) uint8 as stored: a palette's indices, not its colours.

    Raises:
        InvalidSource: unreadable, coloured, of more than 8 bits, or not of `shape`; names the file.
    """
    try:
        with Image.open(path) as image:
            image.load()
            mask = np.asarray(image)
    except Exception as error:  # Pillow has no closed set: a damaged file may raise nearly every built-in exception
        raise InvalidSource(f"{path}: cannot be read: {error}") from error
    if mask.ndim == 3 and (mask[..., :3] == mask[..., :1]).all():
        mask = mask[..., 0]
    if mask.ndim != 2 or mask.dtype not in (np.uint8, np.bool_):
        raise InvalidSource(f"{path}: a mask has one byte per pixel; this is {mask.shape} {mask.dtype}")
    mask = mask.astype(np.uint8)
    return mask if shape is None else _of_shape(path, mask, shape)


def split_values(path: Path, values: np.ndarray, background: int, rim: int, cup: int) -> Shares:
    """Disc and cup of a mask with three values.

    Raises:
        InvalidSource: there are others; names the file.
    """
    inside, outside = (values == rim) | (values == cup), values == background
    if not (inside | outside).all():
        found = np.unique(values)[:8].tolist()
        raise InvalidSource(f"{path}: must hold {background}, {rim} and {cup}; holds {found}")
    return Shares(np.where(inside, 255, 0).astype(np.uint8), np.where(values == cup, 255, 0).astype(np.uint8))


def read_contour(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(N, 2) float64, x and y of each point; the top left pixel's centre is (0, 0).

    Raises:
        InvalidSource: unreadable, fewer than three points, or points outside a photograph of `shape`.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [BETWEEN_NUMBERS.split(line.strip()) for line in lines if line.strip()]
        points = np.array([[float(x), float(y)] for x, y in rows]).reshape(-1, 2)
    except (OSError, ValueError) as error:
        raise InvalidSource(f"{path}: no contour of lines `x y`: {error}") from error
    if len(points) < 3:
        raise InvalidSource(f"{path}: {len(points)} points are no contour")
    if not np.isfinite(points).all() or (points < -1).any() or (points > np.array(shape)[::-1]).any():
        raise InvalidSource(f"{path}: has points outside its photograph of {shape[1]} x {shape[0]} pixels")
    return points


def _filled(contour: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: 255 where a pixel's centre is inside, by the even-odd rule.

    Not OpenCV's filling, which draws the boundary as well and so adds half a pixel all round.
    """
    mask = np.zeros(shape, np.uint8)
    start, end = contour, np.roll(contour, -1, axis=0)
    top, bottom = int(np.ceil(contour[:, 1].min())), int(np.floor(contour[:, 1].max()))
    for row in range(max(top, 0), min(bottom, shape[0] - 1) + 1):
        crossing = (start[:, 1] <= row) != (end[:, 1] <= row)
        a, b = start[crossing], end[crossing]
        columns = np.sort(a[:, 0] + (row - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        for left, right in zip(columns[::2], columns[1::2], strict=True):
            mask[row, max(int(np.ceil(left)), 0) : max(int(np.ceil(right)), 0)] = 255
    return mask


def _of_shape(path: Path, mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if mask.shape != shape:
        size, expected = f"{mask.shape[1]} x {mask.shape[0]}", f"{shape[1]} x {shape[0]}"
        raise InvalidSource(f"{path}: is {size} pixels, its photograph {expected}")
    return mask
