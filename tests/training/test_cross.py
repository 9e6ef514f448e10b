"""Tests of `training.cross`: which runs there are, what is chosen from what, and one cell for real."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from model.errors import InvalidConfiguration
from tests.drawn import write_folder
from tests.trained import FACTS, small_preset
from tests.training.results import result
from training.accelerator import choose
from training.config import Preset
from training.cross import (
    Cell,
    cross,
    judging_sources,
    preset_of_cell,
    recipes,
    run_cell,
    whole_numbers,
    with_steps,
)
from training.cross_report import as_markdown, budget, write_matrix
from training.evaluate import Result, read_csv

JUDGES = ("a", "b", "c")
QUIET = Console(quiet=True)


class Runs:
    """Made-up runs: Dice on a left-out source is `base` plus 0.1 for each further source; remembers what was asked."""

    def __init__(self, better: str = "") -> None:
        self.better = better  # a recipe's value that adds 0.05 everywhere but on c
        self.asked: list[Cell] = []

    def __call__(self, cell: Cell) -> Sequence[Result]:
        self.asked.append(cell)
        results = []
        for source in JUDGES:
            dice = 0.9 if source in cell.sources else 0.5 + 0.1 * (len(cell.sources) - 1) + 0.02 * cell.seed
            if cell.recipe and (cell.recipe[0][1] == self.better) == (source != "c"):
                dice += 0.05
            results += [result(source, str(n), disc=dice, cup=dice, drawn=dice, truth=1.0) for n in range(3)]
        return results


def test_the_gain_is_that_of_all_others_over_the_best_single_one():
    found = cross(JUDGES, (1, 2), recipes(()), Runs())
    (row,) = [r for r in found["gains"] if (r["left_out"], r["figure"]) == ("b", "cup Dice")]
    assert row["single"] == pytest.approx(0.53)  # the mean of 0.52 and 0.54
    assert row["several"] == pytest.approx(0.63)
    assert row["several_worst_seed"] == pytest.approx(0.62)
    assert row["gain"] == pytest.approx(0.1)
    (error,) = [r for r in found["gains"] if (r["left_out"], r["figure"]) == ("b", "vCDR error")]
    assert error["gain"] == pytest.approx(0.1)  # less error is a gain
    assert error["several_worst_seed"] == pytest.approx(0.38)


def test_the_matrix_has_each_alone_all_but_one_and_all():
    runs = Runs()
    found = cross(JUDGES, (1,), recipes(()), runs)
    assert {"+".join(cell.sources) for cell in runs.asked} == {"a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"}
    how = {("+".join(r["trained_on"]), r["tested_on"]): r["how"] for r in found["matrix"]}
    assert how["b+c", "a"] == "left out"
    assert how["a+b+c", "a"] == "held out"
    assert how["a", "a"] == "held out"


def test_a_recipe_is_chosen_without_the_left_out_source():
    # On a and b the recipe 2 is better, on c the recipe 1. With c left out, only a and b speak: 2 is taken,
    # though 1 would be better on c. With a left out, b and c speak, one for each.
    found = cross(JUDGES, (1,), recipes(["segmenter.steps=1,2"]), Runs(better="2"))
    assert found["choices"]["c"]["recipe"] == (("segmenter.steps", "2"),)
    assert found["choices"]["c"]["scores"] == pytest.approx([0.52, 0.57])
    assert found["choices"]["a"]["scores"] == pytest.approx([0.545, 0.545])


def test_every_seed_has_a_say_in_the_choice():
    dice = {("1", 1): 0.95, ("1", 2): 0.6, ("2", 1): 0.7, ("2", 2): 0.7}  # by recipe and seed

    def run(cell: Cell) -> Sequence[Result]:
        found = dice[cell.recipe[0][1], cell.seed]
        return [result(source, "1", disc=found, cup=found) for source in JUDGES]

    chosen = cross(JUDGES, (1, 2), recipes(["segmenter.steps=1,2"]), run)["choices"]["c"]
    assert chosen["recipe"] == (("segmenter.steps", "1"),)
    assert chosen["scores"] == pytest.approx([0.775, 0.7])


def test_no_run_that_saw_the_left_out_source_has_a_say():
    runs = Runs(better="2")
    cross(JUDGES, (1,), recipes(["segmenter.steps=1,2"]), runs)
    assert {len(cell.sources) for cell in runs.asked[:6]} == {1}  # the choosing: two recipes, three pairs left out


def test_choosing_takes_three_sources():
    with pytest.raises(InvalidConfiguration, match="three sources"):
        cross(("a", "b"), (1,), recipes(["segmenter.steps=1,2"]), Runs())


def test_the_tables_are_written_whole(tmp_path: Path):
    found = cross(JUDGES, (1, 2), recipes(["x=1,2"]), Runs(better="2"))
    text = write_matrix(found, tmp_path)
    assert "| b | 3 | cup Dice |" in text
    assert "Chosen for c without it: x=2" in text
    assert (tmp_path / "cross.md").read_text(encoding="utf-8") == text == as_markdown(found)
    left_out = read_csv(tmp_path / "left_out.csv")  # one seed, each source by the run that never saw it
    assert len(left_out) == 9
    assert left_out[0].disc_dice == pytest.approx(0.5 + 0.1 + 0.02)  # two sources, seed 1


def test_the_report_says_why_several_sources_lose():
    """On c the run of a alone draws the cup as annotated; b's annotators draw it larger, and so does a run of both."""

    def run(cell: Cell) -> Sequence[Result]:
        size = {("a",): 1.0, ("b",): 1.4}.get(cell.sources, 1.2)
        return [
            result(source, str(n), cup=0.9 - abs(size - 1) / 2, cup_radii_ratio=size) for source in JUDGES for n in "12"
        ]

    found = cross(JUDGES, (1,), recipes(()), run)
    (row,) = [r for r in found["gains"] if (r["left_out"], r["figure"]) == ("c", "cup Dice")]
    assert (row["best_single"], row["single_radius"], row["several_radius"]) == ("a", 1.0, 1.2)
    (why,) = [line for line in as_markdown(found).splitlines() if line.startswith("- c, cup Dice")]
    assert "1.20 times the annotated radius" in why
    assert "annotators of a draw as this source's do" in why
    assert "several are nearer" not in why


