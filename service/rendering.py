"""Masks and photographs → what a client reads: PNG, run lengths, polygons, and the overlay. Pure functions."""

import io

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from model.masks import Label

DISC_COLOUR = (0, 255, 127)  # RGB
CUP_COLOUR = (48, 144, 255)
LINES_PER_DISC = 160  # widths of the outline that fit into the disc's diameter
THINNEST_LINE = 1.5  # pixels
PHOTOGRAPH_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
MASK_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
)  # six times faster than the defaults, and a quarter of their size


def mask_png(mask: np.ndarray) -> bytes:
    """A PNG of one channel, 0 or 255, from a (H, W) bool mask."""
    return cv2.imencode(".png", mask.astype(np.uint8) * 255, MASK_PNG)[1].tobytes()


def mask_rle(mask: np.ndarray) -> str:
    """COCO's compressed run lengths, column by column, of a (H, W) bool mask."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def mask_rings(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """The outlines of a (H, W) bool mask, those of holes too, as [column, row] of the outermost pixels.

    `cv2.fillPoly` with all rings at once gives the mask back.
    """
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [[(int(column), int(row)) for column, row in ring.reshape(-1, 2)] for ring in rings]


def label_png(label_mask: np.ndarray) -> bytes:
    """A palette PNG with the values of `Label`: black, rim green, cup blue."""
    image = Image.fromarray(label_mask.astype(np.uint8))
    image.putpalette([0, 0, 0, *DISC_COLOUR, *CUP_COLOUR])
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def overlay_png(photograph: np.ndarray, label_mask: np.ndarray) -> bytes:
    """The photograph, (H, W, 3) uint8 RGB, with the outlines of disc and cup from its (H, W) label mask, as a PNG."""
    return cv2.imencode(".png", outlined(photograph, label_mask), PHOTOGRAPH_PNG)[1].tobytes()


def outlined(photograph: np.ndarray, label_mask: np.ndarray) -> np.ndarray:
    """The same as (H, W, 3) uint8 in OpenCV's order, BGR."""
    picture = cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR)
    disc = label_mask >= Label.RIM
    width = max(THINNEST_LINE, 2 * np.sqrt(np.count_nonzero(disc) / np.pi) / LINES_PER_DISC)
    _draw_outline(picture, disc, DISC_COLOUR[::-1], width)
    _draw_outline(picture, label_mask == Label.CUP, CUP_COLOUR[::-1], width)
    return picture


def _draw_outline(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, ...], width: float) -> None:
    """A smooth line of `width` pixels along the mask's edge, drawn into `picture`.

    The distance to the edge gives each pixel's share of the line: no staircase, and the line lies on the edge itself.
    """
    left, top, columns, rows = cv2.boundingRect(mask.astype(np.uint8))
    if not columns:
        return
    margin = int(width) + 4
    part = np.s_[max(0, top - margin) : top + rows + margin, max(0, left - margin) : left + columns + margin]
    inside = np.pad(mask[part], 1).astype(np.uint8)
    distance = np.where(inside, _to_edge(inside), -_to_edge(1 - inside))[1:-1, 1:-1]
    distance = cv2.GaussianBlur(distance, (0, 0), 1.0)
    share = np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1)[..., None]
    blend = picture[part] * (1 - share) + np.array(colour, np.float32) * share
    picture[part] = np.rint(blend).astype(np.uint8)


def _to_edge(inside: np.ndarray) -> np.ndarray:
    """From each pixel's centre to the nearest edge, in pixels."""
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5) - 0.5
