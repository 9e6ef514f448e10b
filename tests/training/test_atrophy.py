"""Tests of `training.atrophy`."""

import numpy as np
import pytest

from training.atrophy import draw_atrophy


def eye():
    """(96, 96, 3) uint8 of one colour, and a disc of radius 20 in its middle."""
    rows, columns = np.ogrid[:96, :96]
    disc = np.where((rows - 48) ** 2 + (columns - 48) ** 2 <= 400, 255, 0).astype(np.uint8)
    image = np.where(disc[..., None] > 0, (220, 180, 120), (150, 80, 40)).astype(np.uint8)
    return image, disc


@pytest.mark.parametrize("seed", range(8))
def test_it_lies_beside_the_disc_and_never_on_it(seed):
    image, disc = eye()
    before = image.copy()
    drawn = draw_atrophy(image, disc, np.random.default_rng(seed))
    changed = np.abs(drawn.astype(int) - image).max(axis=2)
    assert (image == before).all()
    assert changed[disc == 255].max() == 0
    rows, columns = np.nonzero(changed > 8)
    assert rows.size > 20
    assert np.hypot(rows - 48, columns - 48).max() < 3 * 20  # near it


def test_the_same_seed_draws_the_same():
    image, disc = eye()
    one, again, other = (draw_atrophy(image, disc, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_without_a_disc_nothing_is_drawn():
    image, disc = eye()
    assert (draw_atrophy(image, np.zeros_like(disc), np.random.default_rng(1)) == image).all()


def test_a_disc_that_the_edge_cuts_is_drawn_beside():
    image, disc = (np.roll(each, 44, axis=1) for each in eye())
    disc[:, :44] = 0
    assert draw_atrophy(image, disc, np.random.default_rng(1)).shape == image.shape
