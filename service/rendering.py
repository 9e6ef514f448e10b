"""Masks and photographs → what a client reads: PNG, run lengths, polygons, and the overlay. Pure functions."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from model.masks import Label, Patch

DISC_COLOUR = (0, 255, 127)  # RGB
CUP_COLOUR = (48, 144, 255)
LINES_PER_DISC = 160  # widths of the outline that fit into the disc's diameter
THINNEST_LINE = 1.5  # pixels
PHOTOGRAPH_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ONE_BIT_GREY = bytes([1, 0, 0, 0, 0])  # of a PNG's header: depth, colour type, compression, filter, interlace
ROWS_AT_ONCE = 256  # of a mask's empty part


def mask_png(mask: np.ndarray | Patch) -> bytes:
    """A PNG of one channel and one bit, black or white, from a (H, W) bool mask or the part of one.

    Of the whole picture nothing is made but its bits, and of its empty rows not even those.
    """
    patch = _patch(mask)
    height, width = patch.shape
    row_bytes = 1 + (width + 7) // 8  # each row begins with its filter, 0
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    parts = []

    def add_empty(rows: int) -> None:
        block = bytes(row_bytes * min(rows, ROWS_AT_ONCE))
        for first in range(0, rows, ROWS_AT_ONCE):
            parts.append(packer.compress(block[: row_bytes * min(ROWS_AT_ONCE, rows - first)]))

    lit_rows = len(patch.values)
    before = patch.left % 8  # of the part's first byte
    bits = np.packbits(np.pad(patch.values, ((0, 0), (before, 0))) if before else patch.values, axis=1)
    rows = np.zeros((lit_rows, row_bytes), np.uint8)
    first = 1 + patch.left // 8
    rows[:, first : first + bits.shape[1]] = bits
    add_empty(patch.top)
    parts.append(packer.compress(rows.tobytes()))
    add_empty(height - patch.top - lit_rows)
    parts.append(packer.flush())
    header = struct.pack(">II", width, height) + ONE_BIT_GREY
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"".join(parts)) + _chunk(b"IEND", b"")


def mask_rle(mask: np.ndarray | Patch) -> str:
    """COCO's compressed run lengths, column by column, of a (H, W) bool mask or the part of one."""
    patch = _patch(mask)
    height, width = patch.shape
    rows, columns = patch.values.shape
    closed = np.zeros((columns, rows + 2), np.uint8)  # runs go down, and every column of the part ends with one
    closed[:, 1:-1] = patch.values.T
    column, row = np.divmod(np.flatnonzero(closed[:, 1:] != closed[:, :-1]), rows + 1)  # where a run begins or ends
    places = (column + patch.left) * height + row + patch.top
    # a run that goes on from the foot of a column to the head of the next: end and beginning in the same place
    same = places[1:] == places[:-1]
    places = places[~(np.append(same, False) | np.append(False, same))] if same.any() else places
    counts = np.diff(places, prepend=0, append=height * width)
    if places.size and places[-1] == height * width:
        counts = counts[:-1]
    return _compressed(counts)


def _compressed(counts: np.ndarray) -> str:
    """COCO's text of run lengths: from the third on the difference to the one before last, 5 bits a character."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    characters, present = [], []
    more = np.ones(values.shape, bool)
    while more.any():
        present.append(more)
        low = values & 0x1F
        values = values >> 5
        more = more & (values != -((low >> 4) & 1))  # the highest bit that is written is the sign
        characters.append(low | (more << 5))
    written = np.array(characters, np.uint8).T[np.array(present, bool).T]
    text: str = (written + np.uint8(48)).tobytes().decode("ascii")
    return text


def mask_rings(mask: np.ndarray | Patch) -> list[list[tuple[int, int]]]:
    """The outlines of a (H, W) bool mask, those of holes too, as [column, row] of the outermost pixels.

    `cv2.fillPoly` with all rings at once gives the mask back.
    """
    patch = _patch(mask)
    rings, _ = cv2.findContours(
        patch.values.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(patch.left, patch.top)
    )
    return [[(int(column), int(row)) for column, row in ring.reshape(-1, 2).tolist()] for ring in rings]


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


def _patch(mask: np.ndarray | Patch) -> Patch:
    return (mask if isinstance(mask, Patch) else Patch.of(mask)).trimmed()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
