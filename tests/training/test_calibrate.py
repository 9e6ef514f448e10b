"""Tests of `training.calibrate`: intervals of made-up errors."""

import numpy as np
import pytest

from tests.training.results import result, several
from training.calibrate import OPEN, best_thresholds, coverage_on_new_sources, interval, limits

NINE = [0.01 * n for n in range(1, 10)]  # the ceil(10 × 0.9)-th smallest is 0.09


def test_the_widest_source_decides():
    found = interval(several("a", NINE), [*several("b", [2 * e for e in NINE])])
    assert found["vertical_half_width"] == pytest.approx(0.18)
    assert found["widest_source"] == "b, left out"


def test_too_few_photographs_give_no_narrow_interval():
    few = several("b", [0.01] * 8)
    assert interval(few, [])["vertical_half_width"] == 1  # eight cannot tell what holds nine times of ten
    assert interval(few, several("a", NINE))["vertical_half_width"] == pytest.approx(0.09)  # a alone tells


def test_a_source_has_no_part_in_the_interval_that_is_measured_on_it():
    left_out = [*several("a", NINE), *several("b", [2 * e for e in NINE]), *several("c", [0.0] * 9)]
    rows = {row["source"]: row for row in coverage_on_new_sources(left_out)}
    assert rows["a"]["half_width"] == pytest.approx(0.18)  # of b
    assert rows["b"]["half_width"] == pytest.approx(0.09)  # of a: its own 0.18 does not count
    assert rows["b"]["covered"] == 4  # 0.02, 0.04, 0.06 and 0.08
    assert rows["b"]["coverage"] == pytest.approx(4 / 9, abs=1e-4)
    low, high = rows["b"]["coverage_95"]
    assert low < 4 / 9 < high
    assert rows["b"]["calibrated_on"] == ["a", "c"]


def test_the_width_is_of_the_part_that_a_ratio_can_take():
    left_out = [*several("a", [0.1] * 9, truth=0.9), *several("b", [0.2] * 9, truth=0.5)]
    rows = {row["source"]: row for row in coverage_on_new_sources(left_out)}
    assert rows["a"]["mean_width"] == pytest.approx(0.2)  # drawn 1.0, half width 0.2: from 0.8 to 1


def test_one_left_out_source_says_nothing_of_another():
    assert coverage_on_new_sources(several("a", NINE)) == []


def test_like_sources_are_covered_as_promised():
    random = np.random.default_rng(5)
    left_out = [r for name in "abc" for r in several(name, list(random.normal(0, 0.05, 400)))]
    for row in coverage_on_new_sources(left_out):
        assert row["coverage"] == pytest.approx(0.9, abs=0.05)


def test_a_new_source_widens_the_limits_to_what_its_good_photographs_need():
    known = [result("a", distance=1.0, cup_confidence=0.95) for _ in range(50)]
    new = [result("b", distance=4.0, cup_confidence=0.7) for _ in range(50)]
    alone, both = limits(known, OPEN), limits(known, OPEN, new)
    assert (alone.distance, both.distance) == (3.0, 4.0)
    assert (alone.cup_confidence, both.cup_confidence) == (0.935, 0.7)  # 1 - 1.3 × 0.05; as the new source stands


def test_a_new_source_that_is_easy_does_not_narrow_the_limits():
    known, easy = [result("a", distance=2.0) for _ in range(50)], [result("b", distance=0.5) for _ in range(50)]
    assert limits(known, OPEN, easy) == limits(known, OPEN)


def test_the_locator_has_to_be_as_sure_as_with_nearly_all_photographs_that_a_table_tells_of():
    known = [result("a", locator_confidence=0.95) for _ in range(50)]
    new = [result("b", locator_confidence=0.7) for _ in range(50)]
    older = [result("c", locator_confidence=None) for _ in range(50)]
    assert limits(known, OPEN, older).locator_confidence == 0.727  # 0.765 × 0.95
    assert limits(known, OPEN, [*new, *older]).locator_confidence == 0.7
    assert limits(older, OPEN).locator_confidence == 0


def test_no_training_photograph_of_a_source_that_nothing_judges_is_refused():
    known = [result("a", disc_confidence=0.97, distance=1.0, sharpness=1.0) for _ in range(50)]
    odd = [result("b", disc_confidence=0.82689, distance=7.0, sharpness=0.1)]
    nothing = [result("b", missed=True, disc_confidence=0.1, distance=50.0), result("b", cup_confidence=0.0)]
    strict, mild = limits(known, OPEN), limits(known, OPEN, trained_on=[*known, *odd, *nothing])
    assert strict.disc_confidence > 0.9
    assert mild.disc_confidence == 0.817
    assert 50 > mild.distance >= 7.0 > strict.distance
    assert mild.sharpness == 0.09 < strict.sharpness
    assert mild.cup_confidence == strict.cup_confidence


def test_each_threshold_is_the_one_with_the_highest_dice_every_source_counting_alike():
    trials = {
        0.5: [result("large", disc=0.9, cup=0.8), result("large", disc=0.9, cup=0.8), result("small", disc=0.5)],
        0.7: [result("large", disc=0.8, cup=0.7), result("large", disc=0.8, cup=0.7), result("small", disc=0.7)],
    }
    chosen = best_thresholds(trials)
    assert (chosen.disc, chosen.cup) == (0.7, 0.5)  # 0.75 beats 0.7 for the disc; the cup of both small ones is 0.8


@pytest.mark.parametrize(("gain", "chosen"), [(0.002, 0.5), (0.02, 0.7)])
def test_thresholds_stay_at_a_half_unless_another_gains_more_than_seeds_differ_by(gain: float, chosen: float):
    trials = {
        0.4: [result(disc=0.7, cup=0.7)],
        0.5: [result(disc=0.9, cup=0.8)],
        0.7: [result(disc=0.9 + gain, cup=0.8 + gain)],
    }
    thresholds = best_thresholds(trials)
    assert (thresholds.disc, thresholds.cup) == (chosen, chosen)


def test_drawn_like_some_experts_the_cup_is_judged_by_theirs_and_the_disc_by_all_sources():
    trials = {
        0.5: [result("theirs", disc=0.960, cup=0.9), result("other", disc=0.940, cup=0.6)],
        0.7: [result("theirs", disc=0.955, cup=0.8), result("other", disc=0.947, cup=0.8)],
    }
    by_looks, told = best_thresholds(trials), best_thresholds(trials, {"theirs"})
    assert (by_looks.disc, by_looks.cup) == (0.5, 0.7)
    assert (told.disc, told.cup) == (0.7, 0.5)  # 0.951 is more than 0.950, however little


def test_a_source_without_cups_judges_discs_alone():
    trials = {
        0.5: [result("cups", disc=0.9, cup=0.9), result("discs", disc=0.8, cup=None)],
        0.7: [result("cups", disc=0.9, cup=0.8), result("discs", disc=0.9, cup=None)],
    }
    chosen = best_thresholds(trials, {"cups"})
    assert (chosen.disc, chosen.cup) == (0.7, 0.5)
