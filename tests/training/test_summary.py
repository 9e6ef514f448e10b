"""Tests of `training.summary`: figures of made-up photographs, worked out by hand."""

import numpy as np
import pytest

from tests.training.results import result, several
from training.summary import errors_by_coverage, summarise


def test_errors_have_a_mean_a_bias_and_percentiles():
    (row,) = summarise(several("clinic", [-0.1, 0.0, 0.1, 0.2]), "left out")
    assert row["vertical_mae"] == pytest.approx(0.1)
    assert row["vertical_bias"] == pytest.approx(0.05)
    assert row["vertical_error_percentiles"]["50"] == pytest.approx(0.1)
    assert row["vertical_error_percentiles"]["75"] == pytest.approx(0.125)


def test_a_percentile_has_its_interval():
    (row,) = summarise(several("clinic", [0.01 * n for n in range(1, 8)]), "left out")
    assert row["vertical_error_percentiles"]["50"] == pytest.approx(0.04)
    # a resample's median is at most the smallest with P(Bin(7, 1/7) > 3) = 1.1 %, at most the second with 12 %
    assert row["vertical_error_percentiles_95"]["50"] == pytest.approx([0.02, 0.06])


def test_the_error_of_the_surest_has_its_interval():
    sure = several("clinic", [0.01] * 10, cup_confidence=0.9)
    (row,) = summarise([*several("clinic", [0.21] * 10, cup_confidence=0.2), *sure], "left out")
    assert row["vertical_mae_of_the_surest"]["0.5"] == pytest.approx(0.01)
    # 97.5 % of resamples hold 6 of the sure ones at least: 6 × 0.01 + 4 × 0.21 over 10
    assert row["vertical_mae_of_the_surest_95"]["0.5"] == pytest.approx([0.01, 0.09])


def test_a_refused_photograph_counts_like_any_other():
    (row,) = summarise([result(disc=1.0), result(identity="b", disc=0.0, gradable=False, missed=True)], "held out")
    assert row["disc_dice"] == 0.5
    assert (row["discs_missed"], row["not_gradable"], row["photographs"]) == (1, 1, 2)


def test_distances_stand_in_pixels_and_in_disc_diameters():
    nothing_drawn = result(identity="b", disc_hausdorff95=None)
    (row,) = summarise([result(disc_hausdorff95=20.0, disc_diameter=200.0), nothing_drawn], "held out")
    assert row["disc_hausdorff95"] == 20
    assert row["disc_hausdorff95_in_disc_diameters"] == pytest.approx(0.1)
    assert row["disc_hausdorff95_unknown"] == 1


def test_the_interval_covers_what_lies_in_it():
    answers = [result(identity=str(n), truth=0.1 * n, interval_low=0.25, interval_high=0.75) for n in range(10)]
    (row,) = summarise(answers, "held out")  # 0.3 to 0.7 lie inside
    assert row["interval_coverage"] == 0.5
    assert row["interval_width"] == 0.5
    assert row["interval_coverage_95"] == pytest.approx([0.1871, 0.8129], abs=1e-4)  # Clopper and Pearson, 5 of 10


def test_the_ratio_tells_glaucoma_apart_as_well_as_its_pairs_do():
    eyes = [(0.8, True), (0.4, True), (0.5, False), (0.3, False)]
    answers = [result(identity=str(n), drawn=drawn, glaucoma=ill) for n, (drawn, ill) in enumerate(eyes)]
    (row,) = summarise(answers, "held out")
    assert row["glaucoma_auc"] == 0.75
    assert row["glaucoma_auc_annotated"] == 0.5  # all are annotated with 0.5
    assert (row["with_glaucoma"], row["without_glaucoma"]) == (2, 2)


def test_the_surest_come_first_in_the_risk():
    sure = several("clinic", [0.01], cup_confidence=0.9)
    unsure = several("clinic", [-0.09], cup_confidence=0.2)
    assert errors_by_coverage([*unsure, *sure]) == pytest.approx([0.01, 0.05])


def test_a_source_without_cups_has_disc_figures_alone():
    pixels = np.ones((2, 10, 3))
    pixels[1] = 0
    (row,) = summarise([result(cup=None, pixels=pixels)], "held out")
    assert "disc_calibration_error" in row
    assert not any(key.startswith(("cup_dice", "cup_h", "cup_c", "vertical", "interval")) for key in row)


def test_each_source_stands_for_itself():
    rows = summarise([result("b", disc=0.5), result("a", disc=0.7)], "held out")
    assert [(row["source"], row["disc_dice"]) for row in rows] == [("a", 0.7), ("b", 0.5)]
