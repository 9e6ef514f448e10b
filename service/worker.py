"""One process of a bulk run: gets photographs through a socket, writes their pictures, sends back their rows.

One core, one thread, one photograph from beginning to end: decoding of one photograph overlaps with the network of
another in the next process, and nobody waits for anybody. A process also keeps what a malicious file can do apart from
the run. `service.bulk` starts it; it ends when the other side of the socket is gone, however that came about.
"""

import base64
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from model import images
from model.errors import CupDiscError, TooManyBytes
from model.images import Limits
from model.masks import Label
from model.registry import open_registry
from model.segmenter import Segmenter
from service import rendering, table
from service.files import UNFINISHED, Photograph
from service.schemas import PngMask, SegmentationAnswer, Structure
from service.table import Row

if TYPE_CHECKING:
    from service.calls import Choices
    from service.client import Client


class CannotWrite(CupDiscError):
    """The results cannot be written: no room, no permission, or the folder is gone."""

    code = "cannot_write"


@dataclass(frozen=True)
class Here:
    """Segment on this machine."""

    registry: str
    version: str  # its name, no alias: what an alias points to may change during a run
    engine: str
    precision: str


@dataclass(frozen=True)
class There:
    """Ask a service."""

    url: str
    version: str | None


@dataclass(frozen=True)
class Job:
    """What is to be done with each photograph, as a worker is told."""

    by: Here | There
    limits: Limits
    out: Path
    masks: bool  # write NAME.disc.png and NAME.cup.png
    overlays: bool  # write NAME.overlay.png


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


Work = Callable[[Photograph], Row]


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
    while True:
        photograph: Photograph = connection.recv()
        connection.send(_done(photograph, work))


def _prepared(job: Job) -> tuple[dict[str, str | None], Work]:
    if isinstance(job.by, There):
        from service.client import Client  # half a second that a worker without a service need not wait

        client, version = Client(job.by.url), job.by.version
        return {"service": job.by.url, "version": version}, lambda photograph: _there(photograph, job, version, client)
    cv2.setNumThreads(1)
    artefact = open_registry(job.by.registry).open(job.by.version)
    segmenter = Segmenter(artefact, job.by.engine, job.by.precision, threads=1)
    made_with: dict[str, str | None] = {
        **{"sha256": segmenter.digest, "engine": segmenter.engine, "precision": segmenter.precision}
    }
    return made_with, lambda photograph: _here(photograph, job, segmenter)


def _done(photograph: Photograph, work: Work) -> Done | Stop:
    from_file = {"file": str(photograph.file)}
    try:
        return Done(from_file | {"output": photograph.name} | work(photograph), None)
    except CannotWrite as error:
        return Stop(error)
    except CupDiscError as error:
        if error.code == "service_unreachable":
            return Stop(error)
        return Done(from_file | {"error": error.code}, str(error))
    except OSError as error:
        return Done(from_file | {"error": "cannot_be_read"}, error.strerror or str(error))
    except MemoryError:
        return Done(from_file | {"error": "out_of_memory"}, "there is not enough memory for it")


def _here(photograph: Photograph, job: Job, segmenter: Segmenter) -> Row:
    pixels = images.decode(_read(photograph.file, job.limits), job.limits).pixels
    (found,) = segmenter.segment([pixels])
    labels: np.ndarray = found.label_mask
    pictures: dict[str, Callable[[], bytes]] = {}
    if job.masks and found.disc:
        pictures["disc"] = lambda: rendering.mask_png(np.greater_equal(labels, Label.RIM))
    if job.masks and found.cup:
        pictures["cup"] = lambda: rendering.mask_png(np.equal(labels, Label.CUP))
    if job.overlays:
        pictures["overlay"] = lambda: rendering.overlay_png(pixels, labels if found.gradable else labels * 0)
    _write(pictures, photograph, job)
    return table.row_here(found, segmenter)


def _there(photograph: Photograph, job: Job, version: str | None, client: "Client") -> Row:
    data = _read(photograph.file, job.limits)
    choices: Choices = {"masks": "png" if job.masks or job.overlays else "none"}
    if version:
        choices["version"] = version
    answer = client.segment(data, **choices)
    regions = {kind: _png(region) for kind, region in (("disc", answer.disc), ("cup", answer.cup)) if region}
    pictures: dict[str, Callable[[], bytes]] = {}
    if job.masks:
        pictures |= {kind: lambda content=content: content for kind, content in regions.items()}  # type: ignore[misc]
    if job.overlays:
        pictures["overlay"] = lambda: _overlay(data, answer, regions, job.limits)
    _write(pictures, photograph, job)
    return table.row_there(answer)


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


def _write(pictures: dict[str, Callable[[], bytes]], photograph: Photograph, job: Job) -> None:
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
            raise CannotWrite(f"{target}: {error.strerror or error}") from error
