"""Every format, mode and orientation comes out as upright RGB; everything else as one of our errors."""

import random
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from model.errors import (
    EmptyPhotograph,
    InvalidConfiguration,
    PhotographError,
    TooFewPixels,
    TooManyBytes,
    TooManyPixels,
    UnreadablePhotograph,
    UnsupportedFormat,
)
from model.images import Limits, decode
from tests.model.encoded import HEIGHT, WIDTH, draw, encode, photograph_like

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}
FORMATS = {**LOSSLESS, "JPEG": {"quality": 95, "subsampling": 0}}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def draw_png(width: int, height: int, *, bits: int = 8, colour: int = 0, parts: bytes = b"") -> bytes:
    """A header that announces so many pixels, and no pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + parts + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


def draw_tiff(fields: dict[int, list[int]], planes: list[bytes], order: str = "<") -> bytes:
    """A TIFF of 96 x 72 pixels with one strip per plane; every field is of type LONG."""
    fields = {256: [WIDTH], 257: [HEIGHT], 278: [HEIGHT], 279: [len(plane) for plane in planes], **fields}
    place = 8 + 2 + 12 * (len(fields) + 1) + 4
    after = place + sum(4 * len(values) for values in fields.values() if len(values) > 1)
    after += 4 * len(planes) if len(planes) > 1 else 0
    fields[273] = fields.get(273) or [after + sum(map(len, planes[:index])) for index in range(len(planes))]
    directory, outside = b"", b""
    for tag, values in sorted(fields.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            content, outside = struct.pack(f"{order}I", place + len(outside)), outside + content
        directory += struct.pack(f"{order}HHI", tag, 4, len(values)) + content
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(fields))
    return head + directory + bytes(4) + outside + b"".join(planes)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_pixels(name: str) -> None:
    decoded = decode(encode(draw(), name, **FORMATS[name]))
    assert decoded.format == name
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    np.testing.assert_allclose(decoded.pixels.astype(int), draw(), atol=4 if name == "JPEG" else 0)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
def test_compressed_tiff(compression: str) -> None:
    np.testing.assert_array_equal(decode(encode(draw(), "TIFF", compression=compression)).pixels, draw())


def test_big_tiff() -> None:
    np.testing.assert_array_equal(decode(encode(draw(), "TIFF", big_tiff=True)).pixels, draw())


@pytest.mark.parametrize("name", LOSSLESS)
def test_grey_has_three_equal_channels(name: str) -> None:
    grey = draw()[..., 0]
    np.testing.assert_array_equal(decode(encode(grey, name, **LOSSLESS[name])).pixels, np.dstack([grey] * 3))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(name: str) -> None:
    white = draw()[..., 0] > 100
    expected = np.dstack([np.where(white, 255, 0)] * 3)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(white), name)).pixels, expected)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
def test_palette(name: str) -> None:
    image = Image.fromarray(draw()).quantize(200)
    np.testing.assert_array_equal(decode(encode(image, name)).pixels, np.asarray(image.convert("RGB")))


def test_inverted_cmyk_jpeg_as_cameras_and_adobe_write_it() -> None:
    data = encode(Image.fromarray(draw()).convert("CMYK"), "JPEG", quality=98)
    np.testing.assert_allclose(decode(data).pixels.astype(int), draw(), atol=6)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(name: str) -> None:
    wide = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    grey = decode(encode(wide, name)).pixels[..., 0]
    assert grey[0, 0] == 0
    assert grey[-1, -1] == 255
    np.testing.assert_allclose(grey, wide / 257, atol=0.5)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bit_colour(extension: str) -> None:
    wide = draw()[..., ::-1].astype(np.uint16) * 257  # OpenCV takes blue first
    np.testing.assert_array_equal(decode(cv2.imencode(extension, wide)[1].tobytes()).pixels, draw())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compress", [bytes, zlib.compress])
def test_tiff_with_red_green_and_blue_one_after_the_other(
    order: str, bits: int, compress: Callable[[bytes], bytes]
) -> None:
    samples = draw() if bits == 8 else (draw().astype(np.uint16) * 257).astype(f"{order}u2")
    fields = {258: [bits] * 3, 259: [1 if compress is bytes else 8], 262: [2], 277: [3], 284: [2]}
    data = draw_tiff(fields, [compress(samples[..., channel].tobytes()) for channel in range(3)], order)
    np.testing.assert_array_equal(decode(data).pixels, draw())


def test_twelve_bit_tiff_is_white_at_4095() -> None:
    data = draw_tiff({258: [12], 259: [1], 262: [1], 277: [1]}, [b"\xff" * (WIDTH * HEIGHT * 12 // 8)])
    assert (decode(data).pixels == 255).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_where_zero_is_white(bits: int) -> None:
    data = draw_tiff({258: [bits], 259: [1], 262: [0], 277: [1]}, [bytes(WIDTH * HEIGHT * bits // 8)])
    assert (decode(data).pixels == 255).all()


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_samples_without_a_known_white_are_refused(mode: str) -> None:
    image = Image.new(mode, (WIDTH, HEIGHT))
    with pytest.raises(UnsupportedFormat):
        decode(encode(image, "TIFF"))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_transparent_becomes_black_and_half_transparent_half_as_bright(name: str) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:24] = 0
    alpha[24:48] = 128
    options = {**LOSSLESS[name], "exact": True} if name == "WEBP" else {}
    pixels = decode(encode(np.dstack([draw(), alpha]), name, **options)).pixels
    assert not pixels[:24].any()
    np.testing.assert_allclose(pixels[24:48], draw()[24:48] * (128 / 255), atol=1)
    np.testing.assert_array_equal(pixels[48:], draw()[48:])


@pytest.mark.parametrize(("mode", "key"), [("P", 3), ("L", 3), ("I;16", 3)])
def test_a_transparent_colour_of_a_png_becomes_black(mode: str, key: int) -> None:
    values = np.full((HEIGHT, WIDTH), 60_000 if mode == "I;16" else 200, np.uint16 if mode == "I;16" else np.uint8)
    values[:10] = key
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([255] * 768)
    pixels = decode(encode(image, "PNG", transparency=key)).pixels
    assert not pixels[:10].any()
    assert (pixels[10:] > 190).all()


# Orientation → the corners of the upright photograph where the first stored row begins and where it ends.
CORNERS = {
    1: ("top left", "top right"),
    2: ("top right", "top left"),
    3: ("bottom right", "bottom left"),
    4: ("bottom left", "bottom right"),
    5: ("top left", "bottom left"),
    6: ("top right", "bottom right"),
    7: ("bottom right", "top right"),
    8: ("bottom left", "top left"),
}


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_turns_the_photograph_upright(name: str, orientation: int) -> None:
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[:16, :16] = 255, 0, 0
    stored[:16, -16:] = 0, 0, 255
    exif = Image.Exif()
    exif[274] = orientation
    pixels = decode(encode(stored, name, exif=exif, **FORMATS[name])).pixels
    corner = {"top left": pixels[4, 4], "top right": pixels[4, -5]}
    corner |= {"bottom left": pixels[-5, 4], "bottom right": pixels[-5, -5]}
    first, last_of_row = CORNERS[orientation]
    assert pixels.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(corner[first].astype(int), (255, 0, 0), atol=8)
    np.testing.assert_allclose(corner[last_of_row].astype(int), (0, 0, 255), atol=8)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_counts_as_upright(name: str, exif: bytes) -> None:
    assert decode(encode(draw(), name, exif=exif, **FORMATS[name])).pixels.shape == (HEIGHT, WIDTH, 3)


def test_colour_profile_changes_nothing() -> None:
    np.testing.assert_array_equal(decode(encode(draw(), "PNG", icc_profile=b"any profile")).pixels, draw())


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "MPO"])
def test_the_first_of_several_frames(name: str) -> None:
    frames = [Image.fromarray(draw()), Image.new("RGB", (WIDTH, HEIGHT), "white")]
    options = LOSSLESS.get(name, {"quality": 98})
    decoded = decode(encode(frames[0], name, save_all=True, append_images=frames[1:], **options))
    assert decoded.format == ("JPEG" if name == "MPO" else name)
    np.testing.assert_allclose(decoded.pixels.astype(int), draw(), atol=8 if name == "MPO" else 0)


def test_empty() -> None:
    with pytest.raises(EmptyPhotograph):
        decode(b"")


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7 named .jpg", b"GIF89a" + bytes(99), b"<svg/>", b"\0", bytes(4096), b"RIFF"]
)
def test_other_formats(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        decode(data)


def test_bytes_at_the_limit_and_beyond() -> None:
    data = encode(draw(), "PNG")
    assert decode(data, Limits(max_bytes=len(data)))
    with pytest.raises(TooManyBytes):
        decode(data, Limits(max_bytes=len(data) - 1))


def test_pixels_at_the_limit_and_beyond() -> None:
    data = encode(draw(), "PNG")
    assert decode(data, Limits(max_pixels=HEIGHT * WIDTH))
    with pytest.raises(TooManyPixels):
        decode(data, Limits(max_pixels=HEIGHT * WIDTH - 1))


def test_sides_at_the_limit_and_below() -> None:
    data = encode(draw(), "PNG")
    assert decode(data, Limits(min_side=HEIGHT))
    with pytest.raises(TooFewPixels):
        decode(data, Limits(min_side=HEIGHT + 1))
    with pytest.raises(TooFewPixels):
        decode(encode(draw()[:1, :1], "PNG"))


@pytest.mark.parametrize("side", [8_001, 10_000, 20_000, 2**31 - 1])  # Pillow warns at the second, raises at the third
def test_a_header_of_very_many_pixels(side: int) -> None:
    with pytest.raises(TooManyPixels):
        decode(draw_png(side, side))


@pytest.mark.parametrize("side", [9_000, 16_000])
def test_a_webp_canvas_of_very_many_pixels(side: int) -> None:
    still = encode(draw(), "WEBP", lossless=True)[12:]
    frame = bytes(6) + (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little") + bytes(4) + still
    canvas = b"\2\0\0\0" + 2 * (side - 1).to_bytes(3, "little")
    chunks = ((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame))
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
    with pytest.raises(TooManyPixels):
        decode(b"RIFF" + struct.pack("<I", len(body)) + body)


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_pixels": 0}, {"min_side": 0}, {"max_pixels": 89_478_486}])
def test_limits_that_cannot_work_are_named(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidConfiguration, match=next(iter(limits))):
        Limits(**limits)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        *((name, {}) for name in FORMATS),
        ("JPEG", {"progressive": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("PNG", {"save_all": True}),
        ("WEBP", {"save_all": True}),
    ],
)
def test_truncated_anywhere(name: str, extra: dict[str, Any]) -> None:
    data = encode(draw(), name, **FORMATS[name], **extra)
    for length in [*range(1, len(data) - 1, max(1, len(data) // 60)), len(data) - 1]:
        with pytest.raises(PhotographError):
            decode(data[:length])


@pytest.mark.parametrize(
    "magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0+", b"BM", b"RIFF\0\1\0\0WEBP"]
)
def test_nonsense_behind_the_first_bytes(magic: bytes) -> None:
    for tail in (b"", bytes(200), b"\xff" * 200, random.Random(5).randbytes(5000)):
        with pytest.raises(UnreadablePhotograph):
            decode(magic + tail)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "WEBP"])
def test_other_formats_come_whole(name: str) -> None:
    found = decode(encode(photograph_like(320, 240), name), smallest_side=10)
    assert (found.reduction, found.shape) == (1, (240, 320))


@pytest.mark.parametrize("from_end", [14, 30, 60])
def test_a_flipped_byte_in_a_png_is_noticed(from_end: int) -> None:
    data = bytearray(encode(draw(), "PNG"))
    data[-from_end] ^= 1
    with pytest.raises(UnreadablePhotograph):
        decode(bytes(data))


def test_png_of_very_many_chunks() -> None:
    with pytest.raises(UnreadablePhotograph, match="chunks"):
        decode(draw_png(WIDTH, HEIGHT, parts=30_000 * png_chunk(b"prVt", b"")))


def test_png_with_a_text_that_unpacks_to_very_much() -> None:
    text = b"key\0\0" + zlib.compress(bytes(64 * 2**20))
    with pytest.raises(UnreadablePhotograph):
        decode(draw_png(WIDTH, HEIGHT, parts=png_chunk(b"zTXt", text)))


def test_tiff_with_a_tile_larger_than_any_photograph() -> None:
    fields = {258: [8], 259: [8], 262: [1], 277: [1], 322: [20_000], 323: [20_000]}
    with pytest.raises(UnreadablePhotograph, match="tiles"):
        decode(draw_tiff(fields, [zlib.compress(bytes(1000))]))


def test_tiff_of_very_many_strips() -> None:
    fields = {258: [8], 259: [1], 262: [1], 277: [1], 278: [1], 273: [8] * 30_000}
    with pytest.raises(UnreadablePhotograph, match="strips"):
        decode(draw_tiff(fields, [bytes(WIDTH * HEIGHT)]))


def test_any_damage_gives_a_photograph_or_one_of_our_errors() -> None:
    """Bytes are changed, cut out, doubled and zeroed at random; checksums are put right again, to get deeper."""
    chance = random.Random(20261123)
    image = Image.fromarray(draw()[:64, :64])
    originals = [encode(image, name, **options) for name, options in FORMATS.items()]
    originals += [encode(image.convert(mode), "TIFF", compression="tiff_lzw") for mode in ("L", "P", "CMYK")]
    originals += [encode(image.quantize(16), "PNG"), encode(image, "JPEG", progressive=True), encode(image, "WEBP")]
    for _ in range(1500):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 2, 5, 20))):
            place = chance.randrange(len(data) if chance.random() < 0.5 else 150)
            length = chance.randrange(1, 20)
            data[place : place + length] = chance.choice(
                (chance.randbytes(1), b"", bytes(length), b"\xff" * 4, 2 * data[place : place + length])
            )
        place = 8
        while data.startswith(b"\x89PNG") and place + 12 <= len(data):
            end = place + 8 + int.from_bytes(data[place : place + 4], "big")
            data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
            place = end + 4
        try:
            pixels = decode(bytes(data), Limits(max_pixels=4_000_000)).pixels
        except PhotographError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert min(pixels.shape[:2]) >= 64


def test_threads_do_not_disturb_each_other_and_pillow_stays_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    good, cut = encode(draw(), "PNG"), encode(draw(), "JPEG")[:-40]

    def outcome(data: bytes) -> str:
        try:
            return str(decode(data).pixels.sum())
        except PhotographError as error:
            return error.code

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(outcome, [good, cut, draw_png(10_000, 10_000), b""] * 25))
    expected = [str(draw().sum()), "unreadable_photograph", "too_many_pixels", "empty_photograph"]
    assert outcomes == expected * 25
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
