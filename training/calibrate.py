"""From results on held-out photographs to the numbers by which a version knows its own limits."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.segmenter import Thresholds
from training.evaluate import Result
from training.metrics import conformal_half_width

COVERAGE = 0.9
REFUSED = 0.02  # share of held-out photographs that each limit may refuse, before the margin
OPEN = Thresholds(
    disc=0.5, cup=0.5, disc_confidence=0.0, cup_confidence=0.0, distance=float("1e9"), sharpness=0.0
)  # refuses nothing but an empty answer


def best_thresholds(trials: Mapping[float, Sequence[Result]]) -> Thresholds:
    """The probabilities from which a pixel is disc and cup: those with the highest Dice, every source counting alike.

    Args:
        trials: results of the same training photographs, by the threshold used for both.
    """

    def score(results: Sequence[Result], name: str) -> float:
        by_source: dict[str, list[float]] = {}
        for result in results:
            if (value := getattr(result, name)) is not None:
                by_source.setdefault(result.source, []).append(value)
        return float(np.mean([np.mean(values) for values in by_source.values()])) if by_source else 0.0

    disc, cup = (max(trials, key=lambda t: score(trials[t], name)) for name in ("disc_dice", "cup_dice"))
    return dataclasses.replace(OPEN, disc=disc, cup=cup)


def limits(results: Sequence[Result], chosen: Thresholds) -> Thresholds:
    """Limits of what is gradable: where the worst fiftieth of each held-out source stands, with a margin.

    The margin leaves room for good photographs of sources that are not among these.
    """

    def worst(name: str, share: float, extreme: Any) -> float:
        sources = sorted({r.source for r in results})
        by_source = [[getattr(r, name) for r in results if r.source == source] for source in sources]
        return float(extreme(float(np.quantile(values, share)) for values in by_source))

    return Thresholds(
        disc=chosen.disc,
        cup=chosen.cup,
        disc_confidence=round(1 - 1.6 * (1 - worst("disc_confidence", REFUSED, min)), 3),
        cup_confidence=round(1 - 1.3 * (1 - worst("cup_confidence", REFUSED, min)), 3),
        distance=round(1.5 * worst("distance", 1 - REFUSED, max), 2),
        sharpness=round(0.6 * worst("sharpness", REFUSED, min), 3),
    )


def interval(held_out: Sequence[Result], left_out: Sequence[Result]) -> dict[str, Any]:
    """Half width of the vertical ratio's interval: split conformal on each source, the widest of them.

    Args:
        held_out: of sources that the version was trained on.
        left_out: of a run by the same recipe that never saw these sources; empty where there was none.

    The widest, because a source that the version never saw may be like the hardest of those at hand. Empty where no
    cup is annotated.
    """
    widths = {}
    for how, results in (("held out", held_out), ("left out", left_out)):
        for source in sorted({r.source for r in results}):
            errors = [e for r in results if r.source == source and (e := r.vertical_error) is not None]
            if errors:
                widths[f"{source}, {how}"] = (conformal_half_width(errors, COVERAGE), len(errors))
    if not widths:
        return {}
    widest = max(widths, key=lambda source: widths[source][0])
    return {
        "vertical_half_width": round(widths[widest][0], 4),
        "coverage": COVERAGE,
        "method": "split conformal on each source; the widest of them",
        "widest_source": widest,
        "photographs": {source: count for source, (_, count) in widths.items()},
        "half_widths": {source: round(width, 4) for source, (width, _) in widths.items()},
    }
