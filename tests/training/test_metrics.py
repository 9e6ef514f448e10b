"""Tests of `training.metrics` and `training.calibrate`."""

import numpy as np
import pytest

from training.metrics import bootstrap_interval, conformal_half_width, dice


def test_dice_of_half_an_overlap():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3] = True, True
    assert dice(first, second) == 0.5
    assert dice(first, ~first) == 0
    assert dice(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1


def test_bootstrap_interval_holds_the_mean_and_narrows_with_more_photographs():
    few = np.random.default_rng(1).normal(0.8, 0.1, 10)
    many = np.random.default_rng(1).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(few)
    assert low < few.mean() < high
    narrow = bootstrap_interval(many)
    assert narrow[1] - narrow[0] < (high - low) / 3


def test_conformal_width_takes_the_rank_that_covers_a_new_photograph():
    errors = [-0.01 * n for n in range(1, 20)]  # 19 errors: rank ceil(20 × 0.9) = 18
    assert conformal_half_width(errors, 0.9) == pytest.approx(0.18)
    assert conformal_half_width([0.05], 0.9) == pytest.approx(0.05)


def test_conformal_width_covers_new_draws():
    random = np.random.default_rng(2)
    hits = [abs(random.normal()) <= conformal_half_width(list(random.normal(size=60)), 0.9) for _ in range(1500)]
    assert np.mean(hits) == pytest.approx(0.905, abs=0.02)
