"""A JPEG's pixels, reduced where fewer will do, and the proof that all of them are there.

What cameras write, one scan of Huffman codes in grey or YCbCr, is decoded by TurboJPEG straight into an array, in three
quarters of the time that Pillow takes; the pixels are the same. TurboJPEG tells of whatever it stumbles over. Such a
file, and every other kind, is decoded and judged by way of Pillow.
"""

import io
import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from model.errors import UnreadablePhotograph
from model.exif import orientation_of

MAX_SEGMENTS = 20_000  # of one file; they are walked in Python, and millions take minutes
MAX_SCANS = 100  # of a JPEG; cameras write at most a dozen, and a scan of few bytes costs a pass over all pixels
MAX_JUNK = 4096  # bytes between two segments before a JPEG's first scan; Pillow steps over them one by one

MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # ends coded data: no escaped 0xFF and no restart marker
WITHOUT_LENGTH = (0x01, 0xD8)
HUFFMAN_FRAMES, SEQUENTIAL_FRAMES = (0xC0, 0xC1, 0xC2), (0xC0, 0xC1)
READ_AHEAD = bytes(range(1, 17))  # libjpeg fetches 8 bytes at a time
END, SCAN = 0xD9, 0xDA
QUICK_MODES = ("L", "RGB")  # Pillow's, of what TurboJPEG turns into the very same RGB
UNLIKELY = bytes(73 * column % 256 for column in range(256))  # grey levels, as no scene has them side by side
FEWER_ROWS = "the JPEG file holds fewer rows than its header says"


def reduction_of(width: int, height: int, smallest_side: int | None, exact: bool = False) -> int:
    """By how much a JPEG of so many pixels is reduced as it is decoded: 8, 4, 2, or 1 for not at all.

    Args:
        smallest_side: as `images.decode`.
        exact: so that no row or column is left over.
    """
    for reduction in (8, 4, 2) if smallest_side else ():
        divides = width % reduction == height % reduction == 0
        if min(width, height) // reduction >= (smallest_side or 0) and (divides or not exact):
            return reduction
    return 1


_IS_MARKER = np.ones(256, bool)  # by the byte behind an 0xFF, as `MARKER`
_IS_MARKER[[0x00, 0xFF, *range(0xD0, 0xD8)]] = False


@dataclass(frozen=True)
class Markers:
    """What a JPEG's markers tell of it."""

    scans: int
    first_scan_end: int  # where the marker behind the first scan lies
    huffman: bool  # not arithmetic coding
    sequential: bool  # pixels come row by row, not in ever finer passes


