"""Outlines drawn: pixels counted by hand, and every mask's own outline gives the mask back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.errors import InvalidMask
from service import polygons
from service.polygons import fill
from service.rendering import mask_rings

MASKS = arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def ellipse(x: float, y: float, width: float, height: float, points: int = 200) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return list(zip(x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles), strict=True))


def test_a_square_takes_the_pixels_on_its_edges() -> None:
    mask = fill([[(1, 1), (4, 1), (4, 3), (1, 3)]], 7, 6)
    expected = np.zeros((6, 7), bool)
    expected[1:4, 1:5] = True
    assert np.array_equal(mask, expected)


def test_fractions_decide_by_the_pixels_centre() -> None:
    mask = fill([[(0.9, 1.1), (4.1, 1.1), (4.1, 3.0), (0.9, 3.0)]], 7, 6)
    expected = np.zeros((6, 7), bool)
    expected[2:4, 1:5] = True  # row 1 lies above 1.1
    assert np.array_equal(mask, expected)


def test_an_ellipses_pixels_are_those_whose_centres_are_inside() -> None:
    rows, columns = np.mgrid[:80, :100]
    inside = ((columns - 50.3) / 30) ** 2 + ((rows - 40.7) / 20) ** 2 <= 1
    assert np.array_equal(fill([ellipse(50.3, 40.7, 60, 40, 20_000)], 100, 80), inside)


def test_a_ring_inside_another_is_a_hole_whatever_its_direction() -> None:
    outer, inner = [(0, 0), (8, 0), (8, 8), (0, 8)], [(2.5, 2.5), (5.5, 2.5), (5.5, 5.5), (2.5, 5.5)]
    for hole in (inner, inner[::-1]):
        mask = fill([outer, hole], 9, 9)
        assert np.count_nonzero(mask) == 81 - 9
        assert not mask[3:6, 3:6].any()


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_a_masks_outline_gives_the_mask_back(mask: np.ndarray) -> None:
    assert np.array_equal(fill(mask_rings(mask), mask.shape[1], mask.shape[0]), mask)


def test_one_point_and_a_line_are_drawn() -> None:
    assert np.argwhere(fill([[(3, 2)]], 5, 5)).tolist() == [[2, 3]]
    assert np.argwhere(fill([[(1, 1), (3, 3)]], 5, 5)).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_nothing_is_empty() -> None:
    assert not fill([], 5, 4).any()
    assert fill([], 5, 4).shape == (4, 5)


@pytest.mark.parametrize(
    "ring",
    [
        pytest.param([(0, 0), (9, 9), (9, 0), (0, 9)], id="a bow tie"),
        pytest.param([(0, 2), (9, 2), (9, 9), (4, 9), (4, 0), (2, 0), (0, 9)], id="a loop"),
        pytest.param([(1, 1), (8, 1), (8, 8), (1, 8)] * 2, id="twice around"),
        pytest.param(
            [(5 + 4 * np.cos(4 * np.pi * k / 5), 5 + 4 * np.sin(4 * np.pi * k / 5)) for k in range(5)], id="star"
        ),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_an_outline_that_crosses_itself_is_refused(ring: list[tuple[float, float]], reverse: bool) -> None:
    with pytest.raises(InvalidMask, match="crosses itself"):
        fill([ring[::-1] if reverse else ring], 10, 10)


@pytest.mark.parametrize("points", [3, 7, 24, 500])
@pytest.mark.parametrize("offset", [0.0, 0.123, 0.5])
def test_a_smooth_outline_is_never_taken_for_one_that_crosses_itself(points: int, offset: float) -> None:
    area = np.count_nonzero(fill([ellipse(150 + offset, 140 + offset, 220, 260, points)], 300, 300))
    polygon = points / 2 * np.sin(2 * np.pi / points) * 110 * 130
    assert area == pytest.approx(polygon, rel=0.01)


@pytest.mark.parametrize(
    "point", [(-1, 3), (3, -0.6), (9.6, 3), (3, 10), (float("nan"), 3), (float("inf"), 3), (1e300, 0)]
)
def test_a_point_outside_the_picture_is_named(point: tuple[float, float]) -> None:
    with pytest.raises(InvalidMask, match="outside the 10 x 10"):
        fill([[(1, 1), (5, 5), point]], 10, 10)


def test_the_pictures_very_edge_is_inside() -> None:
    assert fill([[(-0.5, -0.5), (9.5, -0.5), (9.5, 9.5), (-0.5, 9.5)]], 10, 10).all()


def test_work_is_bounded() -> None:
    with pytest.raises(InvalidMask, match="points"):
        fill([[(1.0, 1.0)] * (polygons.MAX_POINTS + 1)], 10, 10)
    zigzag = [(float(k % 100), float(k % 2 * 4999)) for k in range(1000)]
    with pytest.raises(InvalidMask, match="climb"):
        fill([zigzag], 100, 5000)
