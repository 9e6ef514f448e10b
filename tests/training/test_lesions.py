"""Tests of `training.lesions`."""

import numpy as np

from training.lesions import draw_lesions

RETINA = np.full((192, 192, 3), (150, 80, 45), np.uint8)
LIT = np.ones((192, 192), np.uint8)


def disc() -> np.ndarray:
    mask = np.zeros((192, 192), np.uint8)
    mask[70:110, 60:100] = 255
    return mask


def test_lesions_are_bright_and_leave_the_disc_and_the_dark_alone():
    lit = LIT.copy()
    lit[:, 150:] = 0
    changed = 0
    for seed in range(20):
        drawn = draw_lesions(RETINA, lit, disc(), np.random.default_rng(seed))
        assert (drawn >= RETINA).all()
        assert (drawn[disc() > 0] == RETINA[disc() > 0]).all()
        assert (drawn[:, 150:] == RETINA[:, 150:]).all()
        changed += bool((drawn != RETINA).any())
    assert changed > 12


def test_a_dark_photograph_has_dark_lesions():
    dark = RETINA // 5
    drawn = [draw_lesions(dark, LIT, disc(), np.random.default_rng(seed)) for seed in range(10)]
    assert max(int(each.max()) for each in drawn) < 90


def test_a_picture_of_which_nothing_is_lit_stays_as_it_is():
    nothing = np.zeros_like(LIT)
    assert (draw_lesions(RETINA, nothing, disc(), np.random.default_rng(1)) == RETINA).all()


def test_the_same_seed_draws_the_same():
    first, second = (draw_lesions(RETINA, LIT, disc(), np.random.default_rng(5)) for _ in range(2))
    assert (first == second).all()
