"""Tests of `training.losses`."""

import numpy as np
import pytest

from training.losses import dice_and_cross_entropy, dice_of_channel


def target(cup_known: bool = True) -> np.ndarray:
    mask = np.zeros((2, 16, 16, 2), np.float32)
    mask[:, 4:12, 4:12, 0] = 1
    mask[:, 6:10, 6:10, 1] = 1
    if not cup_known:
        mask[1, ..., 1] = -1
    return mask


def test_a_perfect_answer_costs_nothing():
    assert np.asarray(dice_and_cross_entropy(target(), target())) == pytest.approx([0, 0], abs=1e-4)


def test_a_wrong_answer_costs_more_than_an_undecided_one():
    undecided = np.full_like(target(), 0.5)
    costs = [float(np.asarray(dice_and_cross_entropy(target(), p))[0]) for p in (target(), undecided, 1 - target())]
    assert costs[0] < costs[1] < costs[2]


def test_an_unknown_cup_does_not_count():
    drawn, other = target().copy(), target().copy()
    other[1, ..., 1] = 0.9  # another answer where nothing is known
    known = target(cup_known=False)
    assert np.asarray(dice_and_cross_entropy(known, drawn)) == pytest.approx(
        np.asarray(dice_and_cross_entropy(known, other)), abs=1e-6
    )
    assert float(dice_of_channel(1, "cup")(known, drawn)) == pytest.approx(1.0)
    assert float(dice_of_channel(1, "cup")(known, other)) == pytest.approx(1.0)


def test_dice_of_half_an_overlap():
    drawn = np.zeros_like(target())
    drawn[:, 4:12, 8:16, 0] = 1
    assert float(dice_of_channel(0, "disc")(target(), drawn)) == pytest.approx(0.5, abs=0.01)
