"""One annotated photograph of a source, not yet read: what every source's reader yields, and training works with."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from model.errors import CupDiscError
from model.images import decode
from model.masks import Label

T = TypeVar("T")
HALF = 128  # a pixel counts as disc or cup where its share is at least this


class InvalidSource(CupDiscError):
    """A source's files are not as its layout says; the message lists every one of them."""

    code = "invalid_source"


class Shares(NamedTuple):
    """How much of each pixel, or how many of several experts, is disc and cup: (H, W) uint8, 0 to 255.

    As annotated: the cup may reach beyond the disc, and is 0 where it was not annotated.
    """

    disc: np.ndarray
    cup: np.ndarray


class Annotation(Protocol):
    """A disc, perhaps with its cup, as one data set stores it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that `read` opens."""

    @property
    def variant(self) -> str | None:
        """What else decides the answer of `read`, such as the expert; None where the files alone do."""

    def read(self, shape: tuple[int, int]) -> Shares:
        """Disc and cup on a photograph of `shape`.

        Raises:
            InvalidSource: unreadable, of another size, or with other values; names the file.
        """


@dataclass(frozen=True)
class Example:
    """One annotated photograph of a source, not yet read."""

    source: str
    id: str
    image: Path
    annotation: Annotation
    cup_annotated: bool
    view: Literal["full", "crop"]
    left_half: bool = False  # of a stereo pair side by side: only the left one is the photograph
    glaucoma: bool | None = None  # the clinic's diagnosis, where the data set tells it; never trained on
    person: str = ""  # whose eye, where the data set tells it: all photographs of a person are held out, or none
    prepared: bytes | None = None  # its `fingerprint` where the files are not here, but what was cut from them is

    def read_photograph(self) -> np.ndarray:
        """(H, W, 3) uint8, upright RGB.

        Raises:
            InvalidSource: unreadable; names the file.
        """
        try:
            pixels = decode(self.image.read_bytes()).pixels
        except (OSError, CupDiscError) as error:
            raise InvalidSource(f"{self.image}: {error}") from error
        return np.ascontiguousarray(pixels[:, : pixels.shape[1] // 2]) if self.left_half else pixels

    def read_annotation(self, shape: tuple[int, int]) -> Shares:
        """Disc and cup as annotated; no cup where `cup_annotated` says so.

        Raises:
            InvalidSource: as `Annotation.read`, or without a disc.
        """
        disc, cup = self.annotation.read(shape)
        if not (disc >= HALF).any():
            names = ", ".join(str(path) for path in self.annotation.files) or f"{self.source}/{self.id}"
            raise InvalidSource(f"{names}: no disc")
        return Shares(disc, cup if self.cup_annotated else np.zeros_like(disc))

    def read_shares(self, shape: tuple[int, int]) -> Shares:
        """Disc and cup to train on: as annotated, but the cup nowhere more than the disc.

        Raises:
            InvalidSource: as `read_annotation`.
        """
        disc, cup = self.read_annotation(shape)
        return Shares(disc, np.minimum(cup, disc))

    def read_labels(self, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) uint8 of `Label` for a photograph of `shape`; a disc without annotated cup is 1 throughout.

        Raises:
            InvalidSource: as `read_annotation`.
        """
        return labels_of(self.read_shares(shape))


def labels_of(shares: Shares) -> np.ndarray:
    """(H, W) uint8 of `Label`: disc and cup where their shares are a half or more; the cup inside the disc alone."""
    disc, cup = shares.disc >= HALF, shares.cup >= HALF
    return np.where(disc, np.where(cup, Label.CUP, Label.RIM), Label.BACKGROUND).astype(np.uint8)


def read_each(
    examples: Sequence[Example], work: Callable[[Example], T], watch: Callable[[], None] = lambda: None
) -> list[T]:
    """`work` on each example, two at a time, answers in the order given; `watch` is called after each.

    Raises:
        InvalidSource: `work` raised it for some; every one of their messages.
    """

    def attempt(example: Example) -> T | InvalidSource:
        try:
            return work(example)
        except InvalidSource as error:
            return error

    answers: list[T] = []
    problems: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        for answer in pool.map(attempt, examples):
            if isinstance(answer, InvalidSource):
                problems.append(str(answer))
            else:
                answers.append(answer)
            watch()
    if problems:
        raise InvalidSource("\n".join(problems))
    return answers


def fingerprint(example: Example) -> bytes:
    """Its name, how its annotation is read, and the sha256 of each of its files: 32 bytes each, at the end.

    Raises:
        InvalidSource: a file cannot be read.
    """
    if example.prepared is not None:
        return example.prepared
    annotation = example.annotation
    total = f"{example.source}/{example.id}/{annotation.variant}/{example.cup_annotated}\n".encode()
    for path in (example.image, *annotation.files):
        try:
            total += hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            raise InvalidSource(f"{path}: {error.strerror or error}") from error
    return total


def digest(examples: list[Example]) -> str:
    """sha256 over ids, photographs and annotations: the same digest is the same data."""
    total = hashlib.sha256()
    for example in examples:
        total.update(fingerprint(example))
    return total.hexdigest()
