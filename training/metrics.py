"""How well a drawn mask agrees with an annotated one, and how sure a figure over photographs is."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from scipy import stats

RESAMPLES = 2000
BINS = 10  # of probabilities, equally wide
NEAR = 95  # per cent of a boundary that the Hausdorff distance looks at


def dice(drawn: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two (H, W) bool masks: twice the intersection over the sum of the areas; 1 where both are empty."""
    total = int(np.count_nonzero(drawn)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(drawn & truth)) / total if total else 1.0


def iou(dice_coefficient: float) -> float:
    """Intersection over union of the two masks that have this Dice coefficient."""
    return dice_coefficient / (2 - dice_coefficient)


def radii_ratio(drawn: np.ndarray, truth: np.ndarray) -> float | None:
    """Radius of the drawn region over that of the annotated one, both as circles of the same area; 1 is right.

    Args:
        drawn, truth: (H, W) bool.
    Returns:
        0 where nothing was drawn, None where nothing was annotated.
    Source: the radii ratio of Civit-Masot et al. 2019, doi 10.1109/ACCESS.2019.2944692.
    """
    area = np.count_nonzero(truth)
    return float(np.sqrt(np.count_nonzero(drawn) / area)) if area else None


def hausdorff_95(drawn: np.ndarray, truth: np.ndarray) -> float | None:
    """How far the boundaries lie apart, in pixels, their farthest twentieth not counted.

    The 95th percentile of the distances from one boundary's pixels to the nearest of the other, the larger of both
    directions (Huttenlocher et al. 1993, with a percentile for the maximum).

    Args:
        drawn, truth: (H, W) bool.
    Returns:
        None where one of them is empty.
    """
    either = drawn | truth
    if not drawn.any() or not truth.any():
        return None
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    first, second = _boundary(drawn[part]), _boundary(truth[part])
    distances = (_distance_to(second)[first], _distance_to(first)[second])
    return float(max(np.percentile(each, NEAR) for each in distances))


def _boundary(mask: np.ndarray) -> np.ndarray:
    """(H + 2, W + 2) bool, the mask with a margin: its pixels that have an outside neighbour above or beside them."""
    padded = np.pad(mask, 1).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return (padded > cv2.erode(padded, cross)).astype(bool)


def _distance_to(boundary: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels by probability, for a reliability diagram; tables of several photographs may be added.

    Args:
        probabilities: any shape, in [0, 1].
        truth: the same shape, 1 where annotated; a share where the annotation is finer than the grid.
    Returns:
        (BINS, 3) float64: number of pixels, sum of their probabilities, sum of their truth.
    """
    chosen = np.minimum((np.ravel(probabilities) * BINS).astype(np.intp), BINS - 1)
    columns = (None, np.ravel(probabilities), np.ravel(truth))
    return np.stack([np.bincount(chosen, weights, BINS).astype(np.float64) for weights in columns], axis=1)


def expected_calibration_error(tables: np.ndarray) -> np.ndarray:
    """Mean gap between what pixels' probabilities say and how often they are right; 0 is calibrated.

    Args:
        tables: (…, BINS, 3) of `reliability`.
    Returns:
        (…) in [0, 1]; each bin counts by its pixels.
    Source: Naeini et al. 2015, AAAI, doi 10.1609/aaai.v29i1.9602.
    """
    pixels = np.maximum(tables[..., 0].sum(axis=-1), 1)
    return np.asarray(np.abs(tables[..., 1] - tables[..., 2]).sum(axis=-1) / pixels)


def calibration_interval(tables: np.ndarray, seed: int = 1, coverage: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the calibration error over photographs, (N, BINS, 3) tables of one each."""
    count = len(tables)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return _middle(expected_calibration_error(np.tensordot(drawn, tables, axes=1)), coverage)


def roc_area(scores: Sequence[float], positive: Sequence[bool]) -> tuple[float, float, float] | None:
    """Area under the ROC curve with its 95 % bootstrap interval over photographs, both classes resampled apart.

    The share of pairs of one positive and one negative in which the positive scores higher; a tie counts a half.

    Returns:
        (area, low, high); None where a class is empty.
    """
    values, wanted = np.asarray(scores, np.float64), np.asarray(positive, bool)
    first, second = values[wanted], values[~wanted]
    if not first.size or not second.size:
        return None
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    random = np.random.default_rng(1)
    shares = [random.multinomial(size, np.full(size, 1 / size), RESAMPLES) / size for size in (first.size, second.size)]
    areas = np.einsum("ri,ij,rj->r", shares[0], wins, shares[1], optimize=True)
    return float(wins.mean()), *_middle(areas, 0.95)


def bootstrap_interval(values: Sequence[float], seed: int = 1, coverage: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean over photographs; the mean itself twice for a single value."""
    numbers = np.asarray(values, np.float64)
    random = np.random.default_rng(seed)
    return _middle(numbers[random.integers(0, numbers.size, (RESAMPLES, numbers.size))].mean(axis=1), coverage)


def bootstrap_intervals(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 1, coverage: float = 0.95
) -> list[tuple[float, float]]:
    """Percentile bootstrap over photographs of several figures that are no means.

    Args:
        values: (N,), one of each photograph; every resample keeps their order.
        statistic: (R, N) resamples → (K, R), the K figures of each.
    """
    drawn = np.random.default_rng(seed).integers(0, values.size, (RESAMPLES, values.size))
    return [_middle(figure, coverage) for figure in statistic(values[np.sort(drawn, axis=1)])]


def binomial_interval(hits: int, count: int, coverage: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934) of which `hits` of `count` were seen."""
    found = stats.binomtest(hits, count).proportion_ci(coverage, method="exact")
    return float(found.low), float(found.high)


def conformal_half_width(errors: Sequence[float], coverage: float) -> float:
    """Half width of an interval that holds a new exchangeable photograph with probability `coverage`.

    The ceil((n + 1) × coverage)-th smallest absolute error; infinite where n is too small for that, below 9 for 90 %:
    no interval from so few photographs is known to hold so often.
    Source: Papadopoulos et al. 2002, inductive confidence machines (split conformal prediction).
    """
    ordered = np.sort(np.abs(np.asarray(errors, np.float64)))
    rank = int(np.ceil((ordered.size + 1) * coverage))
    return float(ordered[rank - 1]) if rank <= ordered.size else float("inf")


def _middle(values: np.ndarray, coverage: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)
