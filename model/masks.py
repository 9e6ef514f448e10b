"""Probabilities on a network's grid → a tidy label mask of the photograph."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import cv2
import numpy as np

from model.retina import Frame


class Label(IntEnum):
    """What a pixel of a label mask shows. The disc is rim or cup."""

    BACKGROUND = 0
    RIM = 1
    CUP = 2


@dataclass(frozen=True)
class Patch:
    """A mask of a whole photograph, of which only one rectangle is kept: everything outside is 0 or False.

    `values` is (h, w), its top left pixel is the photograph's at row `top` and column `left`, and `shape` is the
    photograph's (H, W). A photograph has millions of pixels, its disc a hundredth of them.
    """

    values: np.ndarray
    top: int
    left: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, whole: np.ndarray) -> "Patch":
        """All of a mask, (H, W)."""
        return cls(whole, 0, 0, (whole.shape[0], whole.shape[1]))

    @cached_property
    def whole(self) -> np.ndarray:
        """(H, W), of the type of `values`."""
        if self.values.shape == self.shape:
            return self.values
        out = np.zeros(self.shape, self.values.dtype)
        height, width = self.values.shape
        out[self.top : self.top + height, self.left : self.left + width] = self.values
        return out

    def trimmed(self) -> "Patch":
        """The same mask, of uint8 or bool, kept in the smallest rectangle that holds it, or in one pixel."""
        left, top, width, height = cv2.boundingRect(self.values.view(np.uint8))
        values = self.values[top : top + max(1, height), left : left + max(1, width)]
        return Patch(values, self.top + top, self.left + left, self.shape)

    def having(self, values: np.ndarray) -> "Patch":
        """Other values of the same rectangle."""
        return Patch(values, self.top, self.left, self.shape)


@dataclass(frozen=True)
class Tidied:
    """A label mask and what tidying had to change.

    `labels` is (H, W) uint8 of `Label`. `cup_outside` is the share of the thresholded cup's pixels that lay outside the
    disc and were dropped, in [0, 1]; 0 where the network drew no cup.
    """

    labels: np.ndarray
    cup_outside: float


def restore(probabilities: np.ndarray, frame: Frame, shape: tuple[int, int], thresholds: tuple[float, float]) -> Tidied:
    """Probabilities of disc and cup, resampled to the photograph's pixels, then thresholded, then tidied.

    Args:
        probabilities: (S, S, 2) float32 in [0, 1], disc and cup, on the grid of `frame`.
        frame: the square of the photograph that the grid covers.
        shape: (H, W) of the photograph.
        thresholds: of disc and cup; a pixel counts from here on.
    """
    patch, cup_outside = restore_patch(probabilities, frame, shape, thresholds)
    return Tidied(patch.whole, cup_outside)


def restore_patch(
    probabilities: np.ndarray, frame: Frame, shape: tuple[int, int], thresholds: tuple[float, float]
) -> tuple[Patch, float]:
    """`restore` of the disc's rectangle alone, or of one pixel where there is none; and `Tidied.cup_outside`."""
    # one channel at a time: on a large photograph the floats are the largest thing in memory
    disc, cup = (frame.resample(probabilities[..., i], shape) >= thresholds[i] for i in (0, 1))
    if disc.size == 0:
        return Patch(np.zeros((1, 1), np.uint8), 0, 0, shape), 0.0
    rows, columns = frame.overlap(shape)
    return _tidied(Patch(disc, rows.start, columns.start, shape), cup)


def tidy(disc: np.ndarray, cup: np.ndarray) -> Tidied:
    """One disc without holes, one cup without holes inside it.

    Args:
        disc, cup: (H, W) bool, thresholded; each may be empty, torn or outside the other.
    """
    patch, outside = _tidied(Patch.of(disc), cup)
    return Tidied(patch.whole, outside)


def _tidied(disc: Patch, cup: np.ndarray) -> tuple[Patch, float]:
    """As `tidy`, kept in the disc's rectangle: all that comes after the disc is looked for there alone.

    Args:
        cup: of the disc's rectangle.
    """
    whole_disc = disc.having(largest_component(disc.values)).trimmed()
    height, width = whole_disc.values.shape
    top, left = whole_disc.top - disc.top, whole_disc.left - disc.left
    within = cup[top : top + height, left : left + width] & whole_disc.values
    drawn = int(np.count_nonzero(cup))
    outside = (drawn - int(np.count_nonzero(within))) / max(1, drawn)
    whole_cup = largest_component(within) & whole_disc.values
    return whole_disc.having(whole_disc.values.view(np.uint8) + whole_cup.view(np.uint8)), outside


def largest_component(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the largest 8-connected component of `mask`, holes filled; all False for an empty mask."""
    filled = np.zeros(mask.shape, np.uint8)
    if mask.size == 0:
        return filled.view(bool)
    lit = np.ascontiguousarray(mask).view(np.uint8)
    contours, hierarchy = cv2.findContours(lit, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = (
        [contour for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0]
        if contours
        else []
    )
    if len(outer) > 1:  # the largest by its pixels, those of its holes not counted
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(lit, connectivity=8)
        largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
        component = (labels == largest).view(np.uint8)
        outer = list(cv2.findContours(component, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])
    cv2.drawContours(filled, outer, -1, 1, cv2.FILLED)
    return filled.view(bool)


def centre_of(mask: np.ndarray) -> tuple[float, float, int]:
    """Centre x, y of a (H, W) bool mask's pixels, and how many they are; 0, 0 and 0 where there are none.

    Sums along the axes are several times cheaper than OpenCV's moments.
    """
    lit = mask.view(np.uint8)
    columns = cv2.reduce(lit, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0].astype(np.float64)
    rows = cv2.reduce(lit, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0].astype(np.float64)
    area = round(columns.sum())
    if not area:
        return 0.0, 0.0, 0
    x, y = (float(sums @ np.arange(sums.size)) / area + 0.5 for sums in (columns, rows))
    return x, y, area
