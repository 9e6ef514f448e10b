"""Photographs where they lie and a folder where results go: on disk, or in a bucket. One interface for both."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from model.bucket import SCHEME, Bucket, split
from model.errors import CupDiscError, InvalidConfiguration, ObjectExists, ObjectNotFound, TooManyBytes
from service.archive.patterns import Pattern
from service.worker import CannotWrite

MAX_OWN_BYTES = 2**30  # of a table that we wrote, or a list of photographs


@dataclass(frozen=True)
class Found:
    """A photograph before anybody looked into it.

    `revision` is another one for each content that lay there: an object's generation, a file's size and time of its
    last change. Empty where nobody asked: a list names objects, and storage is not asked about each of them.
    """

    name: str
    size: int
    revision: str


class CannotBeRead(CupDiscError):
    """The file is not there, or this account may not read it."""

    code = "cannot_be_read"


def listed(pattern: Pattern, out: str) -> Iterator[Found]:
    """What fits a pattern and is no result of ours, in no particular order; never all of it in memory.

    Raises:
        CannotBeRead: a folder that cannot be listed.
        StorageError: as `Bucket`.
    """
    own = f"{out.removesuffix('/')}/"
    names = _in_bucket(pattern) if pattern.text.startswith(SCHEME) else _on_disk(pattern)
    for found in names:
        if not found.name.startswith(own) and pattern.fits(found.name):
            yield found


def look(name: str) -> Found:
    """Size and revision of one photograph. Raises CannotBeRead, StorageError."""
    if name.startswith(SCHEME):
        bucket, inside = split(name)
        stored = _bucket(bucket).find(inside)
        return Found(name, stored.size, str(stored.generation))
    try:
        return _state(name, Path(name).stat())
    except OSError as error:
        raise CannotBeRead(f"{name}: {error.strerror}") from error


def named(name: str) -> Found:
    """A photograph of which the name is known, with size and revision where they are to be had for nothing: on disk."""
    if not name.startswith(SCHEME):
        with contextlib.suppress(OSError):  # whoever reads it will say what is wrong
            return _state(name, Path(name).stat())
    return Found(name, 0, "")


def fetch(found: Found, at_most: int) -> bytes:
    """A photograph's content, that of its revision where it has one.

    Raises:
        TooManyBytes: it is larger; then it is not read.
        CannotBeRead, StorageError.
    """
    if not found.revision:
        found = look(found.name)
    if found.size > at_most:
        raise TooManyBytes(f"{found.size} bytes; at most {at_most} are taken")
    if found.name.startswith(SCHEME):
        bucket, inside = split(found.name)
        return _bucket(bucket).read(inside, at_most, int(found.revision))[0]
    try:
        return Path(found.name).read_bytes()
    except OSError as error:
        raise CannotBeRead(f"{found.name}: {error.strerror}") from error


class Folder(Protocol):
    """A folder of ours. Names are relative to it; every file appears whole or not at all.

    Every method raises CannotWrite or StorageError.
    """

    def names(self, beginning: str = "") -> list[str]:
        """All files whose name begins so, in alphabetical order; those of folders below too."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is no such file."""

    def write(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        """Make a file, or put a new content in the place of the old one."""

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""


def folder(location: str) -> Folder:
    """gs://bucket/prefix or a path. Raises InvalidConfiguration."""
    if location.startswith(SCHEME):
        return _BucketFolder(Bucket(location))
    if "://" in location:
        raise InvalidConfiguration(f"{location}: must be a folder or gs://bucket/prefix")
    return _DiskFolder(Path(location).absolute())


class _DiskFolder:
    def __init__(self, place: Path) -> None:
        self._place = place

    def names(self, beginning: str = "") -> list[str]:
        found = []
        # only the folder in which such names can lie is walked: there may be a million masks beside it
        start = self._place / beginning.rpartition("/")[0]
        for at, _, files in os.walk(start):
            for name in files:
                inside = Path(at, name).relative_to(self._place).as_posix()
                if inside.startswith(beginning):
                    found.append(inside)
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._place / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotWrite(f"{self._place / name}: {error.strerror}") from error

    def write(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        target = self._place / name
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]  # the name itself may leave no room
        unfinished = target.with_name(f".{digest}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except OSError as error:
            raise CannotWrite(f"{target}: {error.strerror}") from error

    def delete(self, name: str) -> None:
        target = self._place / name
        try:
            target.unlink(missing_ok=True)
            while target.parent != self._place and not any(target.parent.iterdir()):
                target = target.parent
                target.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise CannotWrite(f"{target}: {error.strerror}") from error


class _BucketFolder:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def names(self, beginning: str = "") -> list[str]:
        return sorted(self._bucket.list(beginning))

    def read(self, name: str) -> bytes | None:
        try:
            return self._bucket.read(name, MAX_OWN_BYTES)[0]
        except ObjectNotFound:
            return None

    def write(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        try:
            self._bucket.write(name, content, 0, media_type)
        except ObjectExists:
            self._bucket.write(name, content, self._bucket.find(name).generation, media_type)

    def delete(self, name: str) -> None:
        self._bucket.delete(name)


@cache
def _bucket(name: str) -> Bucket:
    return Bucket(f"{SCHEME}{name}")


def _in_bucket(pattern: Pattern) -> Iterator[Found]:
    bucket, beginning = pattern.beginning.removeprefix(SCHEME).split("/", 1)
    for name, stored in _bucket(bucket).listing(beginning):
        yield Found(f"{SCHEME}{bucket}/{name}", stored.size, str(stored.generation))


def _on_disk(pattern: Pattern) -> Iterator[Found]:
    if not pattern.beginning.endswith("/"):
        yield look(pattern.text)
        return

    def stop(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # nothing fits; or it was removed meanwhile
        raise CannotBeRead(f"{error.filename}: {error.strerror}") from error

    for at, _, files in os.walk(pattern.beginning, onerror=stop):
        for name in files:
            yield named(f"{at.removesuffix('/')}/{name}")


def _state(name: str, state: os.stat_result) -> Found:
    return Found(name, state.st_size, f"{state.st_size}-{state.st_mtime_ns}")
