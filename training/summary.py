"""Results of photographs → figures per source, each with its interval; for the manifest, the card and the report."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from training.evaluate import Result
from training.metrics import (
    BINS,
    binomial_interval,
    bootstrap_interval,
    bootstrap_intervals,
    calibration_interval,
    expected_calibration_error,
    iou,
    roc_area,
)

PERCENTILES = (50, 75, 90, 95)  # of the absolute error of the vertical ratio
KEPT = (1.0, 0.9, 0.8, 0.5)  # shares of photographs, those with the surest cups


def summarise(results: Sequence[Result], how: str) -> list[dict[str, Any]]:
    """Figures per source, JSON types; all photographs counted, refused ones included.

    A figure stands beside its 95 % bootstrap interval over photographs, `<name>_95`; where a name holds several figures
    (percentiles of the ratio's error, errors of the surest), so does that. Hausdorff distances are of the 95th
    percentile, in pixels of the photograph and in disc diameters; a photograph on which nothing was drawn has none
    and is counted apart. `interval_coverage` is of the answers that carry an interval, with an exact binomial one.

    Args:
        how: "held out" (other photographs of the source were trained on) or "left out" (none was).
    """
    return [
        _figures(name, [r for r in results if r.source == name], how) for name in sorted({r.source for r in results})
    ]


def vertical_errors(results: Sequence[Result]) -> np.ndarray:
    """Drawn minus annotated vertical ratio, where annotated."""
    return np.array([error for r in results if (error := r.vertical_error) is not None], np.float64)


def errors_by_coverage(results: Sequence[Result]) -> np.ndarray:
    """(n,) mean absolute error of the vertical ratio over the k photographs with the surest cups, k = 1 to n."""
    errors = _surest_first(results)
    return np.asarray(np.cumsum(errors) / np.arange(1, errors.size + 1))


def _surest_first(results: Sequence[Result]) -> np.ndarray:
    """(n,) absolute errors of the vertical ratio, where annotated, by falling confidence of the cup."""
    annotated = [r for r in results if r.vertical_error is not None]
    order = np.argsort([-r.cup_confidence for r in annotated], kind="stable")
    return np.asarray(np.abs(vertical_errors(annotated))[order])


def covered(results: Sequence[Result]) -> list[bool]:
    """Whether the annotated ratio lies in the answer's interval, of each answer that has both."""
    return [
        bool(r.interval_low <= r.vertical_truth <= r.interval_high)
        for r in results
        if r.interval_low is not None and r.interval_high is not None and r.vertical_truth is not None
    ]


def pixel_tables(results: Sequence[Result], channel: int) -> np.ndarray:
    """(n, BINS, 3) `metrics.reliability` of one channel, 0 disc or 1 cup, of the photographs that have it."""
    tables = [r.pixels[channel] for r in results if r.pixels is not None and r.pixels[channel].any()]
    return np.array(tables).reshape(-1, BINS, 3)


def _figures(source: str, results: Sequence[Result], how: str) -> dict[str, Any]:
    with_cup = [r for r in results if r.cup_dice is not None]
    figures: dict[str, Any] = {"source": source, "how": how, "photographs": len(results)}
    figures |= _mean("disc_dice", [r.disc_dice for r in results])
    figures |= _mean("disc_iou", [iou(r.disc_dice) for r in results])
    figures |= _distances("disc", results) | _mean("disc_radii_ratio", _known(results, "disc_radii_ratio"))
    if with_cup:
        errors = vertical_errors(with_cup)
        figures |= _mean("cup_dice", [float(r.cup_dice or 0.0) for r in with_cup])
        figures |= _mean("cup_iou", [iou(float(r.cup_dice or 0.0)) for r in with_cup])
        figures |= _distances("cup", with_cup) | _mean("cup_radii_ratio", _known(with_cup, "cup_radii_ratio"))
        figures |= _mean("vertical_mae", np.abs(errors)) | _mean("vertical_bias", errors)
        figures |= _percentiles(np.abs(errors)) | _of_the_surest(_surest_first(with_cup))
    figures |= _coverage(with_cup) | _glaucoma(with_cup)
    for channel, name in enumerate(("disc", "cup")):
        tables = pixel_tables(results, channel)
        if len(tables):
            figures[f"{name}_calibration_error"] = round(float(expected_calibration_error(tables.sum(axis=0))), 4)
            figures[f"{name}_calibration_error_95"] = _rounded(calibration_interval(tables))
    figures["discs_missed"] = sum(r.missed for r in results)
    figures["not_gradable"] = sum(not r.gradable for r in results)
    figures["cup_outside_disc"] = round(float(np.mean([r.cup_outside for r in results])), 5)
    return figures


def _known(results: Sequence[Result], name: str) -> list[float]:
    return [value for r in results if (value := getattr(r, name)) is not None]


def _distances(part: str, results: Sequence[Result]) -> dict[str, Any]:
    """Nothing where the results come from a table that has no distances."""
    if all(r.disc_diameter is None for r in results):
        return {}
    name = f"{part}_hausdorff95"
    found = [(value, r.disc_diameter) for r in results if (value := getattr(r, name)) is not None and r.disc_diameter]
    figures = _mean(name, [pixels for pixels, _ in found])
    figures |= _mean(f"{name}_in_disc_diameters", [pixels / diameter for pixels, diameter in found])
    return figures | {f"{name}_unknown": len(results) - len(found)}


def _coverage(results: Sequence[Result]) -> dict[str, Any]:
    hits = covered(results)
    if not hits:
        return {}
    widths = [
        r.interval_high - r.interval_low for r in results if r.interval_high is not None and r.interval_low is not None
    ]
    return {
        "interval_coverage": round(float(np.mean(hits)), 4),
        "interval_coverage_95": _rounded(binomial_interval(sum(hits), len(hits))),
        "interval_width": round(float(np.mean(widths)), 4),
        "intervals": len(hits),
    }


def _glaucoma(results: Sequence[Result]) -> dict[str, Any]:
    """How well the vertical ratio alone tells glaucoma from none, beside the annotated ratio on the same eyes."""
    told = [r for r in results if r.glaucoma is not None and r.vertical_truth is not None]
    positive = [bool(r.glaucoma) for r in told]
    drawn = roc_area([r.vertical or 0.0 for r in told], positive)
    annotated = roc_area([r.vertical_truth or 0.0 for r in told], positive)
    if drawn is None or annotated is None:
        return {}
    return {
        "glaucoma_auc": round(drawn[0], 4),
        "glaucoma_auc_95": _rounded(drawn[1:]),
        "glaucoma_auc_annotated": round(annotated[0], 4),
        "glaucoma_auc_annotated_95": _rounded(annotated[1:]),
        "with_glaucoma": sum(positive),
        "without_glaucoma": len(positive) - sum(positive),
    }


def _mean(name: str, values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {}
    return {name: round(float(np.mean(values)), 4), f"{name}_95": _rounded(bootstrap_interval(list(values)))}


def _percentiles(errors: np.ndarray) -> dict[str, Any]:
    return _several(
        "vertical_error_percentiles",
        map(str, PERCENTILES),
        errors,
        lambda samples: np.asarray(np.percentile(samples, PERCENTILES, axis=1)),
    )


def _of_the_surest(errors: np.ndarray) -> dict[str, Any]:
    """Means over the first of the errors; a resample that draws a sure photograph twice counts it twice."""
    counts = [max(1, round(share * errors.size)) for share in KEPT]
    return _several(
        "vertical_mae_of_the_surest",
        (f"{share:g}" for share in KEPT),
        errors,
        lambda samples: np.stack([samples[:, :count].mean(axis=1) for count in counts]),
    )


def _several(
    name: str, parts: Iterable[str], values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """As `_mean`, for figures that belong together; `statistic` as `bootstrap_intervals` takes it."""
    found = zip(parts, statistic(values[None])[:, 0], bootstrap_intervals(values, statistic), strict=True)
    rows = [(part, round(float(value), 4), _rounded(interval)) for part, value, interval in found]
    return {
        name: {part: value for part, value, _ in rows},
        f"{name}_95": {part: interval for part, _, interval in rows},
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