def _read_markers(data: bytes) -> Markers:
    position, scans, first_scan_end, huffman, sequential = 2, 0, 0, False, False
    for _ in range(MAX_SEGMENTS):
        start, end = _next_marker(data, position)
        if not scans and end - position > MAX_JUNK:
            raise UnreadablePhotograph("the JPEG file is damaged: there is junk between its segments")
        if scans and not first_scan_end:
            first_scan_end = start
        kind = data[end - 1]
        if kind == END:
            return Markers(scans, first_scan_end, huffman, sequential)
        scans += kind == SCAN
        huffman = huffman or kind in HUFFMAN_FRAMES
        sequential = sequential or kind in SEQUENTIAL_FRAMES
        length = 0 if kind in WITHOUT_LENGTH else int.from_bytes(data[end : end + 2], "big")
        position = end + length
    raise UnreadablePhotograph(f"the JPEG file has more than {MAX_SEGMENTS:,} segments")


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Where the next marker begins and ends. Coded data are passed over in blocks, ever larger ones."""
    near = MARKER.search(data, position, position + 64)
    if near:
        return near.start(), near.end()
    block = 4096
    while position < len(data) - 1:
        values = np.frombuffer(data, np.uint8, min(block + 1, len(data) - position), position)
        escapes = np.flatnonzero(values[:-1] == 0xFF)
        markers = escapes[_IS_MARKER[values[escapes + 1]]]
        if markers.size:
            end = position + int(markers[0]) + 2
            start = end - 2
            while data[start - 1] == 0xFF:
                start -= 1
            return start, end
        position += block
        block = min(4 * block, 2**20)
    raise UnreadablePhotograph("the JPEG file is truncated: its end marker is missing")


def check(data: bytes) -> Markers:
    """Before Pillow looks at it. Raises UnreadablePhotograph: truncated, or made to take long."""
    markers = _read_markers(data)
    if markers.scans > MAX_SCANS:
        raise UnreadablePhotograph(f"the JPEG file has more than {MAX_SCANS} scans")
    return markers


def load(image: "Jpeg", data: bytes, markers: Markers, smallest_side: int | None) -> None:
    """Load the pixels, reduced where that is wanted and possible, and make sure that they are all there.

    Raises UnreadablePhotograph, and whatever Pillow raises.
    """
    width, height = image.whole_size = image.size
    reduction = reduction_of(width, height, smallest_side)
    if (width % reduction or height % reduction) and orientation_of(image) != 1:
        # turned, a partial pixel would come first
        reduction = reduction_of(width, height, smallest_side, exact=True)
    if reduction > 1:
        image.draft(None, (width // reduction, height // reduction))
        image.reduction = reduction
    if markers.scans == 1 and markers.sequential:
        image.rgb = _by_turbojpeg(image, data, reduction) if markers.huffman and image.mode in QUICK_MODES else None
        if image.rgb is not None:
            return
        image.scan_end = markers.first_scan_end
    image.load()
    if image.scan_end is None and markers.huffman:
        _check_complete(data, image, markers.first_scan_end)


def _by_turbojpeg(image: "Jpeg", data: bytes, reduction: int) -> np.ndarray | None:
    """(h, w, 3) uint8; None where the file is not without fault, or tells TurboJPEG another size than Pillow."""
    width, height = (-(-length // reduction) for length in image.whole_size)
    try:
        whole = simplejpeg.decode_jpeg_header(data)[:2]
        if (whole[1], whole[0]) != image.whole_size:
            return None
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _check_complete(data: bytes, image: Image.Image, first_scan_end: int) -> None:
    """Refuse a JPEG of several scans that holds fewer rows than its header says.

    libjpeg tells nobody: it paints what is missing in one flat colour. So where the last corner is flat, look again
    with arbitrary bytes put behind the first scan: a complete photograph stays as it is, an incomplete one takes them
    for pixels. The first scan holds the blocks' means, so an eighth of the size is enough to see it.
    """
    corner = np.asarray(image.crop((image.width - 4, image.height - 4, image.width, image.height)))
    if np.ptp(corner, axis=(0, 1)).any():
        return
    more = data[:first_scan_end] + bytes(range(1, 255)) + data[first_scan_end:]
    if _at_an_eighth(more) != _at_an_eighth(data):
        raise UnreadablePhotograph(FEWER_ROWS)


def _at_an_eighth(data: bytes) -> bytes:
    image = Jpeg(io.BytesIO(data))
    image.draft(None, (1, 1))
    return image.tobytes()


class Jpeg(JpegImageFile):
    """Pillow's reader, which would look into EXIF for a resolution and may stumble there.

    Where `scan_end` is set, the position behind the one scan of a sequential JPEG, loading makes sure that the scan
    holds every row. libjpeg tells nobody: at the marker behind the scan it paints what is missing in one flat colour.
    So it gets the data up to there without the marker, and some arbitrary bytes, as it reads a little ahead. If the
    last row has come then, all is well.
    """

    reduction = 1
    whole_size = (0, 0)
    scan_end: int | None = None
    rgb: np.ndarray | None = None  # (h, w, 3) uint8, where it was decoded without Pillow
    _unread: list[bytes] | None = None

    def _read_dpi_from_exif(self) -> None:
        pass

    def load_prepare(self) -> None:
        """Pillow makes the image to read into here."""
        super().load_prepare()
        if self.scan_end is not None and self.fp:
            self.fp.seek(0)
            data = self.fp.read()
            self._unread = [data[self.scan_end :], data[: self.scan_end] + READ_AHEAD]
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
