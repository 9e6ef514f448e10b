"""Bytes → photograph: an encoded file becomes upright RGB, or one clear error. Knows no network and no web."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from model import exif, jpeg
from model.errors import (
    EmptyPhotograph,
    InvalidConfiguration,
    InvalidMask,
    PhotographError,
    PhotographTooCostly,
    TooFewPixels,
    TooManyBytes,
    TooManyPixels,
    UnreadablePhotograph,
    UnsupportedFormat,
)

Pixels = TypeVar("Pixels")

PIXELS_BEFORE_PILLOW_WARNS = 89_478_485  # Pillow's own bomb limit; ours stays below, so that its warning never comes up
MAX_PARTS = 20_000  # chunks or strips of one file; Pillow walks them in Python, and millions take minutes
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_PLANES, TIFF_TILE_WIDTH, TIFF_TILE_LENGTH = 258, 262, 284, 322, 323
TIFF_STRUCTURE = range(254, 700)  # tags that describe the pixels; above them are profiles and other people's data
TIFF_TEXT, TIFF_WHOLE_NUMBERS = 2, {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of a field
WITHOUT_WHITE = ("I", "F", "LAB")  # Pillow's modes of signed, 32-bit, float and L*a*b* samples
LABEL_MODES = ("1", "L", "P")  # of one channel with at most 8 bits, a byte per pixel in memory


@dataclass(frozen=True)
class Limits:
    """What is refused before any pixel is decoded.

    Raises:
        InvalidConfiguration: a limit below 1, or `max_pixels` above 89,478,485.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 40_000_000
    min_side: int = 64  # pixels; below it no disc can be outlined

    def __post_init__(self) -> None:
        wrong = [name for name in ("max_bytes", "max_pixels", "min_side") if getattr(self, name) < 1]
        if self.max_pixels > PIXELS_BEFORE_PILLOW_WARNS:
            wrong.append("max_pixels")
        if wrong:
            raise InvalidConfiguration(f"limits out of range: {', '.join(wrong)}")


