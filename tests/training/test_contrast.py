"""Tests of `training.contrast`."""

import numpy as np
import pytest

from training.contrast import vary_contrast

RETINA, RIM, CUP = (150, 80, 40), (220, 140, 90), (245, 220, 170)


def eye():
    """(96, 96, 3) uint8 in three colours; a disc of radius 24 and a cup of radius 12, both (96, 96) uint8."""
    rows, columns = np.ogrid[:96, :96]
    away = np.hypot(rows - 47.5, columns - 47.5)
    image = np.where(away[..., None] <= 12, CUP, np.where(away[..., None] <= 24, RIM, RETINA)).astype(np.uint8)
    disc, cup = (np.where(away <= radius, 255, 0).astype(np.uint8) for radius in (24, 12))
    return image, disc, cup


@pytest.mark.parametrize("cup_known", [True, False])
def test_regions_change_apart_and_the_retina_stays(cup_known):
    image, disc, cup = eye()
    cup = cup if cup_known else np.zeros_like(cup)
    rims, cups = [], []
    for seed in range(60):
        drawn = vary_contrast(image, disc, cup, np.random.default_rng(seed)).astype(int)
        assert (drawn[:12] == RETINA).all()
        rims.append(drawn[48, 48 + 18, 1])
        cups.append(drawn[48, 48, 1])
    assert min(rims) < RIM[1] - 25 < RIM[1] + 8 < max(rims)
    assert all(rim > RETINA[1] - 20 for rim in rims)  # never much darker than the retina
    apart = np.array(cups) - np.array(rims)
    if cup_known:
        assert apart.std() > 8
    else:
        assert apart.std() < 5  # what is not annotated goes along with the rest, but for what is cut off at white


def test_the_same_seed_draws_the_same():
    one, again, other = (vary_contrast(*eye(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_without_a_disc_nothing_changes():
    image, disc, cup = eye()
    assert (vary_contrast(image, np.zeros_like(disc), np.zeros_like(cup), np.random.default_rng(1)) == image).all()
