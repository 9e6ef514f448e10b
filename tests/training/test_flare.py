"""Tests of `training.flare`."""

import cv2
import numpy as np

from training.flare import draw_flare

RETINA = np.full((192, 192, 3), (120, 60, 30), np.uint8)


def field() -> np.ndarray:
    inside = np.zeros((192, 192), np.uint8)
    cv2.circle(inside, (96, 96), 80, 1, cv2.FILLED)
    return inside


def test_flare_is_bright_near_an_edge_and_leaves_middle_and_surround():
    inside = field()
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    brightest = 0
    for seed in range(20):
        drawn = draw_flare(RETINA, inside, np.random.default_rng(seed))
        assert (drawn[inside == 0] == RETINA[inside == 0]).all()
        assert np.abs(drawn[within > 70].astype(int) - RETINA[within > 70]).max() <= 12
        brightest = max(brightest, int(drawn[(within > 0) & (within < 8)].max()))
    assert brightest > 180


def test_where_no_edge_is_seen_the_photograph_stays_as_it_is():
    random = np.random.default_rng(1)
    assert (draw_flare(RETINA, np.ones((192, 192), np.uint8), random) == RETINA).all()
    assert (draw_flare(RETINA, np.zeros((192, 192), np.uint8), random) == RETINA).all()


def test_the_same_seed_draws_the_same():
    first, second = (draw_flare(RETINA, field(), np.random.default_rng(5)) for _ in range(2))
    assert (first == second).all()
