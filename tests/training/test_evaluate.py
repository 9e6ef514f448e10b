"""Tests of `training.evaluate`: tables of results."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model.artefact import Artefact
from model.errors import InvalidConfiguration
from model.segmenter import Segmenter
from tests.training.full_disk import room_for
from tests.training.results import result
from training import cli
from training.calibrate import OPEN
from training.evaluate import COLUMNS, evaluate, overlaps, read_csv, read_left_out, write_csv
from training.judging import HELD_OUT, LEFT_OUT, NEVER_SEEN
from training.run import Trained
from training.sources.folder import read_source
from training.whole_file import CannotWrite

TABLE = Path(__file__).parents[2] / "training" / "left_out" / "drishti-gs1.csv"


def test_a_table_gives_back_what_was_written(tmp_path: Path):
    results = [
        result(identity="001", glaucoma=True, interval_low=0.4, interval_high=0.6),
        result(identity="002", gradable=False, reasons="too_blurred cup_uncertain", glaucoma=False),
        result(identity="003", cup=None, disc_hausdorff95=None),
    ]
    write_csv(results, tmp_path / "table.csv")
    assert read_csv(tmp_path / "table.csv") == results


def test_a_table_from_before_there_were_distances_is_read(tmp_path: Path):
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    older = [name for name in rows[0] if name != "glaucoma" and not name.endswith("hausdorff95")]
    with (tmp_path / "older.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, older, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    results, whole = read_csv(tmp_path / "older.csv"), read_csv(TABLE)
    assert len(results) == 50
    assert results == [replace(each, glaucoma=None, disc_hausdorff95=None, cup_hausdorff95=None) for each in whole]
    assert whole[0].disc_hausdorff95 is not None


def test_held_out_photographs_of_known_sources_are_no_evidence_about_new_ones(tmp_path: Path):
    write_csv(
        [
            result("hospital", how=LEFT_OUT),
            result("clinic", how=HELD_OUT),
            result("practice", how=NEVER_SEEN),
        ],
        tmp_path / "table.csv",
    )
    assert [each.source for each in read_left_out([tmp_path / "table.csv"])] == ["hospital", "practice"]
    write_csv([result("clinic", how=HELD_OUT)], tmp_path / "known.csv")
    with pytest.raises(InvalidConfiguration, match=r"known\.csv: no photograph of a source that was left out"):
        read_left_out([tmp_path / "table.csv", tmp_path / "known.csv"])


def test_two_runs_on_the_same_photographs_are_no_more_photographs(tmp_path: Path):
    for name in ("one", "other"):
        write_csv([result("hospital", "007", how=LEFT_OUT)], tmp_path / f"{name}.csv")
    with pytest.raises(InvalidConfiguration, match=r"other\.csv: hospital/007 stands in .*one\.csv too"):
        read_left_out([tmp_path / "one.csv", tmp_path / "other.csv"])


def test_a_table_from_before_it_told_what_the_version_knew_is_evidence_as_a_whole(tmp_path: Path):
    write_csv([result("hospital"), result("clinic")], tmp_path / "older.csv")
    assert len(read_left_out([tmp_path / "older.csv"])) == 2


def test_a_full_disk_leaves_the_table_that_was_there(tmp_path: Path):
    write_csv([result(identity="001")], tmp_path / "table.csv")
    with room_for(1000), pytest.raises(CannotWrite, match=r"table\.csv"):
        write_csv([result(identity=f"{number:03}") for number in range(200)], tmp_path / "table.csv")
    assert [each.id for each in read_csv(tmp_path / "table.csv")] == ["001"]
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_pixels_are_not_in_the_table():
    assert "pixels" not in COLUMNS


def test_something_else_is_refused_by_name(tmp_path: Path):
    (tmp_path / "odd.csv").write_text("source,id\nclinic,1\n", encoding="utf-8")
    with pytest.raises(InvalidConfiguration, match=r"odd\.csv"):
        read_csv(tmp_path / "odd.csv")


def test_thresholds_are_tried_as_a_version_with_them_would_answer(
    drawn_run: tuple[Path, Trained], drawn_version: Artefact
):
    folder, _ = drawn_run
    examples = read_source(folder / "data" / "crops", "crops")[:3]
    version = Segmenter(drawn_version)
    tried = {each: version.with_thresholds(replace(OPEN, disc=each, cup=each)) for each in (0.3, 0.9)}
    found = overlaps(tried, examples)
    for threshold, segmenter in tried.items():
        answers = evaluate(segmenter, examples)
        assert [o.disc_dice for o in found[threshold]] == [r.disc_dice for r in answers]
        assert [o.cup_dice for o in found[threshold]] == [r.cup_dice for r in answers]
    assert found[0.3] != found[0.9]


def test_the_command_measures_another_convention_and_its_report_says_whose(
    drawn_run: tuple[Path, Trained],
    drawn_version: Artefact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry, data = drawn_version.folder.parents[1], drawn_run[0] / "data"
    told = {}
    for name in ("crops", "whole"):
        places = ("--registry", str(registry), "--data", str(data), "--report", str(tmp_path / name))
        monkeypatch.setattr(sys, "argv", ["cupdisc-train", "evaluate", "production", *places, "--convention", name])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
        assert f"drawn as {name}" in capsys.readouterr().out
        assert f"cups as drawn by {name}" in (tmp_path / name / "report.html").read_text(encoding="utf-8")
        told[name] = (tmp_path / name / "photographs.csv").read_text(encoding="utf-8")
    assert told["crops"] != told["whole"]
