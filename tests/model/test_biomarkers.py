"""Tests of `model.biomarkers`."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.biomarkers import QUADRANTS, SECTORS, measure, rim_widths, vertical_cup_to_disc_ratio
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
    x=st.floats(100, 200), y=st.floats(80, 120), width=st.floats(30, 140), ratio=st.floats(0.6, 0.85),
    angle=st.floats(-38, 38), tall=st.booleans(),
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


def two_circles(disc: float, cup: float, shift: tuple[float, float] = (0, 0), size: int = 200) -> np.ndarray:
    """A disc in the middle and a cup inside it, the cup's centre shifted by (columns, rows)."""
    rows, columns = np.mgrid[:size, :size] + 0.5 - size / 2
    mask = (np.hypot(columns, rows) <= disc).astype(np.uint8)
    mask[np.hypot(columns - shift[0], rows - shift[1]) <= cup] = 2
    return mask


def rim(mask, laterality="unknown"):
    return {sector.name: sector for sector in rim_widths(mask, laterality)}


@pytest.mark.parametrize("laterality", ["right", "left", "unknown"])
def test_rim_between_concentric_circles_is_the_radii_apart_everywhere(laterality):
    for sector in rim_widths(two_circles(80, 50), laterality):
        assert sector.width == pytest.approx(30, abs=0.15)
        assert sector.smallest == pytest.approx(30, abs=0.8)  # two edges of whole pixels
        assert sector.width_in_disc_diameters == pytest.approx(30 / 160, abs=0.002)
        assert sector.smallest_in_disc_diameters == pytest.approx(sector.smallest / 160, abs=0.001)


def test_rim_of_a_cup_shifted_to_the_right():
    """The ray to the cup's edge, from the disc's centre: d cos a + sqrt(r^2 - d^2 sin^2 a)."""
    found = rim(two_circles(80, 40, shift=(20, 0)))
    assert found["right"].smallest == pytest.approx(80 - 60, abs=0.6)
    assert found["left"].smallest == pytest.approx(80 - (np.sqrt(40**2 - 20**2 / 2) - 20 / np.sqrt(2)), abs=0.7)
    angles = np.deg2rad(np.arange(-44.5, 45))
    edge = 20 * np.cos(angles) + np.sqrt(40**2 - (20 * np.sin(angles)) ** 2)
    assert found["right"].width == pytest.approx(np.mean(80 - edge), abs=0.15)
    assert found["superior"].width == pytest.approx(found["inferior"].width, abs=0.1)


@pytest.mark.parametrize(
    ("shift", "left_eye", "right_eye"),
    [
        ((25, 0), "temporal", "nasal"),
        ((-25, 0), "nasal", "temporal"),
        ((11, -22), "superotemporal", "superonasal"),
        ((-11, -22), "superonasal", "superotemporal"),
        ((11, 22), "inferotemporal", "inferonasal"),
        ((-11, 22), "inferonasal", "inferotemporal"),
    ],
)
def test_the_thinnest_sector_is_where_the_cup_went(shift, left_eye, right_eye):
    mask = two_circles(80, 40, shift)
    for laterality, expected in (("left", left_eye), ("right", right_eye)):
        sectors = rim(mask, laterality)
        assert list(sectors) == list(SECTORS)
        assert min(sectors.values(), key=lambda sector: sector.width).name == expected


def test_rows_grow_downwards():
    sectors = rim(two_circles(80, 40, shift=(0, -20)))
    assert list(sectors) == list(QUADRANTS)
    assert sectors["superior"].smallest == pytest.approx(20, abs=0.6)


def test_sectors_fill_the_circle():
    for sectors in (SECTORS, QUADRANTS):
        spans = sorted(sectors.values())
        assert [last for _, last in spans[:-1]] == [first for first, _ in spans[1:]]
        assert spans[-1][1] - spans[0][0] == 360


def test_where_the_cup_touches_the_disc_there_is_no_rim():
    assert rim(two_circles(80, 40, shift=(40, 0)))["right"].smallest == pytest.approx(0, abs=0.6)


def test_a_ray_that_misses_the_cup_counts_from_the_centre():
    assert rim(two_circles(80, 20, shift=(50, 0)))["left"].width == pytest.approx(80, abs=0.5)


def test_rim_of_a_disc_that_fills_the_photograph():
    mask = np.ones((60, 100), np.uint8)
    mask[20:40, 30:70] = 2
    sectors = rim(mask)
    assert sectors["superior"].smallest == pytest.approx(20, abs=0.3)
    sine = np.sin(np.deg2rad(44.5))  # of the sector's last ray, which leaves cup and disc by their upper edges
    assert sectors["right"].smallest == pytest.approx((30 - 10) / sine, abs=0.3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200_000), (3000, 3000)])
def test_rim_of_a_mask_of_any_size(shape):
    assert all(0 <= sector.smallest <= sector.width < 1 for sector in rim_widths(np.full(shape, 2, np.uint8)))


def test_without_cup_or_disc_there_is_no_rim():
    assert rim_widths(two_circles(80, 0)) is None
    assert rim_widths(np.zeros((5, 5), np.uint8)) is None
    with pytest.raises(InvalidMask):
        rim_widths(np.full((5, 5), 9, np.uint8))
