"""Tests of `model.biomarkers`."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.biomarkers import measure, vertical_cup_to_disc_ratio
from model.errors import DiscNotFound, InvalidMask


def draw_disc(disc_rows: int, cup_rows: int, disc_columns: int = 12, cup_columns: int = 6) -> np.ndarray:
    mask = np.zeros((60, 60), np.uint8)
    mask[20 : 20 + disc_rows, 10 : 10 + disc_columns] = 1
    mask[20 : 20 + cup_rows, 10 : 10 + cup_columns] = 2
    return mask


def drawn_ellipse(x: float, y: float, width: float, height: float, angle_deg: float) -> np.ndarray:
    rows, columns = np.mgrid[:200, :300] + 0.5
    turn = np.deg2rad(angle_deg)
    across = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    down = -(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)
    return ((2 * across / width) ** 2 + (2 * down / height) ** 2 <= 1).astype(np.uint8)


def test_ratio_is_cup_height_over_disc_height():
    assert vertical_cup_to_disc_ratio(draw_disc(disc_rows=10, cup_rows=5)) == pytest.approx(0.5)


def test_one_row_more_of_cup_is_seen():
    assert vertical_cup_to_disc_ratio(draw_disc(disc_rows=10, cup_rows=6)) == pytest.approx(0.6)


def test_horizontal_and_area_ratio():
    ratios = measure(draw_disc(disc_rows=10, cup_rows=5, disc_columns=12, cup_columns=3)).ratios
    assert ratios.horizontal == pytest.approx(3 / 12)
    assert ratios.area == pytest.approx(15 / 120)


def test_no_cup_is_ratio_zero_and_no_region():
    measured = measure(draw_disc(disc_rows=10, cup_rows=0))
    assert measured.cup is None
    assert measured.ratios.vertical == 0


def test_no_disc_has_no_ratio():
    assert measure(np.zeros((5, 5), np.uint8)).ratios is None
    with pytest.raises(DiscNotFound):
        vertical_cup_to_disc_ratio(np.zeros((5, 5), np.uint8))


def test_box_and_centre_and_area():
    disc = measure(draw_disc(disc_rows=10, cup_rows=5)).disc
    assert (disc.box.left, disc.box.top, disc.box.width, disc.box.height) == (10, 20, 12, 10)
    assert (disc.centre.x, disc.centre.y) == (16.0, 25.0)
    assert disc.area == 120


@settings(max_examples=50)
@given(
    x=st.floats(100, 200), y=st.floats(80, 120), width=st.floats(30, 140), ratio=st.floats(0.6, 0.9),
    angle=st.floats(-44, 44), tall=st.booleans(),
)  # fmt: skip
def test_ellipse_is_found_again(x, y, width, ratio, angle, tall):
    height = width * ratio
    if tall:
        width, height = height, width
    ellipse = measure(drawn_ellipse(x, y, width, height, angle)).disc.ellipse
    assert (ellipse.x, ellipse.y) == pytest.approx((x, y), abs=0.6)
    assert (ellipse.width, ellipse.height) == pytest.approx((width, height), abs=1.2)
    assert ellipse.angle_deg == pytest.approx(angle, abs=6)


@pytest.mark.parametrize("size", [1, 3, 17, 4000])
def test_masks_of_any_size(size):
    measured = measure(np.ones((size, size), np.uint8))
    assert measured.disc.area == size * size


def test_a_line_of_pixels_has_no_ellipse():
    mask = np.zeros((30, 30), np.uint8)
    cv2.line(mask, (3, 5), (25, 5), 1)
    assert measure(mask).disc.ellipse is None


@pytest.mark.parametrize(
    "mask", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.full((4, 4), 3, np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_label_mask_is_refused(mask):
    with pytest.raises(InvalidMask):
        measure(mask)
