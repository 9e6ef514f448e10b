"""The summary of an archive for people: three plots and a page of Markdown. Arrays in, bytes out."""

import io
import math
from collections.abc import Sequence
from typing import Any

from service.archive.tally import DISTANCE_BIN, DISTANCE_BINS, RATIO_BINS, Tally

FOLDERS_DRAWN = 12  # the largest ones; the table holds more of them
FEATURES = 6  # numbers in the distance from the training distribution
DOTS_PER_INCH = 110
LEFT_OF_A_NAME = 42  # characters of a folder's name in a plot

Folders = Sequence[tuple[str, Tally]]  # the largest first


def ratios(total: Tally, folders: Folders) -> bytes:
    """Vertical cup-to-disc ratios of the gradable photographs: all of them above, then each folder."""
    drawn = [("all", total), *folders[:FOLDERS_DRAWN]]
    figure, axes = _figure(len(drawn))
    places = [(each + 0.5) / RATIO_BINS for each in range(RATIO_BINS)]
    for axis, (name, tally) in zip(axes, drawn, strict=True):
        axis.bar(places, tally.ratios, width=1 / RATIO_BINS, color="#3b6ea5")
        mean = tally.mean_ratio
        told = f"{tally.gradable} gradable" + (f", mean {mean:.2f}" if mean is not None else "")
        axis.set_title(f"{_short(name)}: {told}", fontsize=9, loc="left")
        axis.set_xlim(0, 1)
    axes[-1].set_xlabel("vertical cup-to-disc ratio")
    return _png(figure)


def reasons(total: Tally, folders: Folders) -> bytes:
    """Why photographs are not gradable, and why files could not be used, as a share of all in a folder."""
    drawn = [("all", total), *folders[:FOLDERS_DRAWN]]
    kinds = sorted({*total.reasons, *total.errors})
    figure, (axis,) = _figure(1, height=1.2 + 0.45 * len(drawn))
    left = [0.0] * len(drawn)
    for kind in kinds:
        shares = [100 * (one.reasons[kind] + one.errors[kind]) / max(1, one.photographs) for _, one in drawn]
        axis.barh(range(len(drawn)), shares, left=left, label=kind)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    axis.set_yticks(range(len(drawn)), [_short(name) for name, _ in drawn], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("% of the photographs; one may have several reasons")
    if kinds:
        axis.legend(fontsize=8)
    return _png(figure)


def drift(total: Tally, folders: Folders, threshold: float) -> bytes:
    """Distances from the training distribution beside what photographs like the training ones would give.

    Args:
        threshold: of the version; beyond it a photograph is not gradable.
    """
    drawn = [("all", total), *folders[:FOLDERS_DRAWN]]
    figure, axes = _figure(len(drawn))
    places = [(each + 0.5) * DISTANCE_BIN for each in range(DISTANCE_BINS)]
    expected = [100 * share for share in expected_distances()]
    for axis, (name, tally) in zip(axes, drawn, strict=True):
        shares = [100 * count / max(1, tally.answered) for count in tally.distances]
        axis.bar(places, shares, width=DISTANCE_BIN, color="#3b6ea5", label="this archive")
        axis.plot(places, expected, color="#222222", label="like the training photographs")
        axis.axvline(threshold, color="#b03030", linestyle="--", label="not gradable beyond")
        square = tally.mean_square_distance
        told = "" if square is None else f": mean square distance {square:.2f}"
        axis.set_title(f"{_short(name)}{told}", fontsize=9, loc="left")
    axes[0].legend(fontsize=8)
    axes[-1].set_xlabel("distance from the training distribution; the last bar holds all beyond")
    axes[0].set_ylabel("% of photographs", fontsize=8)
    return _png(figure)


def expected_distances() -> list[float]:
    """The share of photographs in each bin if their colours spread as the training photographs' do, normally.

    The distance is the root of a chi-square of six degrees of freedom over six.
    """

    def below(distance: float) -> float:
        half = FEATURES * distance**2 / 2
        return 1 - math.exp(-half) * sum(half**power / math.factorial(power) for power in range(FEATURES // 2))

    edges = [each * DISTANCE_BIN for each in range(DISTANCE_BINS)]
    return [
        (below(edges[each + 1]) if each + 1 < DISTANCE_BINS else 1.0) - below(edges[each])
        for each in range(DISTANCE_BINS)
    ]


def page(total: Tally, folders: Folders, more_folders: int, told: dict[str, Any]) -> str:
    """Markdown that shows the plots.

    Args:
        more_folders: how many are not among `folders`.
        told: facts about the run, in the order in which they are shown.
    """
    lines = ["# Summary", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in told.items()), ""]
    lines += [
        "| folder | photographs | answered | gradable | mean vCDR | mean square distance |",
        "|---|---|---|---|---|---|",
    ]
    for name, tally in [("all", total), *folders]:
        ratio, square = tally.mean_ratio, tally.mean_square_distance
        lines.append(
            f"| {_cell(name)} | {tally.photographs} | {tally.answered} | {tally.gradable} "
            f"| {'' if ratio is None else f'{ratio:.3f}'} | {'' if square is None else f'{square:.2f}'} |"
        )
    if more_folders:
        lines.append(f"| {more_folders} smaller folders | | | | | |")
    lines += ["", "A mean square distance of 1 is what photographs like the training ones have; more is drift.", ""]
    for title, counts in (("not gradable", total.reasons), ("could not be used", total.errors)):
        if counts:
            lines += [f"| {title} | photographs |", "|---|---|"]
            lines += [f"| {name} | {count} |" for name, count in counts.most_common()] + [""]
    lines += [f"![{name}]({name}.png)" for name in ("ratios", "reasons", "drift")]
    return "\n".join(lines) + "\n"


def _figure(rows: int, height: float | None = None) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, height or 0.9 + 1.35 * rows), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    return figure, axes


def _png(figure: Any) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()


def _short(name: str) -> str:
    short = name if len(name) <= LEFT_OF_A_NAME else f"…{name[-LEFT_OF_A_NAME:]}"
    return short.replace("$", r"\$")  # matplotlib would read a formula


def _cell(name: str) -> str:
    return name.replace("|", r"\|").replace("\n", " ")
