"""Tests of `training.augment`."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.normalisation import Distribution
from tests.drawn import write_folder
from training.augment import (
    UNKNOWN,
    Augmentation,
    Sample,
    _matrix,
    _normal_deviates,
    _warp,
    draw_sample,
    plain_sample,
    vary_camera,
)
from training.sources.folder import read_source
from training.views import View, cut_views

DISTRIBUTION = Distribution((140, 75, 40), (40, 30, 20), (0.0,) * 6, ((0.0,) * 6,) * 6, 1.0)
BOTH = ("disc", "cup")


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> dict[str, list[View]]:
    folder = write_folder(Path(tmp_path_factory.mktemp("drawn")) / "eyes", 3, seed=5)
    examples = read_source(folder, "drawn")
    return {"roi": cut_views(examples, "roi"), "whole": cut_views(examples, "whole")}


def test_without_chance_the_disc_fills_its_share_of_the_middle(views):
    sample = plain_sample(views["roi"][0], 128, BOTH, 2.0, DISTRIBUTION)
    disc = sample.target[..., 0]
    rows, columns = np.mgrid[:128, :128] + 0.5
    assert (rows * disc).sum() / disc.sum() == pytest.approx(64, abs=0.7)
    assert (columns * disc).sum() / disc.sum() == pytest.approx(64, abs=0.7)
    assert 2 * np.sqrt(disc.sum() / np.pi) == pytest.approx(64, abs=1)


def test_image_and_mask_move_together(views):
    """A photograph that shows its own mask still does, wherever geometry takes both."""
    options = Augmentation(colour=0.0, hide=0.0, rotation_deg=90, shift=0.4, without_retina=0.0)
    for kind, diameters in (("roi", 2.0), ("whole", None)):
        for seed in range(12):
            view = views[kind][seed % 3]
            painted = dataclasses.replace(view, image=np.repeat(view.disc[..., None], 3, axis=-1))
            sample = draw_sample(painted, 128, ("disc",), diameters, DISTRIBUTION, options, np.random.default_rng(seed))
            disc, red = sample.target[..., 0] > 0.5, sample.image[..., 0]
            if disc.sum() < 20:
                continue
            bright = red > (red.min() + red.max()) / 2
            assert 2 * (bright & disc).sum() / (bright.sum() + disc.sum()) > 0.93


def test_the_same_seed_draws_the_same_sample(views):
    draw = [
        draw_sample(views["whole"][0], 96, ("disc",), None, DISTRIBUTION, Augmentation(), np.random.default_rng(seed))
        for seed in (3, 3, 4)
    ]
    assert (draw[0].image == draw[1].image).all()
    assert (draw[0].target == draw[1].target).all()
    assert (draw[0].image != draw[2].image).any()


def test_a_sample_drawn_into_a_batch_is_the_same(views):
    images, targets = np.zeros((2, 96, 96, 3), np.float32), np.full((2, 96, 96, 2), 7, np.float32)
    for seed in range(6):
        alone, within = (
            draw_sample(
                views["roi"][0], 96, BOTH, 2.0, DISTRIBUTION, Augmentation(), np.random.default_rng(seed), into=place
            )
            for place in (None, Sample(images[1], targets[1]))
        )
        assert (images[1] == alone.image).all()
        assert (targets[1] == alone.target).all()
        images[:], targets[:] = 0, 7
        assert within.image.base is images


def test_what_is_blurred_before_it_shrinks_looks_as_if_the_whole_view_had_been(views):
    """Reference: a Gaussian over all of the view with OpenCV's own number of taps."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        shrink, turn = random.uniform(1.65, 3.4), random.uniform(-0.4, 0.4)
        x, y = random.uniform(100, 350, 2)
        matrix = _matrix(x, y, shrink, turn, seed % 2 == 0, 96)
        for plane in (views["whole"][0].image, views["whole"][0].disc):
            blurred = cv2.GaussianBlur(plane, (0, 0), 0.35 * shrink)
            whole = cv2.warpAffine(blurred, matrix, (96, 96), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            difference = np.abs(_warp(plane, matrix, 96).astype(float) - whole)
            assert difference.max() <= 3
            assert difference.mean() < 0.3


def test_noise_is_normally_distributed():
    deviates = _normal_deviates().ravel()
    assert deviates.mean() == pytest.approx(0, abs=1e-6)
    assert deviates.std() == pytest.approx(1, abs=1e-3)
    assert np.mean(np.abs(deviates) < 1) == pytest.approx(0.6827, abs=1e-3)
    assert np.mean(np.abs(deviates) > 3) == pytest.approx(0.0027, abs=1e-4)


def test_an_unknown_cup_is_marked(tmp_path):
    (view,) = cut_views(read_source(write_folder(tmp_path / "eyes", 1, seed=2, cups=False), "drawn"), "roi")
    sample = draw_sample(view, 64, BOTH, 2.0, DISTRIBUTION, Augmentation(), np.random.default_rng(1))
    assert (sample.target[..., 1] == UNKNOWN).all()
    assert sample.target[..., 0].max() > 0.9


def test_locator_samples_cover_scales_and_empty_places(views):
    shares = []
    for seed in range(150):
        random = np.random.default_rng(seed)
        sample = draw_sample(views["whole"][seed % 3], 96, ("disc",), None, DISTRIBUTION, Augmentation(), random)
        assert np.isfinite(sample.image).all()
        shares.append(2 * np.sqrt(sample.target.sum() / np.pi) / 96)
    assert max(shares) > 0.6
    assert min(share for share in shares if share > 0.03) < 0.2
    assert 0.02 < np.mean(np.array(shares) < 0.01) < 0.25


def test_pictures_of_something_else_hold_no_disc(views):
    options = Augmentation(without_retina=1.0)
    for seed in range(30):
        random = np.random.default_rng(seed)
        sample = draw_sample(views["whole"][0], 96, ("disc",), None, DISTRIBUTION, options, random)
        assert not sample.target.any()
        assert np.ptp(sample.image) > 0.5


def test_a_region_of_the_segmenter_always_shows_its_disc(views):
    options = Augmentation(without_retina=1.0)
    sample = draw_sample(views["roi"][0], 96, BOTH, 2.0, DISTRIBUTION, options, np.random.default_rng(1))
    assert sample.target[..., 0].max() > 0.9


def test_the_order_of_the_outputs_changes_nothing_but_their_order(views):
    options = Augmentation(atrophy=1.0, contrast=1.0, hide=1.0)
    one, other = (
        draw_sample(views["roi"][0], 64, outputs, 2.0, DISTRIBUTION, options, np.random.default_rng(3))
        for outputs in (BOTH, BOTH[::-1])
    )
    assert (one.image == other.image).all()
    assert (one.target == other.target[..., ::-1]).all()


def test_left_and_right_change_places_as_often_as_is_said(views):
    still = Augmentation(scale=(1, 1), shift=0, rotation_deg=0, colour=0, hide=0)
    never, always = (
        draw_sample(views["roi"][0], 64, BOTH, 2.0, DISTRIBUTION, each, np.random.default_rng(1))
        for each in (dataclasses.replace(still, mirror=0.0), dataclasses.replace(still, mirror=1.0))
    )
    assert np.abs(never.target - always.target[:, ::-1]).mean() < 0.01
    assert np.abs(never.target - always.target).mean() > 0.01


@pytest.mark.parametrize("strength", [0.01, 0.05, 0.5])
def test_a_camera_may_be_changed_as_little_as_one_likes(strength: float):
    image = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for seed in range(40):
        assert vary_camera(image, strength, np.random.default_rng(seed)).shape == image.shape


def test_camera_of_strength_zero_changes_nothing():
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert (vary_camera(image, 0.0, np.random.default_rng(2)) == image).all()
    assert any((vary_camera(image, 1.0, np.random.default_rng(seed)) != image).any() for seed in range(3))
