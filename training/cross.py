"""Trains and tests the matrix of sources: each alone, all but one, all. What do several sources gain on a new one?

The table is the central one of Civit-Masot et al. 2019: a network trained on one source, or on several, is tested on a
source that it never saw. Sources without a held-out part (discs alone, whole photographs for the locator) judge
nothing and train in every cell, save those of a left-out source's group.

A recipe may be chosen inside: with A left out, by training on B and testing on C and the reverse; A has no part in it.
"""

import dataclasses
import itertools
import json
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from model.errors import InvalidConfiguration
from training.accelerator import Accelerator
from training.cache import Cache
from training.calibrate import coverage_on_new_sources
from training.config import Preset, leave_out_sources, preset_from_dict
from training.evaluate import Result, read_csv, write_csv
from training.finish import Facts
from training.metrics import bootstrap_interval
from training.publish import stage_version
from training.run import train_run
from training.saved_run import save_run
from training.sources.example import digest
from training.split import read_splits
from training.whole_file import whole_file

FIGURES = ("disc Dice", "cup Dice", "vCDR error")
Recipe = tuple[tuple[str, str], ...]  # what differs from the preset: (path of a key, TOML value) of each


@dataclass(frozen=True)
class Cell:
    """One run of the matrix."""

    sources: tuple[str, ...]  # trained on, of those that judge; in the order of their names
    seed: int
    recipe: Recipe = ()

    @property
    def name(self) -> str:
        """Of its folder; no two cells share one."""
        parts = ["+".join(self.sources), *(f"{key}={value}" for key, value in self.recipe), f"seed={self.seed}"]
        return ",".join(parts).replace("/", "_")


Cells = Callable[[Cell], Sequence[Result]]  # results of a cell on its left-out sources and its held-out photographs


