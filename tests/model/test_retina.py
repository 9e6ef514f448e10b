"""Tests of `model.retina`."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.retina import Frame, field_of_view, halved, roi

frames = st.builds(Frame, st.integers(-300, 900), st.integers(-300, 900), st.integers(1, 1500))
points = st.lists(st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)), min_size=1, max_size=5)


def lit_circle(height: int, width: int, x: float, y: float, radius: float, surround: int) -> np.ndarray:
    photograph = np.full((height, width, 3), surround, np.uint8)
    cv2.circle(photograph, (round(x), round(y)), round(radius), (150, 80, 40), cv2.FILLED)
    return photograph


@given(frame=frames, places=points, size=st.integers(16, 256))
def test_points_come_back_from_the_network_exactly(frame: Frame, places: list, size: int):
    there = frame.to_input(np.array(places), size)
    assert frame.to_photograph(there, size) == pytest.approx(np.array(places), abs=1e-6)


@settings(max_examples=60)
@given(
    x=st.integers(60, 340), y=st.integers(60, 240), radius=st.integers(8, 40), shift=st.integers(-20, 20),
    side=st.integers(110, 400), size=st.sampled_from([64, 128, 160]),
)  # fmt: skip
def test_a_shape_cut_and_pasted_back_keeps_its_place_to_half_a_pixel(x, y, radius, shift, side, size):
    shape = np.zeros((300, 400), np.float32)
    cv2.circle(shape, (x, y), radius, 1.0, cv2.FILLED)
    frame = Frame(x - side // 2 + shift // 2, y - side // 2 - shift // 2, max(side, 3 * radius))
    if not (frame.left <= x - radius - 3 and x + radius + 3 <= frame.left + frame.side):
        frame = Frame(x - 2 * radius - 5, y - 2 * radius - 5, 4 * radius + 10)
    if not (frame.top <= y - radius - 3 and y + radius + 3 <= frame.top + frame.side):
        frame = Frame(x - 2 * radius - 5, y - 2 * radius - 5, 4 * radius + 10)
    back = frame.paste(frame.cut(shape, size), shape.shape)
    rows, columns = np.mgrid[:300, :400]
    for axis, centre in ((columns, x), (rows, y)):
        assert (axis * back).sum() / back.sum() == pytest.approx(centre, abs=0.5)
    assert back.sum() == pytest.approx(shape.sum(), rel=0.06)


def test_one_pixel_lands_where_the_arithmetic_says():
    image = np.zeros((100, 100), np.float32)
    image[40, 70] = 1
    cut = Frame(60, 30, 20).cut(image, 20)  # one to one
    assert np.argwhere(cut == 1).tolist() == [[10, 10]]


def test_what_lies_beyond_the_photograph_is_black():
    image = np.full((50, 50, 3), 200, np.uint8)
    cut = Frame(-25, -25, 100).cut(image, 100)
    assert cut[24, 50].tolist() == [0, 0, 0]
    assert cut[25, 25].tolist() == [200, 200, 200]


def test_a_strip_of_pixels_does_not_fill_the_memory():
    strip = np.full((64, 200_000, 3), 90, np.uint8)
    for image in (strip, np.ascontiguousarray(strip.transpose(1, 0, 2))):
        frame = field_of_view(image).frame()
        cut = frame.cut(image, 128)
        assert cut.shape == (128, 128, 3)
        assert frame.resample(np.ones((128, 128), np.float32), image.shape[:2]).shape == image.shape[:2]


def test_a_frame_far_outside_is_black_and_pastes_nothing():
    frame = Frame(5000, 5000, 40)
    assert not frame.cut(np.ones((20, 30, 3), np.uint8), 16).any()
    assert not frame.paste(np.ones((16, 16), np.float32), (20, 30)).any()


@pytest.mark.parametrize("surround", [0, 255])
@pytest.mark.parametrize(
    ("height", "width", "x", "y", "radius"),
    [(400, 500, 250, 200, 180), (300, 500, 250, 150, 220), (900, 700, 300, 500, 260)],
    ids=["round", "cut off above and below", "off centre"],
)
def test_field_of_view_is_the_lit_circle(surround, height, width, x, y, radius):
    frame = field_of_view(lit_circle(height, width, x, y, radius, surround)).frame()
    left, right = max(0, x - radius), min(width, x + radius)
    top, bottom = max(0, y - radius), min(height, y + radius)
    tolerance = 0.015 * max(height, width)
    assert frame.left + frame.side / 2 == pytest.approx((left + right) / 2, abs=tolerance)
    assert frame.top + frame.side / 2 == pytest.approx((top + bottom) / 2, abs=tolerance)
    assert frame.side == pytest.approx(max(right - left, bottom - top), abs=2 * tolerance)


def test_a_photograph_without_surround_is_field_of_view_throughout():
    photograph = np.full((200, 300, 3), (150, 80, 40), np.uint8)
    assert field_of_view(photograph).inside.all()


def test_a_dark_spot_inside_belongs_to_the_field_of_view():
    photograph = lit_circle(400, 400, 200, 200, 180, 0)
    cv2.circle(photograph, (200, 200), 40, (2, 1, 1), cv2.FILLED)
    field = field_of_view(photograph)
    assert field.cut(Frame(180, 180, 40), 20).all()


@pytest.mark.parametrize("light", [0.3, 0.15, 0.07])
def test_in_dim_light_the_field_of_view_is_the_same(light):
    photograph = lit_circle(400, 500, 250, 200, 180, 0)
    cv2.circle(photograph, (300, 180), 30, (250, 240, 200), cv2.FILLED)  # a disc
    dim = (photograph * light).astype(np.uint8)
    bright_frame, dim_frame = field_of_view(photograph).frame(), field_of_view(dim).frame()
    assert abs(dim_frame.side - bright_frame.side) <= 6
    assert abs(dim_frame.left - bright_frame.left) <= 6


@pytest.mark.parametrize("grey", [0, 5, 255])
def test_a_blank_picture_has_no_field_of_view(grey):
    assert not field_of_view(np.full((200, 300, 3), grey, np.uint8)).found


def test_inside_mask_follows_the_frame():
    field = field_of_view(lit_circle(1000, 1000, 500, 500, 400, 0))
    inside = field.cut(Frame(500, 100, 400), 100)  # the upper right quarter
    rows, columns = np.mgrid[:100, :100] * 4 + 2
    expected = np.hypot(columns, 400 - rows) <= 400
    assert (inside != expected).mean() < 0.03


def test_region_of_interest_is_a_multiple_of_the_disc():
    frame = roi(100.0, 60.0, 40.0, 2.0)
    assert (frame.left, frame.top, frame.side) == (60, 20, 80)


@pytest.mark.parametrize("shape", [(1000, 1400), (999, 1401), (64, 5000), (300, 300)])
def test_halving_keeps_every_place_and_enough_pixels(shape: tuple[int, int]):
    photograph = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    small, times = halved(photograph, 160)
    assert max(small.shape[:2]) >= 160
    assert max(small.shape[:2]) < 2 * 160
    assert small.shape[:2] == (shape[0] // times, shape[1] // times)
    row, column = small.shape[0] - 1, small.shape[1] - 1
    block = photograph[row * times : (row + 1) * times, column * times : (column + 1) * times]
    assert small[row, column] == pytest.approx(block.mean(axis=(0, 1)), abs=2)


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("frame", [Frame(300, 220, 400), Frame(-60, 250, 500), Frame(501, 403, 399)])
def test_a_square_cut_from_a_reduced_photograph_is_in_the_same_place(times: int, frame: Frame):
    random = np.random.default_rng(1)
    whole = cv2.resize(random.integers(0, 256, (20, 25, 3), dtype=np.uint8), (1000, 800), interpolation=cv2.INTER_CUBIC)
    reduced = cv2.resize(whole, (1000 // times, 800 // times), interpolation=cv2.INTER_AREA)
    expected = frame.cut(whole, 64).astype(float)
    found = frame.cut_finely(reduced, 64, times, (800, 1000))
    assert np.abs(found - expected).mean() < 0.5  # grey levels
    shifted = Frame(frame.left + 4, frame.top, frame.side).cut(whole, 64)
    assert np.abs(found - expected).mean() < 0.2 * np.abs(shifted - expected).mean()


def test_nothing_is_cut_from_beside_a_reduced_photograph():
    assert not Frame(5000, 0, 100).cut_finely(np.ones((40, 40, 3), np.uint8), 16, 2, (80, 80)).any()
