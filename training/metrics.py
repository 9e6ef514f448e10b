"""How well a drawn label mask agrees with an annotated one, and how sure a mean over photographs is."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def dice(drawn: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two (H, W) bool masks: twice the intersection over the sum of the areas; 1 where both are empty."""
    total = int(np.count_nonzero(drawn)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(drawn & truth)) / total if total else 1.0


def bootstrap_interval(values: Sequence[float], seed: int = 1, coverage: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean over photographs; the mean itself twice for a single value."""
    numbers = np.asarray(values, np.float64)
    random = np.random.default_rng(seed)
    means = numbers[random.integers(0, numbers.size, (RESAMPLES, numbers.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def conformal_half_width(errors: Sequence[float], coverage: float) -> float:
    """Half width of an interval that holds a new exchangeable photograph with probability `coverage`.

    The ceil((n + 1) × coverage)-th smallest absolute error; the largest where n is too small for that.
    Source: Papadopoulos et al. 2002, inductive confidence machines (split conformal prediction).
    """
    ordered = np.sort(np.abs(np.asarray(errors, np.float64)))
    rank = int(np.ceil((ordered.size + 1) * coverage))
    return float(ordered[min(rank, ordered.size) - 1])