def judging_sources(preset: Preset, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The sources that are left out and judged in turn: those that hold photographs out, or the ones asked for.

    Raises:
        InvalidConfiguration: fewer than two, unknown ones, ones that hold nothing out, or two of one group.
    """
    able = {source.name: source.group or source.name for source in preset.sources if source.held_out}
    names = tuple(sorted(wanted or able))
    wrong = [f"{name}: no source of {preset.name} that holds photographs out" for name in names if name not in able]
    groups = [able[name] for name in names if name in able]
    wrong += [f"{group}: only one source of a group can judge" for group in set(groups) if groups.count(group) > 1]
    if len(names) < 2:
        wrong.append("at least two sources must hold photographs out")
    if wrong:
        raise InvalidConfiguration("\n".join(wrong))
    return names


def recipes(choices: Sequence[str]) -> list[Recipe]:
    """Every combination of `KEY=VALUE,VALUE`, such as segmenter.steps=1800,3600; one empty recipe without choices.

    Raises:
        InvalidConfiguration: not of that form.
    """
    options = []
    for choice in choices:
        key, _, values = choice.partition("=")
        if not key or not values:
            raise InvalidConfiguration(f"--choose {choice}: must be KEY=VALUE,VALUE, such as segmenter.steps=1800,3600")
        options.append([(key, value) for value in values.split(",")])
    return list(itertools.product(*options))


def preset_of_cell(preset: Preset, cell: Cell, judges: Sequence[str]) -> Preset:
    """The preset with the cell's recipe and seed, every judging source but the cell's own left out.

    Raises:
        InvalidConfiguration: the recipe names no key of the preset, or an impossible value.
    """
    values = preset.as_dict()
    for key, text in cell.recipe:
        *parents, last = key.split(".")
        place: Any = values
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise InvalidConfiguration(f"--choose {key}: no such key in a preset")
        try:
            place[last] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            place[last] = text
    chosen = dataclasses.replace(preset_from_dict(values), seed=cell.seed)
    return leave_out_sources(chosen, tuple(name for name in judges if name not in cell.sources))


def with_steps(preset: Preset, steps: int) -> Preset:
    """The preset with another number of steps for both networks."""
    return dataclasses.replace(
        preset, locator=preset.locator.with_steps(steps), segmenter=preset.segmenter.with_steps(steps)
    )


def run_cell(
    preset: Preset,
    cell: Cell,
    data: Path,
    out: Path,
    facts: Facts,
    console: Console,
    accelerator: Accelerator,
    cache: Cache | None = None,
) -> list[Result]:
    """Train a cell and test it through the product's own way; one that is finished is read, a stopped one goes on.

    Args:
        preset: of `preset_of_cell`.
        out: the matrix's folder; the cell's own is below it, with the run (`cupdisc-train publish` takes it),
            `photographs.csv` and, written last, `cell.json`.
        cache: the photographs as they were prepared; each cell decodes them anew without it.
    Raises:
        InvalidConfiguration: the folder holds a cell of another preset or of other photographs.
    """
    folder = out / cell.name
    splits = read_splits(preset, data, cache)
    digests = {name: digest([*split.training, *split.held_out]) for name, split in splits.items()}
    identity = json.loads(json.dumps({"preset": preset.as_dict(), "digests": digests}))
    finished = folder / "cell.json"
    if finished.is_file():
        if json.loads(finished.read_text(encoding="utf-8")) != identity:
            raise InvalidConfiguration(f"{folder}: made by another preset, data or code; take another --out")
        return read_csv(folder / "photographs.csv")
    console.print(f"cell {cell.name}")
    trained = train_run(preset, data, folder, console, accelerator, cache=cache)
    save_run(trained, folder)
    with tempfile.TemporaryDirectory(prefix="cupdisc-") as version:
        _, results = stage_version(trained, facts, Path(version), console)
    write_csv(results, folder / "photographs.csv")
    with whole_file(finished) as partial:
        partial.write_text(json.dumps(identity, indent=1), encoding="utf-8")
    return results


def cross(judges: Sequence[str], seeds: Sequence[int], candidates: Sequence[Recipe], run: Cells) -> dict[str, Any]:
    """The whole matrix, as JSON types.

    Args:
        judges: of `judging_sources`.
        candidates: of `recipes`; the first one where there is nothing to choose by.
        run: gives a cell's results.
    Returns:
        `gains`, one row per left-out source and figure; `matrix`, one row per set of sources and judging source;
        `choices`, the recipe for each left-out source, and for all, with the scores it was chosen by.
    """
    inner = _inner_scores(judges, seeds, candidates, run)
    choices = {judge: _best(inner, candidates, judge) for judge in judges}
    shipped = _best(inner, candidates, None)
    gains: list[dict[str, Any]] = []
    left_out_results: list[Result] = []
    matrix: dict[tuple[tuple[str, ...], str], list[list[Result]]] = {}

    def answers(sources: tuple[str, ...], recipe: Recipe, judge: str) -> list[list[Result]]:
        found = [[r for r in run(Cell(sources, seed, recipe)) if r.source == judge] for seed in seeds]
        matrix[sources, judge] = found
        return found

    for judge in judges:
        others = tuple(name for name in judges if name != judge)
        recipe = choices[judge]["recipe"]
        several = answers(others, recipe, judge)
        singles = {name: answers((name,), recipe, judge) for name in others}
        left_out_results += several[0]
        if len(others) > 1:
            gains += [_gain(judge, figure, several, singles) for figure in FIGURES if _values(several[0], figure)]
    for judge in judges:
        answers((judge,), shipped["recipe"], judge)
        answers(tuple(judges), shipped["recipe"], judge)
    return {
        "seeds": list(seeds),
        "gains": gains,
        "matrix": [_matrix_row(sources, judge, found) for (sources, judge), found in sorted(matrix.items())],
        "choices": {**choices, "all": shipped} if len(candidates) > 1 else {},
        "interval_on_new_sources": coverage_on_new_sources(left_out_results),
        "left_out": left_out_results,
    }


def _inner_scores(
    judges: Sequence[str], seeds: Sequence[int], candidates: Sequence[Recipe], run: Cells
) -> dict[tuple[frozenset[str], str, int], float]:
    """({two left-out sources}, the one tested, candidate) → mean of disc and cup Dice on it, over all seeds.

    Empty without a choice.
    """
    if len(candidates) == 1:
        return {}
    if len(judges) < 3:
        raise InvalidConfiguration("choosing a recipe without the left-out source takes at least three sources")
    scores = {}
    for number, candidate in enumerate(candidates):
        for pair in itertools.combinations(judges, 2):
            rest = tuple(name for name in judges if name not in pair)
            tested = [run(Cell(rest, seed, candidate)) for seed in seeds]
            for judge in pair:
                answers = [[r for r in results if r.source == judge] for results in tested]
                means = [_over_seeds(answers, f)[0].mean() for f in FIGURES[:2] if _values(answers[0], f)]
                scores[frozenset(pair), judge, number] = float(np.mean(means))
    return scores


def _best(
    scores: Mapping[tuple[frozenset[str], str, int], float],
    candidates: Sequence[Recipe],
    left_out: str | None,
) -> dict[str, Any]:
    """The candidate with the highest mean score; where a source is left out, over runs without it tested on others."""
    if not scores:
        return {"recipe": candidates[0], "scores": []}
    counting = {
        key: score for key, score in scores.items() if left_out is None or (left_out in key[0] and left_out != key[1])
    }
    means = [
        float(np.mean([score for (_, _, number), score in counting.items() if number == i]))
        for i in range(len(candidates))
    ]
    return {"recipe": candidates[int(np.argmax(means))], "scores": [round(mean, 4) for mean in means]}


def _values(results: Sequence[Result], figure: str) -> dict[str, float]:
    """Photograph → figure, where annotated."""
    if figure == "vCDR error":
        return {r.id: abs(error) for r in results if (error := r.vertical_error) is not None}
    if figure == "disc Dice":
        return {r.id: r.disc_dice for r in results}
    return {r.id: r.cup_dice for r in results if r.cup_dice is not None}


def _over_seeds(found: Sequence[Sequence[Result]], figure: str) -> tuple[np.ndarray, float]:
    """(n,) mean over the seeds of each photograph, and the mean of the worst seed."""
    tables = [_values(results, figure) for results in found]
    names = sorted(tables[0])
    values = np.array([[table[name] for name in names] for table in tables])
    worst = max if figure == "vCDR error" else min
    return values.mean(axis=0), float(worst(values.mean(axis=1)))


def _gain(
    judge: str, figure: str, several: Sequence[Sequence[Result]], singles: Mapping[str, Sequence[Sequence[Result]]]
) -> dict[str, Any]:
    """Several sources against the best single one, photograph by photograph; a positive gain is better.

    The best one is the best on this very source: a choice that no user could make, and that speaks against several.
    """
    mine, worst = _over_seeds(several, figure)
    sign = -1 if figure == "vCDR error" else 1
    by_single = {name: _over_seeds(found, figure) for name, found in singles.items()}
    best = max(by_single, key=lambda name: sign * float(by_single[name][0].mean()))
    gain = sign * (mine - by_single[best][0])
    outline = "disc" if figure == "disc Dice" else "cup"
    return {
        "left_out": judge,
        "figure": figure,
        "photographs": len(mine),
        "best_single": best,
        "single": round(float(by_single[best][0].mean()), 4),
        "single_worst_seed": round(by_single[best][1], 4),
        "several": round(float(mine.mean()), 4),
        "several_worst_seed": round(worst, 4),
        "gain": round(float(gain.mean()), 4),
        "gain_95": [round(value, 4) for value in bootstrap_interval(gain.tolist())],
        "outline": outline,  # whose radius the next two tell, drawn over annotated
        "several_radius": _radius(several, outline),
        "single_radius": _radius(singles[best], outline),
    }


def _radius(found: Sequence[Sequence[Result]], outline: str) -> float | None:
    """Median radii ratio over all seeds' answers; None where the results do not tell it."""
    name = f"{outline}_radii_ratio"
    known = [value for results in found for r in results if (value := getattr(r, name)) is not None]
    return round(float(np.median(known)), 4) if known else None


def _matrix_row(sources: tuple[str, ...], judge: str, found: Sequence[Sequence[Result]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trained_on": list(sources),
        "tested_on": judge,
        "how": "held out" if judge in sources else "left out",
        "photographs": len(found[0]),
    }
    for figure in FIGURES:
        if not _values(found[0], figure):
            continue  # no cup is annotated
        values, worst = _over_seeds(found, figure)
        row[figure] = round(float(values.mean()), 4)
        row[f"{figure}, worst seed"] = round(worst, 4)
    return row


def whole_numbers(text: str) -> tuple[int, ...]:
    """Seeds, as "1,2". Raises InvalidConfiguration where they are none, or one stands twice."""
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise InvalidConfiguration(f"--seeds {text}: must be different whole numbers with commas")
    return tuple(map(int, numbers))
