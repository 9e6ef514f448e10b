"""Masks and overlays say what the label mask says, pixel by pixel."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from model.masks import Label, Patch
from service import rendering

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def draw_labels(height: int = 120, width: int = 160, disc: int = 40, cup: int = 20) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    radius = np.hypot(rows - height / 2 + 0.5, columns - width / 2 + 0.5)
    return np.where(radius <= cup, Label.CUP, np.where(radius <= disc, Label.RIM, Label.BACKGROUND)).astype(np.uint8)


def read(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


@given(MASKS)
def test_png_has_one_channel_of_one_bit(mask: np.ndarray) -> None:
    image = read(rendering.mask_png(mask))
    assert image.mode == "1"
    assert np.array_equal(np.asarray(image), mask)
    widened = cv2.imdecode(np.frombuffer(rendering.mask_png(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(widened, mask * np.uint8(255))


@st.composite
def patches(draw: st.DrawFn) -> Patch:
    """A part somewhere in a larger mask."""
    values = draw(MASKS)
    top, left, below, right = (draw(st.integers(0, 20)) for _ in range(4))
    return Patch(values, top, left, (top + len(values) + below, left + values.shape[1] + right))


@given(patches())
def test_a_part_of_a_mask_is_encoded_as_the_whole(patch: Patch) -> None:
    assert rendering.mask_png(patch) == rendering.mask_png(patch.whole)
    assert rendering.mask_rings(patch) == rendering.mask_rings(patch.whole)
    expected = coco.encode(np.asfortranarray(patch.whole, dtype=np.uint8))["counts"].decode("ascii")
    assert rendering.mask_rle(patch) == rendering.mask_rle(patch.whole) == expected


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder, numpy 2
@given(MASKS)
def test_run_lengths_are_what_coco_reads(mask: np.ndarray) -> None:
    counts = rendering.mask_rle(mask)
    assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": counts}), mask)


@given(MASKS)
def test_filled_polygons_give_the_mask_back(mask: np.ndarray) -> None:
    rings = rendering.mask_rings(mask)
    canvas = np.zeros(mask.shape, np.uint8)
    if rings:
        cv2.fillPoly(canvas, [np.array(ring, np.int32) for ring in rings], 1)
    assert np.array_equal(canvas.astype(bool), mask)


def test_label_picture_is_a_palette_with_the_labels_as_values() -> None:
    labels = draw_labels()
    image = read(rendering.label_png(labels))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), labels)
    colours = np.asarray(image.convert("RGB"))
    assert tuple(colours[0, 0]) == (0, 0, 0)
    assert tuple(colours[60, 80]) == rendering.CUP_COLOUR


def test_overlay_draws_thin_lines_on_the_edges_and_leaves_the_rest_alone() -> None:
    photograph = np.full((120, 160, 3), (150, 60, 20), np.uint8)
    overlay = np.asarray(read(rendering.overlay_png(photograph, draw_labels())))
    changed = (overlay != photograph).any(axis=2)
    row = np.flatnonzero(changed[60])  # the middle row crosses disc, cup, cup, disc
    edges = np.array([40, 60, 100, 120]) - 0.5
    assert all(np.abs(edges - column).min() < 3 for column in row)
    assert len(row) <= 4 * 4
    assert overlay[60, 40, 1] > 150  # green on the disc's edge
    assert overlay[60, 60, 2] > 150  # blue on the cup's


def test_overlay_line_grows_with_the_disc() -> None:
    widths = []
    for scale in (1, 8):
        labels = draw_labels(120 * scale, 160 * scale, 40 * scale, 0)
        overlay = np.asarray(read(rendering.overlay_png(np.zeros((*labels.shape, 3), np.uint8), labels)))
        widths.append(np.count_nonzero(overlay[60 * scale, : 80 * scale, 1] > 127))
    assert widths[0] in (1, 2)
    assert widths[1] == pytest.approx(2 * 320 / rendering.LINES_PER_DISC, abs=1)


def test_overlay_without_labels_is_the_photograph() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    photograph.flags.writeable = False  # as the decoder may give it
    overlay = rendering.overlay_png(photograph, np.zeros((90, 70), np.uint8))
    assert np.array_equal(np.asarray(read(overlay)), photograph)


def test_overlay_of_a_disc_at_the_photographs_edge() -> None:
    labels = np.full((70, 70), Label.RIM, np.uint8)
    labels[:35] = Label.CUP
    overlay = np.asarray(read(rendering.overlay_png(np.zeros((70, 70, 3), np.uint8), labels)))
    assert overlay.any()
    assert not overlay[10, 35].any()
