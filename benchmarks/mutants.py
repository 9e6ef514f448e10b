"""Damaged photographs: real files of every format, changed as files break by themselves and as attackers break them.

The same seed gives the same mutants, so that one which did harm can be made again by its number.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.photographs import EXAMPLE

SIDE = 400  # pixels: the header's lies are what makes a mutant large
HEADER = 700  # bytes from the beginning, where most of the structure is
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
WORDS = (0, 1, 2**15 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
COUNTS = (1, 1, 1, 1, 2, 2, 3, 5, 12)  # of changes; few get further than many


@dataclass(frozen=True)
class Mutant:
    """A damaged file."""

    number: int
    format: str  # as Pillow calls it
    media_type: str
    data: bytes


def mutants(count: int, seed: int = 0, of: Sequence[tuple[str, bytes]] = ()) -> Iterator[Mutant]:
    """So many, each format in turn; of photographs unless other files are given, as `originals` does."""
    wholes = of or originals()
    formats = sorted({name for name, _ in wholes})
    for number in range(count):
        lots = random.Random(f"{seed} {number}")
        name = formats[number % len(formats)]
        data = bytearray(lots.choice([data for kind, data in wholes if kind == name]))
        for _ in range(lots.choice(COUNTS)):
            lots.choice(CHANGES)(data, lots)
        if lots.random() < 0.1:
            other = lots.choice(wholes)[1]  # the head of one, the rest of another
            data[lots.randrange(len(data) + 1) :] = other[lots.randrange(len(other)) :]
        if name == "PNG" and lots.random() < 0.8:
            data = repaired(data)
        yield Mutant(number, name, f"image/{name.lower()}", bytes(data))


def originals() -> list[tuple[str, bytes]]:
    """Format and file: the example in every form that each format has."""
    whole = Image.open(EXAMPLE).convert("RGB").resize((SIDE, SIDE))
    grey, palette, alpha = whole.convert("L"), whole.quantize(64), whole.convert("RGBA")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x010F] = 6, "an eye", "a camera"
    forms: list[tuple[str, Image.Image, dict[str, Any]]] = [
        *(("JPEG", picture, {}) for picture in (whole, grey, whole.convert("CMYK"))),
        ("JPEG", whole, {"progressive": True}),
        ("JPEG", whole, {"exif": exif, "restart_marker_blocks": 7, "subsampling": 0}),
        *(("PNG", picture, {}) for picture in (whole, grey, palette, alpha, deep)),
        ("PNG", whole, {"save_all": True, "append_images": [whole, whole]}),
        *(("TIFF", picture, {}) for picture in (whole, palette, deep, alpha)),
        *(("TIFF", whole, {"compression": f"tiff_{kind}"}) for kind in ("lzw", "adobe_deflate", "jpeg")),
        ("TIFF", whole, {"compression": "packbits", "big_tiff": True}),
        ("TIFF", grey.convert("1"), {"compression": "group4"}),
        *(("BMP", picture, {}) for picture in (whole, grey, palette, alpha)),
        ("WEBP", whole, {"quality": 80, "exif": exif}),
        ("WEBP", alpha, {"lossless": True}),
        ("WEBP", whole, {"save_all": True, "append_images": [whole, whole]}),
    ]
    made = []
    for name, picture, options in forms:
        file = io.BytesIO()
        picture.save(file, name, **options)
        made.append((name, file.getvalue()))
    return made


def label_masks() -> list[tuple[str, bytes]]:
    """Format and file: a round disc with a round cup, in the values of `model.masks.Label`, grey and with palettes."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    distance = np.hypot(rows - SIDE / 2, columns - SIDE / 2)
    grey = Image.fromarray((distance < 80).astype(np.uint8) + (distance < 40))
    palette = grey.copy()
    palette.putpalette([0, 0, 0, 0, 200, 0, 0, 0, 200])
    made = []
    for picture, options in ((grey, {}), (palette, {}), (palette, {"bits": 2})):
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        made.append(("PNG", file.getvalue()))
    return made


def repaired(data: bytearray) -> bytearray:
    """A PNG whose checksums are right again, so that what is behind them is read."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(memoryview(data)[at + 4 : end]))
        at = end + 4
    return data


def _place(data: bytearray, lots: random.Random) -> int:
    """Half of the time near the beginning."""
    most = len(data) if lots.random() < 0.5 else min(len(data), HEADER)
    return lots.randrange(most) if most else 0


def _flip(data: bytearray, lots: random.Random) -> None:
    if data:
        data[_place(data, lots)] ^= 1 << lots.randrange(8)


def _edge(data: bytearray, lots: random.Random) -> None:
    if data:
        data[_place(data, lots)] = lots.choice(EDGES)


def _word(data: bytearray, lots: random.Random) -> None:
    """A length, an offset, a count, a size."""
    kind = lots.choice(("<H", ">H", "<I", ">I"))
    at = _place(data, lots)
    word = struct.pack(kind, lots.choice(WORDS) % 2 ** (8 * struct.calcsize(kind)))
    data[at : at + len(word)] = word


def _cut(data: bytearray, lots: random.Random) -> None:
    del data[_place(data, lots) :]


def _remove(data: bytearray, lots: random.Random) -> None:
    at = _place(data, lots)
    del data[at : at + lots.randint(1, 200)]


def _repeat(data: bytearray, lots: random.Random) -> None:
    at = _place(data, lots)
    data[at:at] = data[at : at + lots.randint(1, 400)] * lots.randint(1, 50)


def _insert(data: bytearray, lots: random.Random) -> None:
    at = _place(data, lots)
    data[at:at] = lots.choice((lots.randbytes(lots.randint(1, 64)), b"\xff" * 3000, bytes(3000)))


def _swap(data: bytearray, lots: random.Random) -> None:
    one, other = sorted((_place(data, lots), _place(data, lots)))
    size = lots.randint(1, 64)
    if one + size <= other:
        data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _edge, _edge, _word, _word, _word),
    *(_cut, _remove, _repeat, _insert, _swap),
)
