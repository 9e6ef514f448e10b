"""A square from a reduced copy is what enlarging the copy and averaging the square would give."""

import cv2
import numpy as np
import pytest

from model import resampling
from model.retina import Frame

H, W = 611, 743


def drawn(times: int) -> np.ndarray:
    """A reduced copy of a photograph of H × W, with detail down to a few of its pixels."""
    noise = np.random.default_rng(times).integers(0, 256, (-(-H // times), -(-W // times), 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.0)


def enlarged_and_averaged(reduced: np.ndarray, times: int, frame: Frame, size: int) -> np.ndarray:
    height, width = reduced.shape[:2]
    whole = cv2.resize(reduced.astype(np.float32), (width * times, height * times), interpolation=cv2.INTER_CUBIC)
    return frame.cut(whole[:H, :W], size)


@pytest.mark.parametrize("times", [2, 4, 8])
@pytest.mark.parametrize(
    "frame",
    [
        Frame(200, 150, 320),  # inside
        Frame(0, 0, 96),  # as many pixels as are wanted
        Frame(-57, -31, 333),  # beyond the top left
        Frame(600, 400, 401),  # beyond the bottom right, where the last pixels stand for fewer
        Frame(-100, -80, 1000),  # all around
        Frame(740, 100, 97),  # three columns of the photograph
    ],
)
def test_it_equals_enlarging_and_averaging(times: int, frame: Frame) -> None:
    reduced = drawn(times)
    found = resampling.averaged(reduced, times, (H, W), (frame.top, frame.left), frame.side, 96)
    assert found.shape == (96, 96, 3)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, enlarged_and_averaged(reduced, times, frame, 96), atol=2e-3)


def test_one_channel_and_a_flat_picture_stay_as_they_are() -> None:
    flat = np.full((100, 120, 1), 77, np.uint8)
    found = resampling.averaged(flat, 4, (400, 480), (37, 55), 301, 64)
    np.testing.assert_allclose(found, 77.0, atol=1e-3)
    assert found.shape == (64, 64, 1)


def test_what_lies_beyond_the_photograph_is_black() -> None:
    found = resampling.averaged(np.full((50, 50, 3), 200, np.uint8), 2, (100, 100), (50, 500), 80, 40)
    assert not found.any()
