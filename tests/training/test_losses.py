"""Tests of `training.losses`: values worked out by hand, on both backends, compiled by XLA."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from training.losses import (
    LOSSES,
    boundary,
    dice_and_cross_entropy,
    dice_of_channel,
    dice_or_nothing,
    focal,
    log_dice,
    tversky,
)

# 4 × 4 pixels of which the left half is disc; the answer takes the upper half: 4 of 8 pixels are met.
HALF_MET = {
    "log_dice": -np.log((2 * 4 + 1) / (8 + 8 + 1)),
    "tversky": 1 - (4 + 1) / (4 + 0.3 * 4 + 0.7 * 4 + 1),
    "focal": 8 / 16 * -np.log(1e-6),  # half of the pixels are wholly wrong, the others count nothing
    "dice_or_nothing": 1 - 9 / 17 + 8 / 16 * -np.log(1e-6),
    "dice_and_cross_entropy": 1 - 9 / 17 + 8 / 16 * -np.log(1e-6),
}

ON_JAX = """
import json, os
import jax, numpy as np
from training.losses import LOSSES
target, drawn = np.zeros((2, 1, 4, 4, 1), np.float32)
target[:, :, :2], drawn[:, :2] = 1, 1
print(json.dumps({name: float(jax.jit(loss)(target, drawn)[0]) for name, loss in LOSSES.items()}))
"""


def half_met() -> tuple[np.ndarray, np.ndarray]:
    target, drawn = np.zeros((2, 1, 4, 4, 1), np.float32)
    target[:, :, :2], drawn[:, :2] = 1, 1
    return target, drawn


def target(cup_known: bool = True) -> np.ndarray:
    mask = np.zeros((2, 16, 16, 2), np.float32)
    mask[:, 4:12, 4:12, 0] = 1
    mask[:, 6:10, 6:10, 1] = 1
    if not cup_known:
        mask[1, ..., 1] = -1
    return mask


@pytest.mark.parametrize("name", HALF_MET)
def test_a_loss_is_what_its_formula_says(name: str):
    assert float(np.asarray(LOSSES[name](*half_met()))[0]) == pytest.approx(
        HALF_MET[name], rel=2e-3
    )  # single precision


def test_half_probabilities_have_known_losses():
    undecided = np.full((1, 4, 4, 1), 0.5, np.float32)
    truth, _ = half_met()
    assert float(np.asarray(focal(truth, undecided))[0]) == pytest.approx(0.25 * np.log(2), rel=1e-5)
    assert float(np.asarray(log_dice(truth, undecided))[0]) == pytest.approx(np.log(17 / 9), rel=1e-5)


def test_what_is_missed_costs_more_than_what_is_too_much():
    smaller, larger = target().copy(), target().copy()
    smaller[:, 4:6, 4:12, 0], larger[:, 2:4, 4:12, 0] = 0, 1
    costs = [float(np.asarray(tversky(target(), drawn))[0]) for drawn in (smaller, larger)]
    assert costs[0] > costs[1] > 0


def test_a_boundary_counts_as_met_within_two_pixels():
    def moved(pixels: int) -> float:
        drawn = np.roll(target(), pixels, axis=1)
        extra = np.asarray(boundary(target(), drawn)) - np.asarray(dice_and_cross_entropy(target(), drawn))
        return float(extra[0])

    assert moved(2) == pytest.approx(0, abs=1e-4)
    assert moved(3) > 0.05


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_answer_costs_nothing(name: str):
    assert np.asarray(LOSSES[name](target(), target())) == pytest.approx([0, 0], abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_answer_costs_more_than_an_undecided_one(name: str):
    undecided = np.full_like(target(), 0.5)
    costs = [float(np.asarray(LOSSES[name](target(), p))[0]) for p in (target(), undecided, 1 - target())]
    assert costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_cup_does_not_count(name: str):
    drawn, other = target().copy(), target().copy()
    drawn[:, 4:6, ..., 0] = other[:, 4:6, ..., 0] = 0.2
    other[1, ..., 1] = 0.9  # another answer where nothing is known
    unknown = target(cup_known=False)
    losses = [np.asarray(LOSSES[name](unknown, p)) for p in (drawn, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    disc_alone = np.asarray(LOSSES[name](target()[..., :1], drawn[..., :1]))
    assert losses[0][1] == pytest.approx(disc_alone[1], rel=1e-5)


def test_an_unknown_cup_does_not_count_in_the_dice_that_is_watched():
    drawn, other = target().copy(), target().copy()
    other[1, ..., 1] = 0.9
    for answer in (drawn, other):
        assert float(dice_of_channel(1, "cup")(target(cup_known=False), answer)) == pytest.approx(1.0)


def test_dice_of_half_an_overlap():
    drawn = np.zeros_like(target())
    drawn[:, 4:12, 8:16, 0] = 1
    assert float(dice_of_channel(0, "disc")(target(), drawn)) == pytest.approx(0.5, abs=0.01)


def test_every_loss_compiles_for_xla_under_tensorflow_with_a_gradient():
    import tensorflow as tf

    truth, answer = tf.constant(target()), tf.constant(0.2 + 0.5 * target())

    @tf.function(jit_compile=True)
    def slopes():
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(answer)
            losses = {name: loss(truth, answer) for name, loss in LOSSES.items()}
        return {name: tape.gradient(loss, answer) for name, loss in losses.items()}

    for name, slope in slopes().items():
        assert np.isfinite(slope).all(), name
        assert (slope.numpy() * target()).sum() < 0 < (slope.numpy() * (1 - target())).sum(), name  # towards the truth


def test_jax_gives_the_same_losses():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run(
        [sys.executable, "-c", ON_JAX], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    assert set(found) == set(LOSSES)
    for name, loss in LOSSES.items():
        assert found[name] == pytest.approx(float(np.asarray(loss(*half_met()))[0]), rel=1e-5), name


def test_a_disc_drawn_where_there_is_none_is_pulled_down_as_one_is_pulled_up():
    """By the change of the loss when all of a disc becomes a little more likely; Dice alone would hardly change."""

    def steepness(truth: np.ndarray, where: np.ndarray) -> float:
        costs = [
            float(np.asarray(dice_or_nothing(truth, np.where(where, probability, 0.01)))[0])
            for probability in (0.7, 0.72)
        ]
        return costs[1] - costs[0]

    disc = np.zeros((1, 32, 32, 1), np.float32)
    disc[:, 8:16, 8:16] = 1
    wanted, unwanted = steepness(disc, disc > 0), steepness(np.zeros_like(disc), disc > 0)
    assert wanted < 0 < unwanted
    assert 0.5 < unwanted / -wanted < 4


def test_the_more_is_drawn_where_nothing_is_the_more_it_costs():
    empty = np.zeros((1, 32, 32, 1), np.float32)
    drawn = [np.full_like(empty, 0.001) for _ in range(3)]
    drawn[1][:, :4, :4], drawn[2][:, :16, :16] = 0.9, 0.9
    costs = [float(np.asarray(dice_or_nothing(empty, each))[0]) for each in drawn]
    assert costs == sorted(costs)
    assert costs[0] < 0.05
    assert costs[2] > costs[1] + 0.5
