"""Tests of `training.metrics`: answers worked out by hand."""

import numpy as np
import pytest

from training.metrics import (
    binomial_interval,
    bootstrap_interval,
    calibration_interval,
    conformal_half_width,
    dice,
    expected_calibration_error,
    hausdorff_95,
    iou,
    radii_ratio,
    reliability,
    roc_area,
)


def square(top: int, left: int, side: int, shape: tuple[int, int] = (60, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_dice_of_half_an_overlap():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3] = True, True
    assert dice(first, second) == 0.5
    assert dice(first, ~first) == 0
    assert dice(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1


def test_iou_of_half_an_overlap():
    assert iou(0.5) == pytest.approx(1 / 3)  # 4 common pixels of 12
    assert iou(1.0) == 1


def test_radii_ratio_is_that_of_circles_of_the_same_areas():
    assert radii_ratio(square(0, 0, 10), square(20, 20, 20)) == pytest.approx(0.5)
    assert radii_ratio(square(0, 0, 0), square(0, 0, 20)) == 0
    assert radii_ratio(square(0, 0, 20), square(0, 0, 0)) is None


def test_a_moved_square_is_as_far_off_as_it_was_moved():
    assert hausdorff_95(square(10, 10, 20), square(13, 10, 20)) == pytest.approx(3)
    assert hausdorff_95(square(10, 10, 20), square(10, 10, 20)) == 0


def test_a_margin_all_round_is_its_width():
    # 40 × 40 around 20 × 20: from the outer boundary's 156 pixels it is 10 to the inner one, or more at the corners
    wide = hausdorff_95(square(10, 10, 40), square(20, 20, 20))
    assert 10 <= wide <= np.hypot(10, 10)
    assert wide == hausdorff_95(square(20, 20, 20), square(10, 10, 40))


def test_the_farthest_twentieth_of_a_boundary_does_not_count():
    spur = square(10, 10, 20)
    spur[30:40, 20] = True  # 10 pixels in 86 of the boundary: more than a twentieth
    short = square(10, 10, 20)
    short[30:32, 20] = True  # 2 pixels: less
    assert hausdorff_95(spur, square(10, 10, 20)) > 4
    assert hausdorff_95(short, square(10, 10, 20)) == 0


def test_boundaries_at_the_edge_of_the_picture_count():
    assert hausdorff_95(square(0, 0, 60), square(5, 5, 50)) >= 5


def test_without_a_mask_there_is_no_distance():
    assert hausdorff_95(square(0, 0, 0), square(10, 10, 5)) is None
    assert hausdorff_95(square(10, 10, 5), square(0, 0, 0)) is None


def test_calibration_error_of_ten_pixels():
    # four pixels say 0.25, one of them is right: no gap; six say 0.95, three are right: gap 0.45
    probabilities = np.array([0.25] * 4 + [0.95] * 6)
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0], float)
    table = reliability(probabilities, truth)
    assert table[2].tolist() == [4, 1, 1]
    assert table[9] == pytest.approx([6, 5.7, 3])
    assert float(expected_calibration_error(table)) == pytest.approx(0.6 * 0.45)


def test_a_probability_of_one_has_a_bin():
    assert reliability(np.array([0.0, 1.0]), np.array([0.0, 1.0]))[[0, 9], 0].tolist() == [1, 1]


def test_the_calibration_interval_of_like_photographs_is_a_point():
    table = reliability(np.full(10, 0.85), np.arange(10) % 2 == 0)
    assert calibration_interval(np.stack([table] * 5)) == pytest.approx((0.35, 0.35))


def test_roc_area_counts_pairs():
    # pairs: (0.9, 0.5) won, (0.9, 0.3) won, (0.5, 0.5) tied, (0.5, 0.3) won
    area, low, high = roc_area([0.9, 0.5, 0.5, 0.3], [True, True, False, False])
    assert area == pytest.approx(3.5 / 4)
    assert low <= area <= high
    assert roc_area([0.9, 0.5], [True, True]) is None


def test_bootstrap_interval_holds_the_mean_and_narrows_with_more_photographs():
    few = np.random.default_rng(1).normal(0.8, 0.1, 10)
    many = np.random.default_rng(1).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(few)
    assert low < few.mean() < high
    narrow = bootstrap_interval(many)
    assert narrow[1] - narrow[0] < (high - low) / 3


def test_binomial_interval_is_that_of_clopper_and_pearson():
    assert binomial_interval(0, 10) == pytest.approx((0, 1 - 0.025**0.1))
    assert binomial_interval(45, 50) == pytest.approx((0.7819, 0.9667), abs=1e-4)  # tables


def test_conformal_width_takes_the_rank_that_covers_a_new_photograph():
    errors = [-0.01 * n for n in range(1, 20)]  # 19 errors: rank ceil(20 × 0.9) = 18
    assert conformal_half_width(errors, 0.9) == pytest.approx(0.18)
    assert conformal_half_width([0.01] * 9, 0.9) == pytest.approx(0.01)
    assert conformal_half_width([0.01] * 8, 0.9) == float("inf")


def test_conformal_width_covers_new_draws():
    random = np.random.default_rng(2)
    hits = [abs(random.normal()) <= conformal_half_width(list(random.normal(size=60)), 0.9) for _ in range(1500)]
    assert np.mean(hits) == pytest.approx(0.905, abs=0.02)
