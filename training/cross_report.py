"""What came out of the matrix of sources, as Markdown: budget, central table, why not where it is so, every cell."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.config import NetworkConfig, Preset
from training.cross import FIGURES
from training.evaluate import write_csv
from training.whole_file import whole_file

FAR = 0.05  # share of a radius by which one outline must be nearer to the annotated one before it is called so


def budget(preset: Preset, judges: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each run was given, in lines for people; figures of short runs are read with it.

    Args:
        preset: with the recipe that was run, nothing left out.
        judges: the sources that are left out in turn.
        runs: `run.json` of each.
    """
    minutes = [sum(run["seconds"].values()) / 60 for run in runs]
    devices = ", ".join(sorted({run["device"] for run in runs}))
    lines = [
        f"Preset `{preset.name}` on {devices}: {len(runs)} runs of {min(minutes):.1f} to {max(minutes):.1f} minutes.",
        f"Locator: {_network(preset.locator)}. Segmenter: {_network(preset.segmenter)}.",
    ]
    groups = {source.name: source.group for source in preset.sources}
    for judge in judges:
        along = [name for name, group in groups.items() if group and group == groups[judge] and name != judge]
        if along:
            lines.append(f"With {judge} {'goes' if len(along) == 1 else 'go'} {' and '.join(along)}: of one clinic.")
    taken = {groups[judge] for judge in judges} - {""}
    others = [name for name, group in groups.items() if name not in judges and group not in taken]
    if others:
        lines.append(f"In every run train, but judge nothing: {', '.join(others)}.")
    return lines


def _network(config: NetworkConfig) -> str:
    of_each = Counter(
        f"{single.steps} steps of {single.batch_size} photographs, {single.network.input_size} pixels"
        for single in config.singles
    )
    told = [f"{text}, {count} of them averaged" if count > 1 else text for text, count in of_each.items()]
    return ", averaged with ".join(told)


def as_markdown(matrix: Mapping[str, Any], about: Sequence[str] = ()) -> str:
    """The tables of `cross`, for people.

    Args:
        about: lines of `budget`.
    """
    lines = [
        *about,
        *([""] if about else []),
        f"Seeds: {', '.join(map(str, matrix['seeds']))}.",
        "",
        "On a source that it never saw: several sources against the best single one (the best on this very source).",
        "Mean over the seeds, in brackets the worst; the gain with its 95 % bootstrap interval, positive is better.",
        "",
        "| left out | n | figure | best single | several | gain |",
        "|---|---|---|---|---|---|",
    ]
    for row in matrix["gains"]:
        single = f"{row['single']:.3f} ({row['single_worst_seed']:.3f}) {row['best_single']}"
        several = f"{row['several']:.3f} ({row['several_worst_seed']:.3f})"
        gain = f"{row['gain']:+.3f} ({row['gain_95'][0]:+.3f} to {row['gain_95'][1]:+.3f})"
        lines.append(f"| {row['left_out']} | {row['photographs']} | {row['figure']} | {single} | {several} | {gain} |")
    lines += _verdict(matrix["gains"])
    lines += ["", "Every cell:", "", "| trained on | tested on | how | n | disc Dice | cup Dice | vCDR error |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in matrix["matrix"]:
        figures = " | ".join(
            f"{row[figure]:.3f} ({row[f'{figure}, worst seed']:.3f})" if figure in row else "–" for figure in FIGURES
        )
        names = " + ".join(row["trained_on"])
        lines.append(f"| {names} | {row['tested_on']} | {row['how']} | {row['photographs']} | {figures} |")
    for name, choice in matrix["choices"].items():
        recipe = ", ".join(f"{key}={value}" for key, value in choice["recipe"])
        lines += ["", f"Chosen for {name} without it: {recipe}; scores of the candidates: {choice['scores']}"]
    if matrix["interval_on_new_sources"]:
        lines += [
            "",
            "90 % interval of the vertical ratio, calibrated on the other left-out sources alone, first seed:",
        ]
        lines += [""]
        lines += ["| left out | half width | covered | 95 % | mean width |", "|---|---|---|---|---|"]
        for row in matrix["interval_on_new_sources"]:
            low, high = row["coverage_95"]
            covered = f"{row['covered']} of {row['photographs']}: {row['coverage']:.3f} | {low:.3f}–{high:.3f}"
            lines.append(f"| {row['source']} | {row['half_width']:.3f} | {covered} | {row['mean_width']:.3f} |")
    return "\n".join(lines) + "\n"


def _verdict(gains: Sequence[Mapping[str, Any]]) -> list[str]:
    """How often several sources win, and where they do not, what the sizes of the outlines tell of the reason."""
    if not gains:
        return []
    sure = [row for row in gains if row["gain_95"][0] > 0]
    lost = [row for row in gains if row["gain_95"][1] < 0]
    lines = [
        "",
        f"Several sources are better in {len(sure)} of {len(gains)} rows, worse in {len(lost)}; in the others the "
        "interval holds 0.",
    ]
    behind = [row for row in gains if row["gain"] <= 0]
    if behind:
        lines += ["", "Where several do not beat the best single one:", ""]
    return [*lines, *(f"- {row['left_out']}, {row['figure']}: {_why(row)}" for row in behind)]


def _why(row: Mapping[str, Any]) -> str:
    several, single, outline = row["several_radius"], row["single_radius"], row["outline"]
    if not several or not single:
        return "the results do not tell the outlines' sizes."
    sizes = (
        f"the {outline} is drawn with {several:.2f} times the annotated radius (median), after {row['best_single']} "
        f"alone with {single:.2f}."
    )
    nearer = abs(several - 1) - abs(single - 1)
    if nearer > FAR:
        return f"{sizes} The annotators of {row['best_single']} draw as this source's do; the others draw otherwise."
    if nearer < -FAR:
        return f"{sizes} It is not the size: several are nearer to it."
    return f"{sizes} The size does not tell them apart."


def write_matrix(matrix: Mapping[str, Any], out: Path, about: Sequence[str] = ()) -> str:
    """Write cross.json, cross.md and left_out.csv (the first seed's answers on each left-out source); the tables."""
    text = as_markdown(matrix, about)
    write_csv(matrix["left_out"], out / "left_out.csv")
    figures = {name: value for name, value in matrix.items() if name != "left_out"}
    encoded = json.dumps({"about": list(about), **figures}, indent=1) + "\n"
    for name, content in (("cross.json", encoded), ("cross.md", text)):
        with whole_file(out / name) as partial:
            partial.write_text(content, encoding="utf-8")
    return text