def test_several_sources_that_win_need_no_excuse():
    assert "do not beat" not in as_markdown(cross(JUDGES, (1,), recipes(()), Runs()))


def test_the_budget_stands_above_the_figures(tmp_path: Path):
    preset = with_steps(small_preset(tmp_path, 2), 300)
    whole, crops, discs = preset.sources
    sources = (whole, dataclasses.replace(crops, group="g"), dataclasses.replace(discs, group="g"))
    runs = [{"seconds": {"locator": 60, "segmenter": 60 * n}, "device": "1 × CPU"} for n in (2, 4)]
    text = "\n".join(budget(dataclasses.replace(preset, sources=sources), ("crops", "whole"), runs))
    assert "on 1 × CPU: 2 runs of 3.0 to 5.0 minutes" in text
    assert "Segmenter: 300 steps of 8 photographs, 64 pixels" in text
    assert "With crops goes discs" in text


def test_sources_of_one_group_are_left_out_together(tmp_path: Path):
    preset = small_preset(tmp_path, 2)
    whole, crops, discs = preset.sources
    preset = dataclasses.replace(
        preset, sources=(whole, dataclasses.replace(crops, group="g"), dataclasses.replace(discs, group="g"))
    )
    cell = preset_of_cell(preset, Cell(("whole",), 7), ("crops", "whole"))
    assert [source.left_out for source in cell.sources] == [False, True, True]
    assert cell.seed == 7


def test_a_recipe_changes_the_preset(tmp_path: Path):
    preset = small_preset(tmp_path, 2)
    changed = preset_of_cell(
        preset, Cell(("whole",), 1, (("segmenter.loss", "log_dice"), ("roi_diameters", "1.8"))), ("whole",)
    )
    assert (changed.segmenter.loss, changed.roi_diameters) == ("log_dice", 1.8)
    with pytest.raises(InvalidConfiguration, match=r"segmenter\.nothing"):
        preset_of_cell(preset, Cell(("whole",), 1, (("segmenter.nothing", "1"),)), ("whole",))
    with pytest.raises(InvalidConfiguration, match="loss"):
        preset_of_cell(preset, Cell(("whole",), 1, (("segmenter.loss", "none"),)), ("whole",))


def test_wrong_wishes_are_told(tmp_path: Path):
    preset = small_preset(tmp_path, 2)
    assert judging_sources(preset) == ("crops", "whole")
    with pytest.raises(InvalidConfiguration, match="discs"):
        judging_sources(preset, ["discs", "whole"])
    with pytest.raises(InvalidConfiguration, match="--choose"):
        recipes(["steps"])
    with pytest.raises(InvalidConfiguration, match="--seeds"):
        whole_numbers("1,1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Preset, Path]:
    """One cell, trained for two steps on the drawn crops, the drawn whole photographs left out."""
    folder = tmp_path_factory.mktemp("cross")
    write_folder(folder / "data" / "whole", 4, seed=1)
    write_folder(folder / "data" / "crops", 6, seed=2, crops=True)
    write_folder(folder / "data" / "discs", 2, seed=3, cups=False)
    preset = with_steps(small_preset(folder, 1), 2)
    locator, segmenter = (
        dataclasses.replace(part, batch_size=4, network=dataclasses.replace(part.network, input_size=32, depth=2))
        for part in (preset.locator, preset.segmenter)
    )
    sources = tuple(dataclasses.replace(source, held_out=min(source.held_out, 2)) for source in preset.sources)
    preset = dataclasses.replace(preset, sources=sources, locator=locator, segmenter=segmenter)
    preset = preset_of_cell(preset, Cell(("crops",), 1), ("crops", "whole"))
    run(preset, folder)
    return preset, folder


def run(preset: Preset, folder: Path) -> list[Result]:
    cell = Cell(("crops",), 1)
    return run_cell(preset, cell, folder / "data", folder / "out", FACTS, QUIET, choose("cpu"))


def test_a_cell_tests_the_left_out_source_whole_and_its_own_on_what_was_held_out(finished: tuple[Preset, Path]):
    results = read_csv(finished[1] / "out" / "crops,seed=1" / "photographs.csv")
    assert {name: sum(r.source == name for r in results) for name in ("whole", "crops", "discs")} == {
        "whole": 4,
        "crops": 2,
        "discs": 0,
    }


def test_a_left_out_source_has_no_part_in_the_log(finished: tuple[Preset, Path]):
    log = (finished[1] / "out" / "crops,seed=1" / "segmenter.log.csv").read_text(encoding="utf-8")
    assert "crops" in log
    assert "whole" not in log


def test_a_finished_cell_is_read_not_run_again(finished: tuple[Preset, Path]):
    preset, folder = finished
    table = folder / "out" / "crops,seed=1" / "photographs.csv"
    changed = table.read_text(encoding="utf-8").replace("whole,eye000,", "whole,told,")
    table.write_text(changed, encoding="utf-8")
    assert "told" in {r.id for r in run(preset, folder)}


def test_a_cell_of_another_recipe_is_refused(finished: tuple[Preset, Path]):
    preset, folder = finished
    with pytest.raises(InvalidConfiguration, match="another --out"):
        run(with_steps(preset, 3), folder)
