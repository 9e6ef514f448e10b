"""A hostile photograph costs its own request only: it is decoded in a process that is killed over it."""

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model import images
from model.errors import PhotographTooCostly, TooManyPixels, UnreadablePhotograph
from model.exif import EXIF_ORIENTATION
from model.images import Limits
from model.jpeg import MAX_SCANS
from service import decoding
from service.cost import HEAVY_BYTES, LARGEST_HERE, cost_of, cost_of_outlines
from service.decoding import Decoders
from tests.service.conftest import draw_eye, encode

LIMITS = Limits()


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(processes=2, memory_bytes=2**30, timeout_s=60.0)
    yield made
    made.close()


@pytest.fixture
def strict() -> Iterator[Callable[..., Decoders]]:
    """Make some with limits of one's own."""
    made = []

    def make(memory_bytes: int = 2**30, timeout_s: float = 60.0, processes: int = 1) -> Decoders:
        made.append(Decoders(processes, memory_bytes, timeout_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: few bytes, and each is a pass over all pixels."""
    whole = encode(np.zeros((height, width), np.uint8), "JPEG", progressive=True)
    starts = [at for at in range(len(whole) - 1) if whole[at : at + 2] == b"\xff\xda"]
    return whole[:-2] + whole[starts[-1] : -2] * (scans - len(starts)) + b"\xff\xd9"


def stays_here(data: bytes, smallest_side: int | None = None) -> bool:
    return decoding.stays_here(data, cost_of(data, smallest_side))


def processes() -> list[int]:
    """Ids of the processes that decode for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"service.decoder" in path.joinpath("cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def start_one(made: Decoders) -> int:
    """Id of the first process, which waits for its next photograph."""
    made._idle.append(decoding._start(made._memory_bytes, made._timeout_s))
    return made._idle[0].process.pid


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_answer_is_what_bare_decoding_gives(decoders: Decoders, kind: str, mode: str) -> None:
    eye = draw_eye()
    data = encode(eye if mode == "RGB" else eye[..., 1], kind)
    there, here = decoders.decode(data, LIMITS), images.decode(data, LIMITS)
    assert np.array_equal(there.pixels, here.pixels)
    assert (there.format, there.shape, there.reduction) == (here.format, here.shape, here.reduction)


@pytest.mark.parametrize("smallest_side", [None, 100, 10_000])
def test_a_reduced_photograph_is_what_bare_decoding_gives(decoders: Decoders, smallest_side: int | None) -> None:
    data = encode(draw_eye(1281, 963), "JPEG", progressive=True)
    assert not stays_here(data)
    there, here = decoders.decode(data, LIMITS, smallest_side), images.decode(data, LIMITS, smallest_side)
    assert np.array_equal(there.pixels, here.pixels)
    assert (there.shape, there.reduction) == (here.shape, here.reduction) == ((963, 1281), here.reduction)


def test_errors_are_what_bare_decoding_gives(decoders: Decoders) -> None:
    with pytest.raises(UnreadablePhotograph, match="TIFF"):
        decoders.decode(encode(draw_eye(), "TIFF")[:-1000], LIMITS)
    with pytest.raises(TooManyPixels, match="640 x 480"):
        decoders.decode(encode(draw_eye(), "WEBP"), Limits(max_pixels=1000))


def test_what_cameras_write_stays_in_this_process(strict: Callable[..., Decoders]) -> None:
    eye = draw_eye()
    made = strict()
    for data in (
        encode(eye),
        encode(eye, "PNG"),
        encode(eye, "BMP"),
        encode(eye, "JPEG", exif=b"Exif\0\0" + b"x" * 900),
    ):
        assert stays_here(data)
        made.decode(data, LIMITS)
    assert made._idle == []


def test_what_may_cost_more_than_its_pixels_goes_to_another() -> None:
    eye = draw_eye()
    frames = [Image.fromarray(eye) for _ in range(2)]
    moving = io.BytesIO()
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    runs = encode(draw_eye()[..., 0], "BMP")
    baseline = encode(eye)
    twice = baseline.replace(
        b"\xff\xc0", b"\xff\xc0" + baseline[baseline.index(b"\xff\xc0") + 2 :][:17] + b"\xff\xc0", 1
    )
    for data in (
        encode(eye, "JPEG", progressive=True),
        many_scans(64, 64, 50),
        baseline[:2] + b"\xff" * 100 + baseline[3:],
        twice,
        baseline[:100],
        moving.getvalue(),
        runs[:30] + b"\1" + runs[31:],  # run lengths, which Pillow reads in Python
        encode(eye, "TIFF"),
        encode(eye, "WEBP"),
        b"",
        b"BM",
        b"\xff\xd8\xff",
    ):
        assert not stays_here(data)


def flat(width: int, height: int, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    """A photograph of one colour: few bytes, however many pixels."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


def test_a_png_of_few_bytes_and_39_megapixels_is_decoded_elsewhere(
    strict: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = flat(7800, 5000)
    assert len(hostile) < 2**18
    made = strict()
    with monkeypatch.context() as patched:
        patched.setattr(images, "decode", lambda *_: pytest.fail("it was decoded in this process"))
        assert made.decode(hostile, LIMITS, 400).pixels.shape == (5000, 7800, 3)
    with pytest.raises(PhotographTooCostly):
        strict(memory_bytes=2**26).decode(hostile, LIMITS)


def test_a_photograph_of_24_megapixels_is_decoded_here_where_it_is_reduced(strict: Callable[..., Decoders]) -> None:
    made = strict()
    camera = flat(6000, 4000, kind="JPEG", exif=b"Exif\0\0" + b"x" * 900)
    assert made.decode(camera, LIMITS, 400).pixels.shape == (500, 750, 3)
    assert made._idle == []
    assert made.decode(camera, LIMITS).pixels.shape == (4000, 6000, 3)
    assert len(made._idle) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("more", [0, 1])
def test_the_bound_is_one_of_pixels(kind: str, more: int) -> None:
    side = 4000
    assert stays_here(flat(side + more, LARGEST_HERE // side, "L", kind)) == (more == 0)


@pytest.mark.parametrize(("size", "orientation"), [((6001, 4001), 1), ((6001, 4001), 6), ((6000, 4000), 6)])
def test_what_is_told_of_a_jpeg_is_at_least_what_comes_of_it(size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    data = flat(*size, kind="JPEG", exif=exif)
    assert cost_of(data, 400).decoded >= 0.99 * images.decode(data, LIMITS, 400).pixels[..., 0].size
    assert stays_here(data, 400) == (size == (6000, 4000))  # to be turned, the others may have to come whole


def test_a_png_that_tells_two_sizes_is_not_believed(
    strict: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = flat(64, 64), flat(5000, 4000)
    data = small[:33] + large[8:]  # signature and header of the one, then all of the other
    assert stays_here(data)
    made = strict()
    assert made.decode(data, LIMITS).pixels.shape == (4000, 5000, 3)
    assert len(made._idle) == 1
    with pytest.raises(TooManyPixels, match="1,000,000"):
        made.decode(data, Limits(max_pixels=1_000_000))


@pytest.mark.parametrize(
    ("size", "kind", "smallest_side", "heavy"),
    [
        ((2000, 1750), "JPEG", 400, False),
        ((2000, 1750), "JPEG", None, False),
        ((2000, 1750), "PNG", 400, False),
        ((6000, 4000), "JPEG", 400, False),  # an eighth of its size is decoded
        ((6000, 4000), "JPEG", None, True),
        ((7800, 5000), "PNG", 400, True),
        ((2000, 1750), "TIFF", 400, False),
        ((3000, 2000), "TIFF", 400, True),
        ((2000, 1750), "WEBP", 400, False),
        ((3000, 2000), "WEBP", 400, True),
    ],
)
def test_heavy_is_what_takes_long(size: tuple[int, int], kind: str, smallest_side: int | None, heavy: bool) -> None:
    data = flat(*size, kind=kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    assert cost_of(data, smallest_side).is_heavy == heavy


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "WEBP", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {}),
        ("RGB", "WEBP", {"exif": b"Exif\0\0" + b"x" * 90}),
        ("L", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("I;16B", "TIFF", {}),
        ("RGB", "BMP", {}),
        ("L", "JPEG", {}),
        ("LA", "PNG", {}),
    ],
)
def test_the_first_bytes_tell_the_pixels(mode: str, kind: str, options: dict[str, Any]) -> None:
    assert cost_of(flat(301, 200, mode, kind, **options)).decoded == 301 * 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_of_what_ends_in_its_first_bytes_nothing_is_told_and_it_is_heavy(kind: str) -> None:
    assert cost_of(flat(64, 64, kind=kind)[:20]).is_heavy


def test_a_progressive_jpeg_costs_all_its_pixels_and_many_bytes_are_heavy_anyway() -> None:
    assert cost_of(flat(3000, 2000, kind="JPEG", progressive=True), 400).is_heavy
    assert not cost_of(flat(2000, 1750, kind="JPEG", progressive=True), 400).is_heavy
    assert cost_of(flat(64, 64, kind="BMP") + bytes(HEAVY_BYTES)).is_heavy


@pytest.mark.parametrize(
    ("text", "heavy"),
    [
        ('{"width": 2000, "height": 1750, "disc": []}', False),
        ('{"width":8000,"height":5000}', True),
        ('{"width": 2000, "height": 1750, "width": 8000}', True),  # the last counts
        ('{"width": 8000, "height": 1750, "width": 1}', True),
        (r'{"width": 20, "height": 5000, "\u0077idth": 8000}', True),
        ('{"width": 2000}', True),
        ("", True),
        ('{"width": 40, "height": 30}' + " " * HEAVY_BYTES, True),
    ],
)
def test_heavy_outlines_are_those_of_large_pictures(text: str, heavy: bool) -> None:
    assert cost_of_outlines(text.encode()).is_heavy == heavy


def test_a_jpeg_of_thousands_of_passes_is_given_up_in_time(strict: Callable[..., Decoders]) -> None:
    hostile = many_scans(8000, 5000, MAX_SCANS)
    assert len(hostile) < 500_000
    made = strict(timeout_s=0.2)  # alone on a fast machine it takes many times that
    with pytest.raises(PhotographTooCostly, match=r"0\.2 s"):
        made.decode(hostile, LIMITS)
    assert made._idle == []


def test_a_process_over_its_time_is_killed_and_replaced(strict: Callable[..., Decoders]) -> None:
    """It is stopped, which stands for a photograph that takes for ever, on a machine of any speed."""
    made = strict(timeout_s=0.2)
    stopped = start_one(made)
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(PhotographTooCostly):
        made.decode(encode(draw_eye(), "TIFF"), LIMITS)
    assert time.monotonic() - began >= 0.2
    assert stopped not in processes()
    made._timeout_s = 60.0  # of those that start from now on
    assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).pixels.shape == (480, 640, 3)


def test_a_photograph_that_waits_for_a_processor_is_not_given_up(strict: Callable[..., Decoders]) -> None:
    """The process is stopped for longer than its time, which stands for a machine that does something else."""
    made = strict(timeout_s=1.0)
    stopped = start_one(made)
    os.kill(stopped, signal.SIGSTOP)
    goes_on = threading.Timer(1.5, os.kill, (stopped, signal.SIGCONT))
    goes_on.start()
    assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).pixels.shape == (480, 640, 3)
    goes_on.join()
    assert stopped in processes()


def test_a_photograph_that_needs_too_much_memory_is_given_up(strict: Callable[..., Decoders]) -> None:
    made = strict(memory_bytes=2**26)
    with pytest.raises((PhotographTooCostly, UnreadablePhotograph)):
        made.decode(flat(7000, 5000, kind="TIFF", compression="tiff_lzw"), LIMITS)
    assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).pixels.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("CMYK", "TIFF"),
        ("LA", "TIFF"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
        ("CMYK", "JPEG"),
    ],
)
def test_the_largest_photograph_fits_into_the_default_memory(decoders: Decoders, mode: str, kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "TIFF": {"compression": "tiff_lzw"},
        "WEBP": {"lossless": True, "quality": 0, "method": 0},
    }
    data = flat(8000, 5000, mode, kind, **options.get(kind, {}))
    assert decoders.decode(data, LIMITS).pixels.shape == (5000, 8000, 3)


def test_a_process_that_dies_over_a_photograph_is_replaced(strict: Callable[..., Decoders]) -> None:
    made = strict()
    made.decode(encode(draw_eye(), "TIFF"), LIMITS)
    (process,) = made._idle
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(UnreadablePhotograph):
        made.decode(encode(draw_eye(), "TIFF"), LIMITS)
    assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).format == "TIFF"
    assert made._idle[0].process.pid != process.process.pid


def test_another_photograph_is_answered_while_a_hostile_one_is_at_work(strict: Callable[..., Decoders]) -> None:
    """The process of the hostile one is stopped while the others are decoded, so that it is at work for as long."""
    made = strict(processes=2)
    busy = start_one(made)
    os.kill(busy, signal.SIGSTOP)
    ended: list[BaseException] = []

    def attack() -> None:
        try:
            made.decode(many_scans(8000, 5000, 20), LIMITS)
        except UnreadablePhotograph as error:
            ended.append(error)

    attacker = threading.Thread(target=attack)
    attacker.start()
    while made._idle:  # until it has its process
        time.sleep(0.001)
    for _ in range(3):
        assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).pixels.shape == (480, 640, 3)
    assert attacker.is_alive()
    os.kill(busy, signal.SIGKILL)
    attacker.join()
    assert len(ended) == 1


def test_processes_know_no_secret_and_end_with_the_service(
    strict: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPDISC_KEYS", "/secret/keys.json")
    before = processes()
    made = strict()
    made.decode(encode(draw_eye(), "TIFF"), LIMITS)
    (fresh,) = set(processes()) - set(before)
    environment = Path(f"/proc/{fresh}/environ").read_bytes()
    assert b"CUPDISC" not in environment
    assert b"Max core file size        0 " in Path(f"/proc/{fresh}/limits").read_bytes()
    made.close()
    assert fresh not in processes()


def test_without_linux_all_is_decoded_here(strict: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CAN_SEPARATE", False)
    made = strict()
    assert made.decode(encode(draw_eye(), "TIFF"), LIMITS).format == "TIFF"
    assert made._idle == []
