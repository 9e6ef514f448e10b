"""Is a version fit to answer? The photograph whose disc a person outlined, which ships with CupDisc, tells.

It finds what is broken, not what is poor: a disc elsewhere, a ratio beyond reason, no answer in time.
"""

import time

import numpy as np

from model import images
from model.errors import ProbeFailed
from model.masks import Label
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service.page import SAMPLES

# by hand, first and last pixel; tests/example_by_hand.py tells how, and a test holds the two together
DISC_ROWS, DISC_COLUMNS = (551, 754), (125, 308)
VERTICAL_RATIO = 0.43
LEAST_DICE = 0.5  # of the disc; two people's outlines of one disc agree to more than 0.9
LARGEST_ERROR = 0.35  # of the vertical ratio, where one was drawn
ATTEMPTS = 3  # one of which must be fast enough: other work may disturb the others


def probe(segmenter: Segmenter, slowest_s: float) -> float:
    """Warm a version up, then look at its answer and its speed.

    Args:
        slowest_s: for the networks and everything between them, decoding left out.
    Returns:
        The seconds that it took.
    Raises:
        ProbeFailed: wrong, or too slow.
    """
    photograph = images.decode(next(path for path in SAMPLES if path.is_file()).read_bytes())
    (found,) = segmenter.segment([photograph.pixels])  # the first call compiles and allocates
    _check(segmenter.version, found)
    fastest = float("inf")
    for _ in range(ATTEMPTS):
        started = time.perf_counter()
        segmenter.segment([photograph.pixels])
        fastest = min(fastest, time.perf_counter() - started)
        if fastest <= slowest_s:
            return fastest
    raise ProbeFailed(f"version {segmenter.version} takes {fastest:.2f} s for the probe; {slowest_s:g} s is allowed")


def _check(version: str, found: Segmentation) -> None:
    disc = found.drawn >= Label.RIM
    known = _ellipse(disc.shape)
    dice = 2 * np.count_nonzero(disc & known) / (np.count_nonzero(disc) + np.count_nonzero(known))
    if not dice >= LEAST_DICE:
        raise ProbeFailed(f"version {version} is wrong on the probe: Dice {dice:.2f} of the disc, below {LEAST_DICE}")
    ratio = found.drawn_ratios.vertical if found.drawn_ratios else None
    if ratio and not abs(ratio - VERTICAL_RATIO) <= LARGEST_ERROR:
        raise ProbeFailed(f"version {version} is wrong on the probe: vertical ratio {ratio:.2f}, not {VERTICAL_RATIO}")


def _ellipse(shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the disc as a person saw it."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    parts = []
    for index, (first, last) in ((rows, DISC_ROWS), (columns, DISC_COLUMNS)):
        parts.append(((index - (first + last) / 2) / ((last - first + 1) / 2)) ** 2)
    inside: np.ndarray = parts[0] + parts[1] <= 1
    return inside
