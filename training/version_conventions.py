"""What a run learnt of its sources' ways of annotating → what its version can be asked for, and how well that fits."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from model import artefact, conventions
from model.artefact import Artefact, Manifest
from model.conventions import Biases, Convention, Conventions
from model.errors import CorruptVersion
from model.segmenter import Segmenter, Thresholds
from training.config import Preset, convention_of
from training.conventions import shifted
from training.evaluate import evaluate
from training.run import Trained
from training.split import Split
from training.summary import summarise

OWN = "held out, drawn by its own convention"  # of figures: `how`


def write_conventions(
    trained: Trained,
    manifest: Manifest,
    folder: Path,
    choose: Callable[[Segmenter, list[str]], Thresholds],
    console: Console,
) -> None:
    """Into a folder that holds the networks of a run; nothing where it learnt no convention apart.

    Only conventions of which cups were learnt are kept. The one that the version draws keeps its thresholds; those of
    the others are chosen on training photographs of their own sources.

    Args:
        manifest: with the thresholds of what the version draws.
        choose: the best thresholds of a segmenter for training photographs of some sources.
    """
    sources = {name: own for name, own in _sources_of(trained.preset).items() if _has_cups(trained.splits, own)}
    if not any(name in trained.shifts for name in sources):
        return
    drawn = Thresholds.from_dict(manifest.thresholds)
    standing, each = _biases(trained, [name for name in trained.shifts if name in sources])
    try:
        conventions.found(trained.segmenter.get_weights(), standing)
    except CorruptVersion:  # engines find biases by their values, and a network that hardly learnt has some twice
        console.print("the version draws by no convention on request: its segmenter's biases are not told apart")
        return
    found = Conventions(standing, {name: Convention(own, drawn.disc, drawn.cup) for name, own in each.items()})
    conventions.write(found, folder)
    version = Segmenter(artefact.write(folder, manifest))
    for name, before in found.each.items():
        if name != found.drawn:
            chosen = choose(version.in_convention(name), sources[name])
            found.each[name] = dataclasses.replace(before, disc=chosen.disc, cup=chosen.cup)
    conventions.write(found, folder)


def copy_conventions(version: Path, folder: Path) -> None:
    """Of a version whose segmenter lies in the folder too."""
    if (version / conventions.FILE).is_file():
        shutil.copy(version / conventions.FILE, folder)


def own_figures(
    version: Artefact, preset: Preset, splits: Mapping[str, Split], console: Console
) -> list[dict[str, Any]]:
    """Figures of each source's held-out photographs, drawn as that source's annotators do: what the answer's
    convention costs where another one was annotated. Nothing of runs that leave a source out: they are trials."""
    if any(split.left_out for split in splits.values()):
        return []
    segmenter, rows = Segmenter(version), []
    for name, own in _sources_of(preset).items():
        examples = [example for source in own for example in splits[source].held_out]
        if examples and name in segmenter.conventions and name != segmenter.convention:
            console.print(f"evaluating {len(examples)} photographs, drawn as {name}")
            rows += summarise(evaluate(segmenter.in_convention(name), examples), OWN)
    return rows


def _sources_of(preset: Preset) -> dict[str, list[str]]:
    """The names of sources by their convention."""
    found: dict[str, list[str]] = {}
    for source in preset.sources:
        found.setdefault(convention_of(source), []).append(source.name)
    return found


def _has_cups(splits: Mapping[str, Split], sources: list[str]) -> bool:
    return any(example.cup_annotated for source in sources for example in splits[source].training)


def _biases(trained: Trained, names: list[str]) -> tuple[Biases, dict[str, Biases]]:
    """Those that change with the convention: as they stand in the segmenter, and by convention."""
    weights, shares = trained.segmenter.get_weights(), {n: row["share"] for n, row in trained.conventions.items()}
    changing = [i for i in range(len(weights)) if any(shifts[i].any() for shifts in trained.shifts.values())]

    def of(all_weights: list[np.ndarray]) -> Biases:
        return tuple(all_weights[i] for i in changing)

    each = {name: of(shifted(weights, trained.shifts, shares, {name: 1.0})) for name in names}
    return of(weights), each
