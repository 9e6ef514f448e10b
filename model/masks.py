"""Probabilities on a network's grid → a tidy label mask of the photograph."""

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from model.retina import Frame


class Label(IntEnum):
    """What a pixel of a label mask shows. The disc is rim or cup."""

    BACKGROUND = 0
    RIM = 1
    CUP = 2


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
    # one channel at a time: on a large photograph the floats are the largest thing in memory
    disc, cup = (frame.resample(probabilities[..., i], shape) >= thresholds[i] for i in (0, 1))
    tidied = tidy(disc, cup)
    labels = np.zeros(shape, np.uint8)
    labels[frame.overlap(shape)] = tidied.labels
    return Tidied(labels, tidied.cup_outside)


def tidy(disc: np.ndarray, cup: np.ndarray) -> Tidied:
    """One disc without holes, one cup without holes inside it.

    Args:
        disc, cup: (H, W) bool, thresholded; each may be empty, torn or outside the other.
    """
    whole_disc = largest_component(disc)
    outside = int(np.count_nonzero(cup & ~whole_disc)) / max(1, int(np.count_nonzero(cup)))
    whole_cup = largest_component(cup & whole_disc) & whole_disc
    return Tidied(whole_disc.astype(np.uint8) + whole_cup.astype(np.uint8), outside)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the largest 8-connected component of `mask`, holes filled; all False for an empty mask."""
    if mask.size == 0:
        return mask.copy()
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(mask)
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    contours, _ = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return filled.astype(bool)
