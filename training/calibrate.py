"""From results on held-out and left-out photographs to the numbers by which a version knows its own limits."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from model.segmenter import Thresholds
from training.evaluate import Overlap, Result
from training.metrics import binomial_interval, conformal_half_width
from training.summary import vertical_errors

COVERAGE = 0.9
WIDEST = 1.0  # half of an interval that holds any ratio
LEVEL = 0.003  # mean Dice by which two seeds of one recipe differ: a threshold that gains less gains nothing
REFUSED = 0.02  # share of held-out photographs that each limit may refuse, before the margin
REFUSED_OF_NEW = 0.006  # share of a left-out source's photographs that each of five limits may refuse: 3 % together
# Foreign colours and blur alone spoil little. Photographs of a left-out source were given other colours, darkened,
# hazed and blurred beyond anything that was trained on: where the networks were sure, they were outlined as well as the
# others up to these multiples (benchmarks/results/2026-11-27-limits.md). Beyond them nothing is known.
FURTHEST = 3.0  # times the distance of the worst fiftieth of a known source
LEAST_SHARP = 0.25  # of the sharpness of the worst fiftieth
LEAST_LOCATED = (
    0.765  # of its locator's confidence, which differs most between sources; what shows no disc lies far below
)
LEEWAY = 0.01  # by which another processor or precision may move a photograph's measures
OPEN = Thresholds(
    disc=0.5, cup=0.5, disc_confidence=0.0, cup_confidence=0.0, distance=float("1e9"), sharpness=0.0
)  # refuses nothing but an empty answer


def best_thresholds(trials: Mapping[float, Sequence[Overlap]], like: Collection[str] = ()) -> Thresholds:
    """The probabilities from which a pixel is disc and cup. Every source counts alike.

    Where a version draws by looks, the nearest to a half whose Dice is as good as the best: on photographs of known
    sources Dice hardly depends on the threshold, the very best one wanders from run to run, and nothing speaks for
    another than a half. Where it draws by some experts' convention, its cup is judged by their photographs alone, and
    its disc by all sources: experts agree on discs to within a few per cent, so the answer's had better lie amid them,
    and its threshold moves it there.

    Args:
        trials: results of the same training photographs, by the threshold used for both.
        like: the sources by whose convention the version draws; empty where it goes by looks.
    """

    def score(results: Sequence[Overlap], name: str, sources: Collection[str]) -> float:
        by_source: dict[str, list[float]] = {}
        for result in results:
            if (value := getattr(result, name)) is not None and (not sources or result.source in sources):
                by_source.setdefault(result.source, []).append(value)
        return float(np.mean([np.mean(values) for values in by_source.values()])) if by_source else 0.0

    def chosen(name: str, sources: Collection[str], level: float) -> float:
        scores = {threshold: score(results, name, sources) for threshold, results in trials.items()}
        good = [threshold for threshold, value in scores.items() if value >= max(scores.values()) - level]
        return min(good, key=lambda threshold: (abs(threshold - 0.5), -scores[threshold]))

    disc, cup = chosen("disc_dice", (), 0 if like else LEVEL), chosen("cup_dice", like, LEVEL)
    return dataclasses.replace(OPEN, disc=disc, cup=cup)


def limits(
    held_out: Sequence[Result],
    chosen: Thresholds,
    left_out: Sequence[Result] = (),
    trained_on: Sequence[Result] = (),
) -> Thresholds:
    """Limits of what is gradable: what leaves in nearly all good photographs of sources known and new.

    Args:
        held_out: of sources that the version was trained on: where the worst fiftieth of each stands, with a margin for
            sources that are not among these.
        left_out: of runs by the same recipe that never saw these sources: where their worst stand, without a margin.
        trained_on: of sources that the version was trained on and of which nothing was held out: none of these is
            refused whose disc was found. A training photograph is an easy one, and a limit that refuses it too strict.
    """
    easy = [result for result in trained_on if not result.missed]

    def worst(results: Sequence[Result], name: str, share: float) -> list[float]:
        by_source: dict[str, list[float]] = {}
        for result in results:
            if (value := getattr(result, name)) is not None:  # a table may be older than the figure
                by_source.setdefault(result.source, []).append(value)
        return [float(np.quantile(values, share)) for _, values in sorted(by_source.items())]

    def lowest(name: str, margin: Callable[[float], float]) -> float:
        known, new = worst(held_out, name, REFUSED), worst(left_out, name, REFUSED_OF_NEW)
        limit = round(min([*map(margin, known), *new], default=0.0), 3)
        measured: list[float] = [value for each in easy if (value := getattr(each, name))]  # 0: nothing was drawn
        return min([limit, *(round(value - LEEWAY, 3) for value in measured)])

    far = [
        FURTHEST * max(worst(held_out, "distance", 1 - REFUSED)),
        *worst(left_out, "distance", 1 - REFUSED_OF_NEW),
        *(each.distance + LEEWAY for each in easy),
    ]
    return Thresholds(
        disc=chosen.disc,
        cup=chosen.cup,
        disc_confidence=lowest("disc_confidence", lambda value: 1 - 1.6 * (1 - value)),
        cup_confidence=lowest("cup_confidence", lambda value: 1 - 1.3 * (1 - value)),
        distance=round(max(far), 2),
        sharpness=lowest("sharpness", lambda value: LEAST_SHARP * value),
        locator_confidence=lowest("locator_confidence", lambda value: LEAST_LOCATED * value),
    )


def interval(held_out: Sequence[Result], left_out: Sequence[Result]) -> dict[str, Any]:
    """Half width of the vertical ratio's interval: split conformal on each source, the widest of them.

    Args:
        held_out: of sources that the version was trained on.
        left_out: of runs by the same recipe that never saw these sources; empty where there was none.

    The widest, because a source that the version never saw may be like the hardest of those at hand. Sources of too few
    photographs to tell say nothing, and where no source has enough the interval is all that a ratio may be. Empty where
    no cup is annotated.
    """
    widths = {}
    for how, results in (("held out", held_out), ("left out", left_out)):
        for source, errors in _errors_by_source(results).items():
            widths[f"{source}, {how}"] = (conformal_half_width(errors, COVERAGE), len(errors))
    if not widths:
        return {}
    enough = {source: each for source, each in widths.items() if each[0] <= WIDEST}
    method = "split conformal on each source; the widest of them" if enough else "too few photographs of each source"
    widths = enough or {source: (WIDEST, count) for source, (_, count) in widths.items()}
    widest = max(widths, key=lambda source: widths[source][0])
    return {
        "vertical_half_width": round(widths[widest][0], 4),
        "coverage": COVERAGE,
        "method": method,
        "widest_source": widest,
        "photographs": {source: count for source, (_, count) in widths.items()},
        "half_widths": {source: round(width, 4) for source, (width, _) in widths.items()},
        "on_new_sources": coverage_on_new_sources(left_out),
    }


def coverage_on_new_sources(left_out: Sequence[Result]) -> list[dict[str, Any]]:
    """What the interval covers on each left-out source when it is calibrated on the *other* left-out sources alone.

    Nothing of a source, neither its photographs nor its annotators, has a part in the interval that is measured on
    it. Every photograph counts, refused ones too. Empty where fewer than two sources were left out.

    Args:
        left_out: results of runs by the same recipe, each on sources that it never saw.
    Returns:
        One row per source: `half_width` of the calibration by the rule of `interval`, `covered` of `photographs`,
        `coverage` with its exact 95 % binomial interval, and `mean_width` of the intervals within [0, 1].
    """
    errors = _errors_by_source(left_out)
    rows = []
    for source in errors if len(errors) > 1 else ():
        half = max(min(conformal_half_width(errors[other], COVERAGE), WIDEST) for other in errors if other != source)
        hits = int(np.count_nonzero(np.abs(errors[source]) <= half))
        drawn = np.array([r.vertical or 0.0 for r in left_out if r.source == source and r.vertical_truth is not None])
        widths = np.minimum(1, drawn + half) - np.maximum(0, drawn - half)
        count = len(errors[source])
        rows.append(
            {
                "source": source,
                "calibrated_on": [other for other in errors if other != source],
                "half_width": round(half, 4),
                "photographs": count,
                "covered": hits,
                "coverage": round(hits / count, 4),
                "coverage_95": [round(value, 4) for value in binomial_interval(hits, count)],
                "mean_width": round(float(widths.mean()), 4),
            }
        )
    return rows


def _errors_by_source(results: Sequence[Result]) -> dict[str, list[float]]:
    by_source = {
        name: vertical_errors([r for r in results if r.source == name]) for name in {r.source for r in results}
    }
    return {name: errors.tolist() for name, errors in sorted(by_source.items()) if errors.size}
