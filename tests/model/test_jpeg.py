"""A JPEG comes whole or reduced, by TurboJPEG or Pillow alike; one that lacks rows or takes long is refused."""

import struct
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from model import jpeg
from model.errors import UnreadablePhotograph
from model.images import decode
from tests.model.encoded import HEIGHT, WIDTH, draw, encode, photograph_like


def with_frame(data: bytes, *, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """The same JPEG with another size in its header."""
    place = next(data.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_that_holds_fewer_rows_than_its_header_says(mode: str, progressive: bool) -> None:
    data = encode(Image.fromarray(draw()).convert(mode), "JPEG", progressive=progressive)
    for lie in (with_frame(data, height=2 * HEIGHT), with_frame(data, width=2 * WIDTH), with_frame(data, height=9000)):
        with pytest.raises(UnreadablePhotograph):
            decode(lie)


def test_truncated_jpeg_with_its_end_marker_put_back() -> None:
    data = encode(draw(), "JPEG")
    for part in (0.5, 0.7, 0.9):
        with pytest.raises(UnreadablePhotograph):
            decode(data[: int(len(data) * part)] + b"\xff\xd9")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize(
    ("smallest_side", "reduction"), [(None, 1), (601, 1), (301, 1), (300, 2), (200, 2), (150, 4), (75, 8), (1, 8)]
)
def test_a_jpeg_comes_reduced_as_long_as_its_shorter_side_suffices(
    smallest_side: int | None, reduction: int, options: dict[str, Any]
) -> None:
    data = encode(photograph_like(805, 601), "JPEG", quality=92, **options)
    whole, found = decode(data), decode(data, smallest_side=smallest_side)
    assert found.reduction == reduction
    assert found.shape == (601, 805) == whole.shape
    assert found.pixels.shape == (-(-601 // reduction), -(-805 // reduction), 3)
    inner = np.s_[: 601 // reduction, : 805 // reduction]
    blocks = whole.pixels[: 601 // reduction * reduction, : 805 // reduction * reduction]
    means = blocks.reshape(601 // reduction, reduction, 805 // reduction, reduction, 3).mean(axis=(1, 3))
    assert np.abs(found.pixels[inner] - means).mean() < 1.5  # grey levels: the very same places


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(800, 600), (805, 601)])
def test_a_reduced_jpeg_is_upright_too(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph_like(*size), "JPEG", quality=92, exif=exif)
    whole, found = decode(data), decode(data, smallest_side=150)
    assert found.shape == whole.shape == whole.pixels.shape[:2]
    if orientation == 1 or size == (800, 600):
        assert found.reduction == 4
    times = found.reduction  # 1 where a partial pixel would come first
    height, width = (length // times for length in found.shape)
    blocks = whole.pixels[: height * times, : width * times].reshape(height, times, width, times, 3)
    assert np.abs(found.pixels[:height, :width] - blocks.mean(axis=(1, 3))).mean() < 1.5


@pytest.mark.parametrize("smallest_side", [None, 75, 200])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"restart_marker_rows": 1}, {"quality": 30}]
)
def test_turbojpeg_gives_the_pixels_that_pillow_gives(
    options: dict[str, Any], mode: str, smallest_side: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(photograph_like(805, 601).convert(mode), "JPEG", **options)
    with monkeypatch.context() as patched:
        patched.setattr(jpeg.Jpeg, "load", lambda self: pytest.fail("decoded by Pillow"))
        quick = decode(data, smallest_side=smallest_side)
    monkeypatch.setattr(jpeg, "QUICK_MODES", ())
    slow = decode(data, smallest_side=smallest_side)
    assert (quick.reduction, quick.shape) == (slow.reduction, slow.shape)
    np.testing.assert_array_equal(quick.pixels, slow.pixels)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_that_turbojpeg_does_not_take_is_read_all_the_same(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(photograph_like(805, 601).convert(mode), "JPEG", quality=92)
    known = decode(data).pixels

    def stumble(*_: object, **__: object) -> None:
        raise ValueError("Corrupt JPEG data")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", stumble)
    np.testing.assert_array_equal(decode(data).pixels, known)


def test_a_reduced_jpeg_with_missing_rows_is_noticed_too() -> None:
    data = encode(photograph_like(800, 600), "JPEG")
    assert decode(data, smallest_side=150).reduction == 4
    for part in (0.5, 0.9):
        with pytest.raises(UnreadablePhotograph):
            decode(data[: int(len(data) * part)] + b"\xff\xd9", smallest_side=150)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_complete_jpeg_with_a_flat_surround_is_read(mode: str, options: dict[str, Any], grey: int) -> None:
    photograph = np.full((90, 101, 3), grey, np.uint8)
    photograph[10:40, 10:60] = draw()[:30, :50]
    pixels = decode(encode(Image.fromarray(photograph).convert(mode), "JPEG", quality=90, **options)).pixels
    assert abs(int(pixels[-1, -1, 0]) - grey) <= 2


def test_bytes_behind_the_end_of_a_jpeg_are_left_alone() -> None:
    data = encode(draw(), "JPEG")
    np.testing.assert_array_equal(decode(data + b"a maker's appendix" * 99).pixels, decode(data).pixels)


def test_jpeg_of_very_many_scans() -> None:
    data = encode(draw(), "JPEG", progressive=True)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(UnreadablePhotograph, match="scans"):
        decode(data[:-2] + 100 * last_scan + data[-2:])


def test_jpeg_of_very_many_segments() -> None:
    data = encode(draw(), "JPEG")
    with pytest.raises(UnreadablePhotograph, match="segments"):
        decode(data[:2] + 30_000 * b"\xff\xe5\0\2" + data[2:])
    with pytest.raises(UnreadablePhotograph, match="between"):
        decode(data[:20] + bytes(100_000) + data[20:])
