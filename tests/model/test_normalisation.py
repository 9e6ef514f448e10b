"""Tests of `model.normalisation`."""

import cv2
import numpy as np
import pytest

from model.normalisation import Distribution, distance, estimate, features, normalise, sharpness

EVERYWHERE = np.ones((64, 64), bool)


def photograph(seed: int, gain: float = 1.0, offset: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(random.normal(0, 60, (64, 64, 3)), (0, 0), 3) * 3
    return np.clip((smooth + np.float32([140, 75, 40])) * gain + offset, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def distribution() -> Distribution:
    pairs = [(photograph(seed, 0.8 + 0.02 * seed), EVERYWHERE) for seed in range(20)]
    return estimate(pairs, pairs, [1.0] * 20)


def test_every_image_gets_the_training_mean_and_deviation(distribution):
    out = normalise(photograph(99, gain=0.5, offset=20), EVERYWHERE, distribution)
    target, spread = np.array(distribution.mean), np.array(distribution.deviation)
    scale = np.sqrt(np.mean(spread**2 + target.var()))
    assert out.mean(axis=(0, 1)) == pytest.approx((target - target.mean()) / scale, abs=0.02)
    assert out.std(axis=(0, 1)) == pytest.approx(spread / scale, rel=0.03)


def test_exposure_and_white_balance_are_gone(distribution):
    image = photograph(7).astype(np.float32)
    other = image * np.float32([0.5, 0.8, 1.1]) + np.float32([3, 10, 2])
    assert normalise(other, EVERYWHERE, distribution) == pytest.approx(
        normalise(image, EVERYWHERE, distribution), abs=1e-3
    )


def test_what_is_not_retina_is_zero_and_does_not_count(distribution):
    image, inside = photograph(3), EVERYWHERE.copy()
    inside[:, :20] = False
    spoiled = image.copy()
    spoiled[:, :20] = 255
    out = normalise(spoiled, inside, distribution)
    assert not out[:, :20].any()
    assert (out == normalise(image, inside, distribution)).all()


def test_a_flat_image_does_not_explode(distribution):
    out = normalise(np.full((64, 64, 3), 90, np.uint8), EVERYWHERE, distribution)
    assert np.isfinite(out).all()
    assert np.ptp(out) < 6


def test_distance_grows_away_from_the_training_photographs(distribution):
    near = distance(photograph(50, 1.0), EVERYWHERE, distribution)
    blue = photograph(50)[..., ::-1].copy()
    assert near < 3 < distance(blue, EVERYWHERE, distribution)
    assert np.isfinite(distance(np.zeros((64, 64, 3), np.uint8), ~EVERYWHERE, distribution))


def test_features_are_finite_for_nothing():
    assert np.isfinite(features(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool))).all()


def test_blur_lowers_sharpness_and_exposure_does_not():
    random = np.random.default_rng(1)
    image = np.clip(random.normal(120, 30, (64, 64, 3)), 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    dark = (image * 0.5).astype(np.uint8)
    assert sharpness(blurred, EVERYWHERE) < 0.5 * sharpness(image, EVERYWHERE)
    assert sharpness(dark, EVERYWHERE) == pytest.approx(sharpness(image, EVERYWHERE), rel=0.05)
    assert sharpness(image, ~EVERYWHERE) == 0


def test_weights_let_a_small_source_count_as_much(distribution):
    bright, dark = (photograph(1, 1.3), EVERYWHERE), (photograph(1, 0.6), EVERYWHERE)
    even = estimate([bright, dark, dark, dark], [bright, dark, dark, dark], [3, 1, 1, 1])
    expected = (bright[0].mean(axis=(0, 1)) + dark[0].mean(axis=(0, 1))) / 2
    assert even.mean == pytest.approx(expected, rel=1e-5)


def test_statistics_survive_the_manifest(distribution):
    assert Distribution.from_dict(distribution.as_dict()) == distribution
