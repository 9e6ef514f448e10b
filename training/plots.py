"""Figures of an evaluation as SVG text: the same results give the same bytes. Draws nothing on a screen."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.evaluate import Result
from training.metrics import binomial_interval, expected_calibration_error
from training.summary import covered, errors_by_coverage, pixel_tables

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")  # Okabe and Ito 2008
STYLE = {
    "svg.hashsalt": "cupdisc",
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7ea",
    "axes.axisbelow": True,
}
WIDTH = 9.4  # inches
FEW = 10  # photographs below which there is no curve
FEW_PIXELS = 200  # in a bin, below which its point is not drawn: chance


def dice_distributions(results: Sequence[Result]) -> str:
    """Dice of disc and cup of every photograph, by source, with the median and the quartiles."""
    sources = _sources(results)

    def draw(axes: Axes, name: str) -> None:
        for place, source in enumerate(sources):
            values = [value for r in results if r.source == source and (value := getattr(r, name)) is not None]
            if values:
                jitter = np.random.default_rng(place).uniform(-0.28, 0.28, len(values))
                axes.plot(place + jitter, values, "o", ms=2.5, alpha=0.5, mew=0, color=_colour(results, source))
                axes.boxplot(values, positions=[place], widths=0.62, showfliers=False, medianprops={"color": "black"})
        axes.set_xticks(range(len(sources)), sources, rotation=20, ha="right")
        axes.set_xlim(-0.6, len(sources) - 0.4)
        axes.set_ylim(min(0.5, axes.get_ylim()[0]), 1.005)
        axes.set_title(name.split("_")[0])
        axes.set_ylabel("Dice")

    return _svg(["disc_dice", "cup_dice"], draw, 3.6)


def bland_altman(results: Sequence[Result]) -> str:
    """Drawn minus annotated vertical ratio over their mean, with the bias and the limits of agreement, by source."""
    sources = _sources([r for r in results if r.vertical_error is not None])

    def draw(axes: Axes, source: str) -> None:
        mine = [r for r in results if r.source == source and r.vertical_error is not None]
        errors = np.array([r.vertical_error for r in mine], float)
        truth = np.array([r.vertical_truth for r in mine], float)
        axes.plot(truth + errors / 2, errors, "o", ms=3, alpha=0.6, mew=0, color=_colour(results, source))
        bias, spread = float(errors.mean()), 1.96 * float(errors.std(ddof=1)) if errors.size > 1 else 0.0
        axes.axhline(0, color="black", lw=0.6)
        axes.axhline(bias, color="#333333", lw=1.2)
        for limit in (bias - spread, bias + spread):
            axes.axhline(limit, color="#333333", lw=0.9, ls="--")
        axes.set_title(
            f"{source}, n = {len(mine)}\nbias {bias:+.3f}, limits {bias - spread:+.2f} to {bias + spread:+.2f}"
        )
        axes.set_xlim(0, 1)
        reach = max(0.35, float(np.abs(errors).max()) * 1.05)
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("mean of drawn and annotated vCDR")
        axes.set_ylabel("drawn − annotated")

    return _svg(sources, draw, 3.4)


def pixel_calibration(results: Sequence[Result]) -> str:
    """How often a pixel of a probability is right, disc and cup, by source; empty where no pixels were counted."""
    sources = _sources([r for r in results if r.pixels is not None])

    def draw(axes: Axes, channel: int) -> None:
        axes.plot([0, 1], [0, 1], color="black", lw=0.6)
        for source in sources:
            tables = pixel_tables([r for r in results if r.source == source], channel)
            if len(tables):
                table = tables.sum(axis=0)
                error = float(expected_calibration_error(table))
                pixels, said, right = table[table[:, 0] >= FEW_PIXELS].T
                label = f"{source}: error {error:.3f}"
                axes.plot(
                    said / pixels, right / pixels, "o-", ms=3, lw=1.2, color=_colour(results, source), label=label
                )
        axes.set_title(("disc", "cup")[channel])
        axes.set_xlabel("probability of the pixel")
        axes.set_ylabel("share annotated")
        axes.set_aspect("equal")
        axes.legend(fontsize=7, frameon=False, loc="upper left")

    return _svg([0, 1], draw, 4.4) if sources else ""


def risk_and_coverage(results: Sequence[Result]) -> str:
    """Mean error of the vertical ratio over the photographs with the surest cups; the cross: over the gradable ones."""
    annotated = [r for r in results if r.vertical_error is not None]
    sources = [s for s in _sources(annotated) if sum(r.source == s for r in annotated) >= FEW]

    def draw(axes: Axes, _: str) -> None:
        for source in sources:
            mine = [r for r in annotated if r.source == source]
            risk = errors_by_coverage(mine)
            share = np.arange(1, risk.size + 1) / risk.size
            shown = slice(max(4, risk.size // 10) - 1, None)
            axes.plot(
                share[shown], risk[shown], lw=1.4, color=_colour(results, source), label=f"{source}, n = {len(mine)}"
            )
            good = [abs(r.vertical_error or 0.0) for r in mine if r.gradable]
            if good:
                axes.plot(len(good) / len(mine), np.mean(good), "x", ms=8, mew=2, color=_colour(results, source))
        axes.set_xlabel("share of the photographs answered, those with the surest cups first")
        axes.set_ylabel("vCDR mean abs. error")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(fontsize=8, frameon=False, loc="lower right")

    return _svg(["all"], draw, 3.6) if sources else ""


def interval_coverage(results: Sequence[Result], promised: float, new_sources: Sequence[dict[str, Any]] = ()) -> str:
    """Share of annotated ratios inside the answers' intervals, by source, with exact 95 % binomial intervals.

    Args:
        promised: the coverage that the version claims.
        new_sources: rows of `calibrate.coverage_on_new_sources`.
    """
    rows = [
        (source, sum(hits), len(hits), _colour(results, source))
        for source in _sources(results)
        if (hits := covered([r for r in results if r.source == source]))
    ]
    rows += [(f"{r['source']}, as a new source", r["covered"], r["photographs"], "black") for r in new_sources]
    if not rows:
        return ""

    def draw(axes: Axes, _: str) -> None:
        for place, (_name, hits, count, colour) in enumerate(rows):
            low, high = binomial_interval(hits, count)
            axes.plot([low, high], [place, place], color=colour, lw=2)
            axes.plot(hits / count, place, "o", ms=6, color=colour)
        axes.axvline(promised, color="black", lw=0.9, ls="--")
        axes.set_yticks(range(len(rows)), [f"{name}: {hits} of {count}" for name, hits, count, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(min(0.5, axes.get_xlim()[0]), 1.005)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(f"annotated vCDR inside the interval (dashed: the promised {promised:.0%})")

    return _svg(["all"], draw, 0.9 + 0.36 * len(rows))


def _svg(panels: Sequence[Any], draw: Callable[[Axes, Any], None], height: float) -> str:
    """Panels side by side, three in a row at most."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            draw(axes, panel)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _sources(results: Sequence[Result]) -> list[str]:
    return sorted({r.source for r in results})


def _colour(results: Sequence[Result], source: str) -> str:
    """One colour for a source in all figures of the same results."""
    return COLOURS[_sources(results).index(source) % len(COLOURS)]
