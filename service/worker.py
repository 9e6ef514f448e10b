"""One process of a bulk run: gets photographs through a socket, writes their pictures, sends back their rows.

One core, one thread, a few photographs from beginning to end: decoding overlaps with the networks of the next process,
and nobody waits for anybody. A process also keeps what a malicious file can do apart from the run. `service.bulk`
starts it; it ends when the other side of the socket is gone, however that came about.
"""

import base64
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from model import images
from model.errors import CupDiscError, PhotographError, TooManyBytes
from model.images import Decoded, Limits
from model.masks import Label
from model.registry import open_registry
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service import rendering, table
from service.files import UNFINISHED, Photograph
from service.schemas import PngMask, SegmentationAnswer, Structure
from service.table import Row

TOGETHER = 4  # photographs: as many in one call of a network cost a tenth less than one by one
PIXELS_TOGETHER = 8_000_000  # as decoded; from here on no further photograph joins
FILE_ERRORS = (CupDiscError, OSError, MemoryError)  # that one photograph alone meets on this machine
FILE_ERRORS_THERE = (PhotographError, OSError, MemoryError)  # and at a service, of whose errors most are its own

if TYPE_CHECKING:
    from service.calls import Choices
    from service.client import Client


class CannotWrite(CupDiscError):
    """The results cannot be written: no room, no permission, or the folder is gone."""

    code = "cannot_write"


class ServiceFailed(CupDiscError):
    """A service does not answer, or refuses a photograph for what is not the photograph's fault."""

    code = "service_failed"


@dataclass(frozen=True)
class Here:
    """Segment on this machine."""

    registry: str
    version: str  # its name, no alias: what an alias points to may change during a run
    engine: str
    precision: str
    convention: str | None = None  # whose annotation to draw; None for the one that the version was published to draw


@dataclass(frozen=True)
class There:
    """Ask a service."""

    url: str
    version: str | None
    convention: str | None = None
    key: str | None = field(default=None, repr=False)  # for a service that asks for one; written nowhere


@dataclass(frozen=True)
class Job:
    """What is to be done with each photograph, as a worker is told."""

    by: Here | There
    limits: Limits
    out: Path
    masks: bool  # write NAME.disc.png and NAME.cup.png
    overlays: bool  # write NAME.overlay.png

    @property
    def together(self) -> int:
        """Photographs that one worker works on at a time."""
        return TOGETHER if isinstance(self.by, Here) else 1


@dataclass(frozen=True)
class Ready:
    """The worker's first word: what the rows depend on, for a run that is to be continued."""

    made_with: dict[str, str | None]


@dataclass(frozen=True)
class Done:
    """One photograph's row, and in words what was wrong with it."""

    row: Row
    wrong: str | None


@dataclass(frozen=True)
class Stop:
    """Something that every other photograph would meet too."""

    error: CupDiscError


Work = Callable[[deque[Photograph]], Iterator[Done | Stop]]  # takes some from the left, and answers them in order


def main(descriptor: int) -> None:
    """Work until the other side of the socket hangs up."""
    with contextlib.suppress(EOFError, ConnectionError):
        _work(Connection(descriptor))


