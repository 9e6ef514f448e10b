"""A version's figures as tables for people, on a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table


def comparison_table(rows: Sequence[dict[str, Any]], version: str) -> Table:
    """The rows of `compare`, for people."""
    table = Table(title=f"against {version} on the same photographs; a positive gain is better")
    for column in ("source", "figure", "n", version, "new", "gain"):
        table.add_column(column)
    for row in rows:
        low, high = row["gain_95"]
        gain = f"{row['gain']:+.3f} ({low:+.3f} to {high:+.3f})"
        figures = (f"{row['old']:.3f}", f"{row['new']:.3f}", gain)
        table.add_row(row["source"], row["figure"], str(row["photographs"]), *figures)
    return table


def metrics_table(metrics: list[dict[str, Any]]) -> Table:
    """The figures per source, for people."""
    table = Table(title="per source, all photographs counted, refused ones included")
    for column in (
        "source",
        "",
        "n",
        "disc Dice",
        "cup Dice",
        "vCDR mean abs. error",
        "bias",
        "missed",
        "not gradable",
    ):
        table.add_column(column)
    for row in metrics:
        table.add_row(
            row["source"],
            row["how"],
            str(row["photographs"]),
            _with_interval(row, "disc_dice"),
            _with_interval(row, "cup_dice"),
            _with_interval(row, "vertical_mae"),
            f"{row['vertical_bias']:+.3f}" if "vertical_bias" in row else "",
            str(row["discs_missed"]),
            str(row["not_gradable"]),
        )
    return table


def _with_interval(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high = row[f"{name}_95"]
    return f"{row[name]:.3f} ({low:.3f}–{high:.3f})"