@dataclass(frozen=True)
class Decoded:
    """A photograph: upright RGB, (H, W, 3) uint8, C-contiguous, perhaps read-only. And the format that it came in.

    Where `reduction` is 2, 4 or 8, each pixel stands for as many × as many of the photograph's, from its top left
    corner on; the last row and column may stand for fewer.
    """

    pixels: np.ndarray
    format: str  # "JPEG", "PNG", "TIFF", "BMP" or "WEBP"
    reduction: int = 1
    whole_shape: tuple[int, int] | None = None  # (H, W) of the photograph where it was reduced

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the photograph as sent, upright."""
        return self.whole_shape or (self.pixels.shape[0], self.pixels.shape[1])


def decode(data: bytes, limits: Limits = Limits(), smallest_side: int | None = None) -> Decoded:
    """The photograph in an encoded file; the first one where there are several.

    It is turned as its EXIF orientation says. What is transparent becomes black, like the surround of a field of view.
    16-bit samples are scaled to 8. An ICC profile is left aside: the networks were trained on the values as stored, and
    a colour cast is taken away by normalisation, with or without a profile.

    Args:
        smallest_side: where given, a JPEG comes reduced to a half, a quarter or an eighth if its shorter side keeps as
            many pixels: quicker, and in less memory. One that has to be turned may come whole all the same.
    Raises:
        EmptyPhotograph, TooManyBytes, UnsupportedFormat, TooManyPixels, TooFewPixels: seen from the header alone.
        UnreadablePhotograph: truncated, damaged, or less in it than its header says.
        PhotographTooCostly: memory ran out.
    """
    name, (pixels, reduction, shape) = _read(data, limits, READERS, _photograph, smallest_side)
    return Decoded(pixels, name, reduction, shape)


def _photograph(image: ImageFile) -> tuple[np.ndarray, int, tuple[int, int] | None]:
    """What `Decoded` holds, of a loaded image."""
    orientation = exif.orientation_of(image)
    pixels = np.ascontiguousarray(exif.upright(_rgb(image), orientation))
    if not isinstance(image, jpeg.Jpeg) or image.reduction == 1:
        return pixels, 1, None
    width, height = image.whole_size
    return pixels, image.reduction, (width, height) if orientation in exif.TRANSPOSING else (height, width)


def decode_labels(data: bytes, limits: Limits = Limits()) -> np.ndarray:
    """The values of a PNG as stored: (H, W) uint8 where it is grey or has a palette, whose colours do not count.

    `min_side` is not asked for. A PNG of one bit gives bool.

    Raises:
        EmptyPhotograph, TooManyBytes, UnsupportedFormat, TooManyPixels, UnreadablePhotograph: as `decode`.
        InvalidMask: seen from the header alone, a PNG of colours, of transparency or of 16 bits.
    """
    _, values = _read(data, replace(limits, min_side=1), ("PNG",), np.asarray, modes=LABEL_MODES)
    return values


def _read(
    data: bytes,
    limits: Limits,
    formats: Collection[str],
    pixels_of: Callable[[ImageFile], Pixels],
    smallest_side: int | None = None,
    modes: Collection[str] | None = None,
) -> tuple[str, Pixels]:
    """The format's name, and what `pixels_of` makes of the loaded image; `modes` where not all of Pillow's will do."""
    if not data:
        raise EmptyPhotograph("there are no bytes")
    if len(data) > limits.max_bytes:
        raise TooManyBytes(f"{len(data):,} bytes, more than the limit of {limits.max_bytes:,}")
    name = next((name for name in formats if READERS[name].magic.match(data)), None)
    if name is None:
        raise UnsupportedFormat("neither JPEG, PNG, TIFF, BMP nor WebP" if len(formats) > 1 else "not a PNG")
    reader = READERS[name]
    try:
        markers = reader.check(data, limits)
        image = reader.open(io.BytesIO(data))
        _check_header(image, limits)
        if modes is not None and image.mode not in modes:
            raise InvalidMask("a label mask is a grey or palette PNG of at most 8 bits, without transparency")
        if isinstance(image, jpeg.Jpeg) and markers is not None:
            jpeg.load(image, data, markers, smallest_side)
        else:
            image.load()
        return name, pixels_of(image)
    except (PhotographError, InvalidMask):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a WebP's canvas, while opening
        raise TooManyPixels(f"more pixels than the limit of {limits.max_pixels:,}") from error
    except MemoryError as error:
        raise PhotographTooCostly("decoding takes more memory than there is for one photograph") from error
    except Exception as error:  # Pillow has no closed set: a damaged file may raise nearly every built-in exception
        raise UnreadablePhotograph(f"the {name} file is truncated, damaged or of a rare kind") from error


def _check_header(image: ImageFile, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise TooManyPixels(f"{width} x {height} pixels, more than the limit of {limits.max_pixels:,}")
    if min(width, height) < limits.min_side:
        raise TooFewPixels(f"{width} x {height} pixels, a side is shorter than {limits.min_side}")
    if image.mode in WITHOUT_WHITE:
        raise UnsupportedFormat("the file does not say which value is white: samples must be unsigned, at most 16 bits")


def _rgb(image: ImageFile) -> np.ndarray:
    """(H, W, 3) uint8 of a loaded image of any mode."""
    if isinstance(image, jpeg.Jpeg) and image.rgb is not None:
        return image.rgb
    if image.mode.startswith("I;16"):
        return np.repeat(_grey_from_16_bits(image)[..., None], 3, axis=2)
    if image.has_transparency_data:
        black = Image.new("RGB", image.size)
        opaque = image.convert("RGBA")
        black.paste(opaque, mask=opaque.getchannel("A"))
        return np.asarray(black)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # converting RGB would copy it


def _grey_from_16_bits(image: ImageFile) -> np.ndarray:
    """(H, W) uint8 of a loaded 16-bit image, white to white; Pillow's own conversion clips at 255."""
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2[TIFF_BITS][0]  # 12 is possible
        white_is_zero = image.tag_v2.get(TIFF_PHOTOMETRIC) == 0
    white = 2**bits - 1
    grey = ((np.arange(2**16) * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
    if white_is_zero:
        grey = 255 - grey
    if "transparency" in image.info:
        grey[image.info["transparency"]] = 0
    return np.take(grey, np.asarray(image))


def _check_png(data: bytes, limits: Limits) -> None:
    """Every chunk is there and has its checksum; Pillow looks at those before the pixels only."""
    position = 8
    view = memoryview(data)
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise UnreadablePhotograph("the PNG file is damaged: a checksum is wrong")
        if kind == b"IEND":
            return
        position = end + 4
    raise UnreadablePhotograph(f"the PNG file has more than {MAX_PARTS:,} chunks")


def _check_tiff(data: bytes, limits: Limits) -> None:
    """The first directory asks neither Pillow for lists of millions nor libtiff for a tile larger than a photograph."""
    order = "<" if data.startswith(b"II") else ">"
    big = 0x2B in data[2:4]  # BigTIFF: wider offsets and counts
    offset, entries, field = (order + code for code in (("Q", "Q", "HHQ") if big else ("I", "H", "HHI")))
    (directory,) = struct.unpack_from(offset, data, 8 if big else 4)
    (length,) = struct.unpack_from(entries, data, directory)
    if length > MAX_PARTS:
        raise UnreadablePhotograph(f"the TIFF file has more than {MAX_PARTS:,} fields")
    tile = {TIFF_TILE_WIDTH: 1, TIFF_TILE_LENGTH: 1}
    at = directory + struct.calcsize(entries)
    for _ in range(length):
        tag, kind, count = struct.unpack_from(field, data, at)
        at += struct.calcsize(field)
        if tag in TIFF_STRUCTURE and kind != TIFF_TEXT and count > MAX_PARTS:
            raise UnreadablePhotograph(f"the TIFF file has more than {MAX_PARTS:,} strips or values of one field")
        if tag in tile:
            (tile[tag],) = struct.unpack_from(order + TIFF_WHOLE_NUMBERS.get(kind, "I"), data, at)
        at += struct.calcsize(offset)
    if tile[TIFF_TILE_WIDTH] * tile[TIFF_TILE_LENGTH] > limits.max_pixels:
        raise UnreadablePhotograph("the TIFF file is damaged: its tiles are larger than any photograph")


def _check_nothing(data: bytes, limits: Limits) -> None:
    """A BMP has no parts, and libwebp checks its own."""


class _Tiff(TiffImageFile):
    """Pillow's reader without two faults that uncompressed TIFFs show."""

    def _setup(self) -> None:
        """Pillow takes 16-bit samples for 8-bit ones where red, green and blue are stored one after the other."""
        super()._setup()
        bits = self.tag_v2.get(TIFF_BITS, (1,))
        if not self.use_load_libtiff and self.tag_v2.get(TIFF_PLANES) == 2 and bits[0] == 16 and len(bits) > 1:
            order = ";16L" if self.tag_v2.prefix == b"II" else ";16B"
            self.tile = [tile._replace(args=(tile.args[0] + order, *tile.args[1:])) for tile in self.tile if tile.args]

    def load_read(self, read_bytes: int) -> bytes:
        """Pillow reads a strip in steps of the distance to the next one, which a hostile file makes one byte."""
        return self.fp.read(max(read_bytes, self.decodermaxblock)) if self.fp else b""


@dataclass(frozen=True)
class _Reader:
    magic: re.Pattern[bytes]
    check: Callable[[bytes, Limits], jpeg.Markers | None]
    open: Callable[[io.BytesIO], ImageFile]


# The first bytes choose the one reader that gets to see the file. It is called directly, not by `Image.open`, which
# warns about size through `warnings.warn`: that cannot be made an error for one thread alone.
READERS = {
    "JPEG": _Reader(re.compile(rb"\xff\xd8\xff"), lambda data, limits: jpeg.check(data), jpeg.Jpeg),
    "PNG": _Reader(re.compile(rb"\x89PNG\r\n\x1a\n"), _check_png, PngImageFile),
    "TIFF": _Reader(re.compile(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"), _check_tiff, _Tiff),
    "BMP": _Reader(re.compile(rb"BM"), _check_nothing, BmpImageFile),
    "WEBP": _Reader(re.compile(rb"RIFF....WEBP", re.DOTALL), _check_nothing, WebPImageFile),
}