def _work(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command itself, which then hangs up
    job: Job = connection.recv()
    try:
        made_with, work = _prepared(job)
    except CupDiscError as error:
        connection.send(Stop(error))
        return
    connection.send(Ready(made_with))
    waiting: deque[Photograph] = deque()
    while True:
        while not waiting or (len(waiting) < job.together and connection.poll()):
            waiting.append(connection.recv())
        for done in work(waiting):
            connection.send(done)


def _prepared(job: Job) -> tuple[dict[str, str | None], Work]:
    if isinstance(job.by, There):
        from service.client import Client  # half a second that a worker without a service need not wait

        client, choices = Client(job.by.url, key=job.by.key), _choices(job.by, job.masks or job.overlays)
        asked = {"service": job.by.url, "version": job.by.version, "convention": job.by.convention}
        return asked, lambda waiting: _ask(waiting, job, choices, client)
    cv2.setNumThreads(1)
    artefact = open_registry(job.by.registry).open(job.by.version)
    segmenter = Segmenter(artefact, job.by.engine, job.by.precision, threads=1).in_convention(job.by.convention)
    made_with: dict[str, str | None] = {
        **{"sha256": segmenter.digest, "engine": segmenter.engine, "precision": segmenter.precision},
        "convention": segmenter.convention,
    }
    return made_with, lambda waiting: _segment(waiting, job, segmenter)


def _choices(by: There, masks: bool) -> "Choices":
    choices: Choices = {"masks": "png" if masks else "none"}
    if by.version:
        choices["version"] = by.version
    if by.convention is not None:
        choices["convention"] = by.convention
    return choices


def _segment(waiting: deque[Photograph], job: Job, segmenter: Segmenter) -> Iterator[Done | Stop]:
    """As many as may go through the networks together. Each gets the numbers that it would get alone."""
    taken: list[tuple[Photograph, bytes, Decoded | Done]] = []
    pixels = 0
    while waiting and len(taken) < job.together and pixels < PIXELS_TOGETHER:
        photograph, data = waiting.popleft(), b""
        decoded: Decoded | Done
        try:
            data = _read(photograph.file, job.limits)
            decoded = images.decode(data, job.limits, segmenter.smallest_side)
            pixels += decoded.pixels.shape[0] * decoded.pixels.shape[1]
        except FILE_ERRORS as error:
            decoded = _failed(photograph, error)
        taken.append((photograph, data, decoded))
    found = iter(segmenter.segment([decoded for _, _, decoded in taken if isinstance(decoded, Decoded)]))
    for photograph, data, decoded in taken:
        if isinstance(decoded, Done):
            yield decoded
            continue
        try:
            yield _drawn(photograph, data, decoded, next(found), job, segmenter)
        except FILE_ERRORS as error:
            yield _failed(photograph, error)


def _drawn(
    photograph: Photograph, data: bytes, decoded: Decoded, found: Segmentation, job: Job, segmenter: Segmenter
) -> Done | Stop:
    """The pictures are written."""
    if found.coarse:
        decoded = images.decode(data, job.limits)
        (found,) = segmenter.segment([decoded])
    shown = found.shown
    pictures: dict[str, Callable[[], bytes]] = {}
    if job.masks and found.disc:
        pictures["disc"] = lambda: rendering.mask_png(shown.having(np.greater_equal(shown.values, Label.RIM)))
    if job.masks and found.cup:
        pictures["cup"] = lambda: rendering.mask_png(shown.having(np.equal(shown.values, Label.CUP)))
    if job.overlays:
        whole = decoded if decoded.reduction == 1 else images.decode(data, job.limits)
        labels = found.label_mask if found.gradable else np.zeros(decoded.shape, np.uint8)
        pictures["overlay"] = lambda: rendering.overlay_png(whole.pixels, labels)
    return _written(pictures, photograph, table.row_here(found, segmenter), job)


def _ask(waiting: deque[Photograph], job: Job, choices: "Choices", client: "Client") -> Iterator[Done | Stop]:
    """One after the other; several workers have several on the way."""
    photograph = waiting.popleft()
    try:
        yield _there(photograph, job, choices, client)
    except FILE_ERRORS_THERE as error:
        yield _failed(photograph, error)
    except CupDiscError as error:
        yield Stop(ServiceFailed(f"{photograph.file}: {error}"))  # which one, in case it alone upsets the service


def _failed(photograph: Photograph, error: CupDiscError | OSError | MemoryError) -> Done:
    match error:
        case CupDiscError():
            code, wrong = error.code, str(error)
        case OSError():
            code, wrong = "cannot_be_read", error.strerror or str(error)
        case _:
            code, wrong = "out_of_memory", "there is not enough memory for it"
    return Done({"file": str(photograph.file), "error": code}, wrong)


def _there(photograph: Photograph, job: Job, choices: "Choices", client: "Client") -> Done | Stop:
    data = _read(photograph.file, job.limits)
    answer = client.segment(data, **choices)
    regions = {kind: _png(region) for kind, region in (("disc", answer.disc), ("cup", answer.cup)) if region}
    pictures: dict[str, Callable[[], bytes]] = {}
    if job.masks:
        pictures |= {kind: lambda content=content: content for kind, content in regions.items()}  # type: ignore[misc]
    if job.overlays:
        pictures["overlay"] = lambda: _overlay(data, answer, regions, job.limits)
    return _written(pictures, photograph, table.row_there(answer), job)


def _read(file: Path, limits: Limits) -> bytes:
    size = file.stat().st_size
    if size > limits.max_bytes:
        raise TooManyBytes(f"{size} bytes; at most {limits.max_bytes} are taken")
    return file.read_bytes()


def _png(region: Structure) -> bytes:
    return base64.b64decode(region.mask.data) if isinstance(region.mask, PngMask) else b""


def _overlay(data: bytes, answer: SegmentationAnswer, regions: dict[str, bytes], limits: Limits) -> bytes:
    pixels = images.decode(data, limits).pixels
    labels = np.zeros(pixels.shape[:2], np.uint8)
    if answer.gradable:
        for content in regions.values():
            labels += images.decode_labels(content, limits) > 0
    return rendering.overlay_png(pixels, labels)


def _written(pictures: dict[str, Callable[[], bytes]], photograph: Photograph, row: Row, job: Job) -> Done | Stop:
    """Each picture appears whole or not at all."""
    for kind, content in pictures.items():
        encoded = content()
        target = job.out / f"{photograph.name}.{kind}.png"
        unfinished = job.out / UNFINISHED / f"{os.getpid()}.png"  # the next run removes what a killed one leaves there
        try:
            unfinished.write_bytes(encoded)
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.replace(target)
        except OSError as error:
            return Stop(CannotWrite(f"{target}: {error.strerror or error}"))
    return Done({"file": str(photograph.file), "output": photograph.name} | row, None)
