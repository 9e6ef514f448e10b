"""Tests of `model.masks`."""

import numpy as np
import pytest

from model.masks import Label, Patch, largest_component, restore, restore_patch, tidy
from model.retina import Frame


def box(top: int, left: int, height: int, width: int, shape: tuple[int, int] = (40, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_only_the_largest_component_stays():
    assert (largest_component(box(2, 2, 10, 10) | box(30, 30, 5, 5)) == box(2, 2, 10, 10)).all()


def test_holes_are_filled():
    ring = box(5, 5, 20, 20) & ~box(10, 10, 4, 4)
    assert (largest_component(ring) == box(5, 5, 20, 20)).all()


def test_an_empty_mask_stays_empty():
    assert not largest_component(np.zeros((9, 9), bool)).any()


def test_cup_is_cut_to_the_disc_and_the_violation_is_counted():
    tidied = tidy(box(10, 10, 10, 10), box(15, 10, 10, 10))  # half of the cup hangs out below
    assert ((tidied.labels == Label.CUP) == box(15, 10, 5, 10)).all()
    assert tidied.cup_outside == 0.5


def test_cup_without_disc_leaves_nothing():
    tidied = tidy(np.zeros((40, 40), bool), box(1, 1, 5, 5))
    assert not tidied.labels.any()
    assert tidied.cup_outside == 1.0


def test_probabilities_are_resampled_before_the_threshold():
    """A cup of half the disc's height stays half, though neither ends on the coarse grid's pixels."""
    fine = np.zeros((400, 400, 2), np.float32)
    fine[100:300, 100:300, 0] = 1
    fine[150:250, 150:250, 1] = 1
    frame = Frame(0, 0, 400)
    coarse = frame.cut(fine, 33)
    labels = restore(coarse, frame, (400, 400), (0.5, 0.5)).labels
    rows = np.flatnonzero((labels == Label.CUP).any(axis=1))
    disc_rows = np.flatnonzero((labels >= Label.RIM).any(axis=1))
    assert np.ptp(rows) + 1 == pytest.approx(100, abs=2)
    assert np.ptp(disc_rows) + 1 == pytest.approx(200, abs=2)


def test_a_region_beyond_the_edge_is_cut_off():
    probabilities = np.ones((16, 16, 2), np.float32)
    labels = restore(probabilities, Frame(-8, 90, 16), (100, 60), (0.5, 0.5)).labels
    assert labels.shape == (100, 60)
    assert (labels == Label.CUP).sum() == 8 * 10
    assert labels[90:, :8].all()


def test_a_thin_ring_around_a_larger_blob_is_not_the_largest():
    ring, blob = box(2, 2, 30, 30) & ~box(3, 3, 28, 28), box(5, 5, 20, 20)
    assert (largest_component(ring | blob) == blob).all()


def test_a_patch_is_the_mask_where_it_lies_and_empty_elsewhere():
    patch = Patch(np.full((3, 4), 2, np.uint8), 10, 20, (40, 40))
    assert (patch.whole == 2 * box(10, 20, 3, 4)).all()
    trimmed = Patch.of(patch.whole).trimmed()
    assert (trimmed.top, trimmed.left, trimmed.values.shape) == (10, 20, (3, 4))
    assert not Patch.of(np.zeros((9, 9), bool)).trimmed().whole.any()


def test_the_part_alone_is_what_restore_gives():
    probabilities = np.random.default_rng(3).random((16, 16, 2), np.float32)
    for frame in (Frame(5, 8, 20), Frame(-8, 30, 30), Frame(0, 0, 40), Frame(100, 100, 5), Frame(-500, -500, 1000)):
        patch, outside = restore_patch(probabilities, frame, (40, 40), (0.3, 0.6))
        tidied = restore(probabilities, frame, (40, 40), (0.3, 0.6))
        assert (patch.whole == tidied.labels).all()
        assert outside == tidied.cup_outside
