"""Tests of `training.compare`."""

import pytest

from tests.training.results import result
from training.compare import compare, worse

OLD = [result("a", "1", disc=0.90, cup=0.80, drawn=0.6), result("a", "2", disc=0.94, cup=0.70, drawn=0.5)]


def test_gains_are_means_over_the_same_photographs():
    new = [result("a", "1", disc=0.92, cup=0.82, drawn=0.55), result("a", "2", disc=0.94, cup=0.70, drawn=0.5)]
    rows = {row["figure"]: row for row in compare([*new, result("b", "9")], OLD)}
    assert rows["disc Dice"]["gain"] == pytest.approx(0.01)
    assert rows["cup Dice"]["gain"] == pytest.approx(0.01)
    assert rows["vCDR error"]["gain"] == pytest.approx(0.025)  # from 0.05 to 0.025: less is better
    assert {row["source"] for row in rows.values()} == {"a"}


def test_a_loss_beyond_the_margin_is_named():
    rows = compare([result("a", "1", disc=0.90, cup=0.78, drawn=0.6), OLD[1]], OLD)  # cup: 0.01 worse in the mean
    assert worse(rows, 0.011) == []
    (line,) = worse(rows, 0.009)
    assert line.startswith("a: cup Dice 0.740 instead of 0.750 on 2 photographs")


def test_a_source_without_cups_is_compared_by_its_discs():
    rows = compare([result(cup=None)], [result(cup=None)])
    assert [row["figure"] for row in rows] == ["disc Dice"]
