"""Tests of `training.evaluate`: tables of results."""

from pathlib import Path

import pytest

from model.errors import InvalidConfiguration
from tests.training.results import result
from training.evaluate import COLUMNS, read_csv, write_csv

LEFT_OUT = Path(__file__).parents[2] / "training" / "left_out" / "drishti-gs1.csv"


def test_a_table_gives_back_what_was_written(tmp_path: Path):
    results = [
        result(identity="001", glaucoma=True, interval_low=0.4, interval_high=0.6),
        result(identity="002", gradable=False, reasons="too_blurred cup_uncertain", glaucoma=False),
        result(identity="003", cup=None, disc_hausdorff95=None),
    ]
    write_csv(results, tmp_path / "table.csv")
    assert read_csv(tmp_path / "table.csv") == results


def test_a_table_from_before_there_were_distances_is_read():
    results = read_csv(LEFT_OUT)
    assert len(results) == 50
    assert results[0].disc_dice == pytest.approx(0.97345, abs=1e-5)
    assert results[0].disc_hausdorff95 is None
    assert "glaucoma" not in LEFT_OUT.read_text(encoding="utf-8").splitlines()[0].split(",")


def test_pixels_are_not_in_the_table():
    assert "pixels" not in COLUMNS


def test_something_else_is_refused_by_name(tmp_path: Path):
    (tmp_path / "odd.csv").write_text("source,id\nclinic,1\n", encoding="utf-8")
    with pytest.raises(InvalidConfiguration, match=r"odd\.csv"):
        read_csv(tmp_path / "odd.csv")
