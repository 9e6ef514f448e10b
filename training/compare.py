"""Is one version worse than another? Both on the same photographs, source by source."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from model.errors import CupDiscError
from training.evaluate import Result
from training.metrics import bootstrap_interval

MARGIN = 0.01  # Dice, or vertical ratio, by which a version may be worse
OWN = ("held out", "left out")  # how a version's own photographs stand in its metrics


class WorseVersion(CupDiscError):
    """A version is worse than the one that it would replace, beyond the margin, on at least one source."""

    code = "worse_version"


class UnjudgedVersion(CupDiscError):
    """Nothing tells whether a version is worse than the one that it would replace, or nothing does on some source."""

    code = "unjudged_version"


def compare(new: Sequence[Result], old: Sequence[Result]) -> list[dict[str, Any]]:
    """Gain of a new version over an old one, per source and figure; positive is better.

    Args:
        new, old: results on the same photographs; those that only one of them has are left aside.
    Returns:
        One row per source and figure ("disc Dice", "cup Dice", "vCDR error"), JSON types: `old` and `new` means, the
        mean `gain`, and its 95 % bootstrap interval over the pairs of answers.
    """
    before = {(r.source, r.id): r for r in old}
    pairs = [(r, before[r.source, r.id]) for r in new if (r.source, r.id) in before]
    rows = []
    for source in sorted({r.source for r, _ in pairs}):
        mine = [pair for pair in pairs if pair[0].source == source]
        for figure in ("disc Dice", "cup Dice", "vCDR error"):
            found = [(_value(a, figure), _value(b, figure)) for a, b in mine]
            values = np.array([(a, b) for a, b in found if a is not None and b is not None])
            if values.size:
                sign = -1 if figure == "vCDR error" else 1
                gains = sign * (values[:, 0] - values[:, 1])
                low, high = bootstrap_interval(gains.tolist())
                rows.append(
                    {
                        "source": source,
                        "figure": figure,
                        "photographs": len(gains),
                        "old": round(float(values[:, 1].mean()), 4),
                        "new": round(float(values[:, 0].mean()), 4),
                        "gain": round(float(gains.mean()), 4),
                        "gain_95": [round(low, 4), round(high, 4)],
                    }
                )
    return rows


def worse(rows: Sequence[dict[str, Any]], margin: float) -> list[str]:
    """The rows of `compare` that lose more than `margin`, each as a line for people."""
    return [
        f"{row['source']}: {row['figure']} {row['new']:.3f} instead of {row['old']:.3f} "
        f"on {row['photographs']} photographs (95 % interval of the loss {-row['gain_95'][1]:.3f} to "
        f"{-row['gain_95'][0]:.3f})"
        for row in rows
        if row["gain"] < -margin
    ]


def not_compared(judged: Iterable[str], metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Sources that an older version was judged on, and that a new one is not, by name.

    Args:
        judged: sources of which the new version's run kept photographs away.
        metrics: of the older version's manifest. What it says of other runs is no judgement of that version.
    """
    own = {row["source"] for row in metrics if row["how"] in OWN}
    return sorted(own.difference(judged))


def _value(result: Result, figure: str) -> float | None:
    if figure == "vCDR error":
        return None if result.vertical_error is None else abs(result.vertical_error)
    return result.disc_dice if figure == "disc Dice" else result.cup_dice
