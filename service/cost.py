"""What decoding a photograph, or drawing outlines, will cost; told at a glance."""

import contextlib
import itertools
import re
import struct
from dataclasses import dataclass

from model.jpeg import reduction_of

HEAVY_BYTES = 2 * 2**20  # encoded; decoding that many takes about 25 ms on a core of 2026, and as long
HEAVY_PIXELS = 5_000_000  # decoded; of such photographs one worker is kept free
LARGEST_HERE = 16_000_000  # pixels decoded: 9 to 18 bytes each while it lasts, so 0.3 GiB at most for a worker

JPEG_BASELINE = (0xC0, 0xC1)  # frames: Huffman coding, each pixel once
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_WITH_LENGTH = {*JPEG_FRAMES, 0xC4, 0xCC, 0xDA, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}  # others no camera writes
JPEG_SCAN, JPEG_EXIF = 0xDA, 0xE1
MAX_SEGMENTS = 200  # before the first scan
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
OUTLINES_SIDE = re.compile(rb'"(width|height)"\s*:\s*([0-9]{1,20})')
BMP_UNCOMPRESSED = struct.pack("<I", 0)
TIFF_STARTS = (b"II*\0", b"MM\0*")
TIFF_WIDTH, TIFF_LENGTH, TIFF_SHORT = 256, 257, 3
WEBP_SIDE = 2**14 - 1  # the bits of one, where it is not extended


@dataclass(frozen=True)
class Cost:
    """Of decoding one file, as far as its first bytes can be believed."""

    encoded: int  # bytes
    whole: int = 0  # pixels that the header tells; 0 where it was not understood
    decoded: int = 0  # pixels that come of them, fewer where a JPEG is reduced
    bounded: bool = False  # decoding takes no more than those pixels make necessary

    @property
    def is_heavy(self) -> bool:
        """Whether it takes so long that one worker is to be kept for others; so too where nobody can tell."""
        return self.encoded > HEAVY_BYTES or self.decoded > HEAVY_PIXELS or not self.whole

    @property
    def is_little(self) -> bool:
        """Whether the service may decode it in its own process."""
        return self.bounded and 0 < self.decoded <= LARGEST_HERE


def cost_of(data: bytes, smallest_side: int | None = None) -> Cost:
    """What decoding takes.

    Args:
        smallest_side: as `images.decode`.
    """
    with contextlib.suppress(IndexError, KeyError, struct.error):
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data, smallest_side)
        if data.startswith(PNG_START):
            width, height = struct.unpack_from(">II", data, len(PNG_START))
            still = b"acTL" not in data[:4096]  # not more than one picture
            return Cost(len(data), width * height, width * height, still)
        if data.startswith(b"BM") and data[14] >= 40:
            width, height = struct.unpack_from("<Ii", data, 18)  # a negative height: the top row comes first
            pixels = width * abs(height)
            return Cost(len(data), pixels, pixels, data[30:34] == BMP_UNCOMPRESSED)
        if data.startswith(TIFF_STARTS):
            pixels = _tiff_pixels(data)
            return Cost(len(data), pixels, pixels)
        if data.startswith(b"RIFF") and data[8:15] == b"WEBPVP8":
            pixels = _webp_pixels(data)
            return Cost(len(data), pixels, pixels)
    return Cost(len(data))


def cost_of_outlines(data: bytes) -> Cost:
    """What drawing the polygons in a JSON text takes, by the picture's size; unknown where that may be a trick."""
    if len(data) > HEAVY_BYTES or b"\\" in data:  # names may be written in escapes; nobody does
        return Cost(len(data))
    found = [side.groups() for side in itertools.islice(OUTLINES_SIDE.finditer(data), 3)]
    sides = {name: int(digits) for name, digits in found}
    pixels = sides[b"width"] * sides[b"height"] if len(found) == len(sides) == 2 else 0
    return Cost(len(data), pixels, pixels)


def _jpeg(data: bytes, smallest_side: int | None) -> Cost:
    """It is bounded where its pixels are in one scan of all components, row by row: libjpeg passes over them once.

    Raises:
        IndexError, struct.error: it ends before.
    """
    position, frame, components, width, height, may_turn = 2, 0, 0, 0, 0, False
    for _ in range(MAX_SEGMENTS):
        while data[position] == 0xFF:
            position += 1
        kind = data[position]
        if kind not in JPEG_WITH_LENGTH or (kind in JPEG_FRAMES and frame):
            break
        if kind in JPEG_FRAMES:
            frame = kind
            height, width, components = struct.unpack_from(">HHB", data, position + 4)
        may_turn = may_turn or kind == JPEG_EXIF
        if kind == JPEG_SCAN:
            bounded = frame in JPEG_BASELINE and 0 < components == data[position + 3]
            reduction = reduction_of(width, height, smallest_side, exact=may_turn) if bounded else 1
            return Cost(len(data), width * height, width * height // reduction**2, bounded)
        position += 1 + (data[position + 1] << 8 | data[position + 2])
        if data[position] != 0xFF:
            break
    return Cost(len(data))


def _tiff_pixels(data: bytes) -> int:
    """Of the first picture. Raises struct.error, KeyError."""
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (fields,) = struct.unpack_from(order + "H", data, directory)
    sides: dict[int, int] = {}
    for at in range(directory + 2, directory + 2 + 12 * min(fields, MAX_SEGMENTS), 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (TIFF_WIDTH, TIFF_LENGTH):
            (sides[tag],) = struct.unpack_from(order + ("H" if kind == TIFF_SHORT else "I"), data, at + 8)
    return sides[TIFF_WIDTH] * sides[TIFF_LENGTH]


def _webp_pixels(data: bytes) -> int:
    """Raises struct.error."""
    width: int
    height: int
    match data[15:16]:
        case b" ":
            width, height = (side & WEBP_SIDE for side in struct.unpack_from("<HH", data, 26))
        case b"L":
            (bits,) = struct.unpack_from("<I", data, 21)
            width, height = (bits & WEBP_SIDE) + 1, (bits >> 14 & WEBP_SIDE) + 1
        case _:
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    return width * height
