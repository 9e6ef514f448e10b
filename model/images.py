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
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

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
MAX_PARTS = 20_000  # segments, chunks or strips of one file; Pillow walks them in Python, and millions take minutes
MAX_SCANS = 100  # of a JPEG; cameras write at most a dozen, and a scan of few bytes costs a pass over all pixels
MAX_JUNK = 4096  # bytes between two segments before a JPEG's first scan; Pillow steps over them one by one

JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # ends coded data: no escaped 0xFF and no restart marker
JPEG_WITHOUT_LENGTH = (0x01, 0xD8)
JPEG_HUFFMAN_FRAMES, JPEG_SEQUENTIAL_FRAMES = (0xC0, 0xC1, 0xC2), (0xC0, 0xC1)
JPEG_READ_AHEAD = bytes(range(1, 17))  # libjpeg fetches 8 bytes at a time
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_PLANES, TIFF_TILE_WIDTH, TIFF_TILE_LENGTH = 258, 262, 284, 322, 323
TIFF_STRUCTURE = range(254, 700)  # tags that describe the pixels; above them are profiles and other people's data
TIFF_TEXT, TIFF_WHOLE_NUMBERS = 2, {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of a field
EXIF_ORIENTATION = 274
UNLIKELY = bytes(73 * column % 256 for column in range(256))  # grey levels, as no scene has them side by side
FEWER_ROWS = "the JPEG file holds fewer rows than its header says"
TRANSPOSING = (5, 6, 7, 8)  # orientations that exchange width and height
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


def reduction_of(width: int, height: int, smallest_side: int | None, exact: bool = False) -> int:
    """By how much a JPEG of so many pixels is reduced as it is decoded: 8, 4, 2, or 1 for not at all.

    Args:
        smallest_side: as `decode`.
        exact: so that no row or column is left over.
    """
    for reduction in (8, 4, 2) if smallest_side else ():
        divides = width % reduction == height % reduction == 0
        if min(width, height) // reduction >= (smallest_side or 0) and (divides or not exact):
            return reduction
    return 1


def _photograph(image: ImageFile) -> tuple[np.ndarray, int, tuple[int, int] | None]:
    """What `Decoded` holds, of a loaded image."""
    orientation = _orientation(image)
    pixels = np.ascontiguousarray(_upright(_rgb(image), orientation))
    if not isinstance(image, _Jpeg) or image.reduction == 1:
        return pixels, 1, None
    width, height = image.whole_size
    return pixels, image.reduction, (width, height) if orientation in TRANSPOSING else (height, width)


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
        if isinstance(image, _Jpeg) and markers is not None:
            _load_jpeg(image, data, markers, smallest_side)
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


def _orientation(image: ImageFile) -> int:
    """EXIF orientation, 1 to 8, of a loaded image; 1 where there is none, or where EXIF is damaged."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # as many kinds as in decode; no viewer refuses a photograph for its EXIF
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in TRANSPOSING:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


_IS_JPEG_MARKER = np.ones(256, bool)  # by the byte behind an 0xFF, as `JPEG_MARKER`
_IS_JPEG_MARKER[[0x00, 0xFF, *range(0xD0, 0xD8)]] = False


@dataclass(frozen=True)
class _JpegMarkers:
    scans: int
    first_scan_end: int  # where the marker behind the first scan lies
    huffman: bool  # not arithmetic coding
    sequential: bool  # pixels come row by row, not in ever finer passes


def _read_jpeg_markers(data: bytes) -> _JpegMarkers:
    position, scans, first_scan_end, huffman, sequential = 2, 0, 0, False, False
    for _ in range(MAX_PARTS):
        start, end = _next_jpeg_marker(data, position)
        if not scans and end - position > MAX_JUNK:
            raise UnreadablePhotograph("the JPEG file is damaged: there is junk between its segments")
        if scans and not first_scan_end:
            first_scan_end = start
        kind = data[end - 1]
        if kind == JPEG_END:
            return _JpegMarkers(scans, first_scan_end, huffman, sequential)
        scans += kind == JPEG_SCAN
        huffman = huffman or kind in JPEG_HUFFMAN_FRAMES
        sequential = sequential or kind in JPEG_SEQUENTIAL_FRAMES
        length = 0 if kind in JPEG_WITHOUT_LENGTH else int.from_bytes(data[end : end + 2], "big")
        position = end + length
    raise UnreadablePhotograph(f"the JPEG file has more than {MAX_PARTS:,} segments")


def _next_jpeg_marker(data: bytes, position: int) -> tuple[int, int]:
    """Where the next marker begins and ends. Coded data are passed over in blocks, ever larger ones."""
    near = JPEG_MARKER.search(data, position, position + 64)
    if near:
        return near.start(), near.end()
    block = 4096
    while position < len(data) - 1:
        values = np.frombuffer(data, np.uint8, min(block + 1, len(data) - position), position)
        escapes = np.flatnonzero(values[:-1] == 0xFF)
        markers = escapes[_IS_JPEG_MARKER[values[escapes + 1]]]
        if markers.size:
            end = position + int(markers[0]) + 2
            start = end - 2
            while data[start - 1] == 0xFF:
                start -= 1
            return start, end
        position += block
        block = min(4 * block, 2**20)
    raise UnreadablePhotograph("the JPEG file is truncated: its end marker is missing")


def _check_jpeg(data: bytes, limits: Limits) -> _JpegMarkers:
    markers = _read_jpeg_markers(data)
    if markers.scans > MAX_SCANS:
        raise UnreadablePhotograph(f"the JPEG file has more than {MAX_SCANS} scans")
    return markers


def _load_jpeg(image: "_Jpeg", data: bytes, markers: _JpegMarkers, smallest_side: int | None) -> None:
    """Load the pixels, reduced where that is wanted and possible, and make sure that they are all there."""
    width, height = image.whole_size = image.size
    reduction = reduction_of(width, height, smallest_side)
    if (width % reduction or height % reduction) and _orientation(image) != 1:
        # turned, a partial pixel would come first
        reduction = reduction_of(width, height, smallest_side, exact=True)
    if reduction > 1:
        image.draft(None, (width // reduction, height // reduction))
        image.reduction = reduction
    if markers.scans == 1 and markers.sequential:
        image.scan_end = markers.first_scan_end
    image.load()
    if image.scan_end is None and markers.huffman:
        _check_jpeg_is_complete(data, image, markers.first_scan_end)


def _check_jpeg_is_complete(data: bytes, image: Image.Image, first_scan_end: int) -> None:
    """Refuse a JPEG of several scans that holds fewer rows than its header says.

    libjpeg tells nobody: it paints what is missing in one flat colour. So where the last corner is flat, look again
    with arbitrary bytes put behind the first scan: a complete photograph stays as it is, an incomplete one takes them
    for pixels. The first scan holds the blocks' means, so an eighth of the size is enough to see it.
    """
    corner = np.asarray(image.crop((image.width - 4, image.height - 4, image.width, image.height)))
    if np.ptp(corner, axis=(0, 1)).any():
        return
    more = data[:first_scan_end] + bytes(range(1, 255)) + data[first_scan_end:]
    if _jpeg_at_an_eighth(more) != _jpeg_at_an_eighth(data):
        raise UnreadablePhotograph(FEWER_ROWS)


def _jpeg_at_an_eighth(data: bytes) -> bytes:
    image = _Jpeg(io.BytesIO(data))
    image.draft(None, (1, 1))
    return image.tobytes()


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


class _Jpeg(JpegImageFile):
    """Pillow's reader, which would look into EXIF for a resolution and may stumble there.

    Where `scan_end` is set, the position behind the one scan of a sequential JPEG, loading makes sure that the scan
    holds every row. libjpeg tells nobody: at the marker behind the scan it paints what is missing in one flat colour.
    So it gets the data up to there without the marker, and some arbitrary bytes, as it reads a little ahead. If the
    last row has come then, all is well.
    """

    reduction = 1
    whole_size = (0, 0)
    scan_end: int | None = None
    _unread: list[bytes] | None = None

    def _read_dpi_from_exif(self) -> None:
        pass

    def load_prepare(self) -> None:
        """Pillow makes the image to read into here."""
        super().load_prepare()
        if self.scan_end is not None and self.fp:
            self.fp.seek(0)
            data = self.fp.read()
            self._unread = [data[self.scan_end :], data[: self.scan_end] + JPEG_READ_AHEAD]
            self.im.paste(self._unlikely_row().im, self._last_row())

    def load_read(self, read_bytes: int) -> bytes:
        """Pillow asks for more data here."""
        if self._unread is None:
            return super().load_read(read_bytes)
        if (
            len(self._unread) == 1
            and self._new(self.im.crop(self._last_row())).tobytes() == self._unlikely_row().tobytes()
        ):
            raise UnreadablePhotograph(FEWER_ROWS)
        return self._unread.pop() if self._unread else b""

    def _last_row(self) -> tuple[int, int, int, int]:
        return 0, self.height - 1, self.width, self.height

    def _unlikely_row(self) -> Image.Image:
        """What no photograph shows in its last row."""
        pattern = UNLIKELY * (self.width // len(UNLIKELY) + 1)
        return Image.frombytes("L", (self.width, 1), pattern[: self.width]).convert(self.mode)


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
    check: Callable[[bytes, Limits], _JpegMarkers | None]
    open: Callable[[io.BytesIO], ImageFile]


# The first bytes choose the one reader that gets to see the file. It is called directly, not by `Image.open`, which
# warns about size through `warnings.warn`: that cannot be made an error for one thread alone.
READERS = {
    "JPEG": _Reader(re.compile(rb"\xff\xd8\xff"), _check_jpeg, _Jpeg),
    "PNG": _Reader(re.compile(rb"\x89PNG\r\n\x1a\n"), _check_png, PngImageFile),
    "TIFF": _Reader(re.compile(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"), _check_tiff, _Tiff),
    "BMP": _Reader(re.compile(rb"BM"), _check_nothing, BmpImageFile),
    "WEBP": _Reader(re.compile(rb"RIFF....WEBP", re.DOTALL), _check_nothing, WebPImageFile),
}
