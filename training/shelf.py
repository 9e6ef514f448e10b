"""Where prepared sources are kept: a folder, or a gs:// prefix. Files are named by their sha256; a manifest comes last.

    <shelf>/<source>/manifest.json      what there is; replaced in one move, after every file that it names
    <shelf>/<source>/<sha256>.npy       photographs; never changed

A process that is killed leaves files that no manifest names. The next one of the same content finds them ready.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from model.bucket import SCHEME, Bucket, Patience
from model.errors import CupDiscError, InvalidConfiguration, ObjectNotFound
from training.whole_file import CannotWrite, whole_file, writing

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 2**28  # bytes
PATIENCE = Patience(whole_s=900.0)  # a file holds some 80 MB, and lines are slow


class InvalidCache(CupDiscError):
    """Prepared photographs are missing, damaged, or not those that the run asks for."""

    code = "invalid_cache"


class Shelf(Protocol):
    """What both places can do."""

    def manifest(self, source: str) -> bytes | None:
        """The manifest of a source; None where it was never prepared."""

    def put(self, source: str, write: Callable[[Path], None]) -> str:
        """Keep a file that `write` writes; answers with its name."""

    def publish(self, source: str, manifest: bytes) -> None:
        """Make the files that a manifest names a prepared source, in the place of an earlier one."""

    def fetch(self, source: str, name: str) -> Path:
        """A file on the disk of this machine. Raises InvalidCache where it is missing or damaged."""

    def has(self, source: str, names: set[str]) -> bool:
        """Whether all these files are there and whole."""

    def sweep(self, source: str, named: set[str], earlier: set[str]) -> None:
        """Remove files that no manifest names any more: `named` by the newest, `earlier` by the one before."""

    def check_room(self, size: int) -> None:
        """Raises CannotWrite where `size` bytes certainly do not fit."""

    def writing_alone(self) -> contextlib.AbstractContextManager[None]:
        """While it is open no other process prepares here."""


def open_shelf(location: str, copies: Path | None = None) -> Shelf:
    """The shelf of a folder's name or a gs:// prefix.

    Args:
        copies: a folder for what is fetched from a gs:// prefix, kept for the next time; needed only for fetching.
    Raises:
        InvalidConfiguration: neither.
    """
    if location.startswith(SCHEME):
        return BucketShelf(Bucket(location, PATIENCE), copies)
    if not location or "://" in location:
        raise InvalidConfiguration(f"cache={location!r}: must be a folder or gs://bucket/prefix")
    return FolderShelf(Path(location))


class FolderShelf:
    """Prepared sources in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def manifest(self, source: str) -> bytes | None:
        try:
            return (self._folder / source / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, source: str, write: Callable[[Path], None]) -> str:
        folder = self._folder / source
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return _keep(folder, write)

    def publish(self, source: str, manifest: bytes) -> None:
        with whole_file(self._folder / source / MANIFEST) as partial:
            partial.write_bytes(manifest)

    def fetch(self, source: str, name: str) -> Path:
        path = self._folder / source / name
        if not path.is_file() or _sha256(path) != Path(name).stem:
            raise InvalidCache(f"{path}: missing or damaged; run `cupdisc-train prepare` again")
        return path

    def has(self, source: str, names: set[str]) -> bool:
        paths = [self._folder / source / name for name in names]
        return all(path.is_file() and _sha256(path) == path.stem for path in paths)

    def sweep(self, source: str, named: set[str], earlier: set[str]) -> None:
        for path in (self._folder / source).glob("*.npy"):  # those of killed processes as well: nobody else writes here
            if path.name not in named:
                path.unlink(missing_ok=True)

    def check_room(self, size: int) -> None:
        place = next(path for path in (self._folder.absolute(), *self._folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(place).free
        if size > free:
            raise CannotWrite(f"{self._folder}: needs {_gigabytes(size)}, and {_gigabytes(free)} are free")

    @contextlib.contextmanager
    def writing_alone(self) -> Iterator[None]:
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT)  # the system lets go of it where we die
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CannotWrite(f"{self._folder}: another process prepares here") from error
            for remains in self._folder.glob(f"*/{_PARTIAL}*"):
                remains.unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)


class BucketShelf:
    """Prepared sources below a gs:// prefix; fetched files stay in a folder, where they are read from."""

    def __init__(self, bucket: Bucket, copies: Path | None) -> None:
        self._bucket = bucket
        self._copies = copies

    def __str__(self) -> str:
        return str(self._bucket)

    def manifest(self, source: str) -> bytes | None:
        try:
            return self._bucket.read(f"{source}/{MANIFEST}", LARGEST_MANIFEST)[0]
        except ObjectNotFound:
            return None

    def put(self, source: str, write: Callable[[Path], None]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            name = _keep(Path(folder), write)
            if not self._bucket.holds(f"{source}/{name}", Path(folder) / name):
                self._bucket.write(f"{source}/{name}", Path(folder) / name, 0, "application/octet-stream")
            return name

    def publish(self, source: str, manifest: bytes) -> None:
        name = f"{source}/{MANIFEST}"
        try:
            generation = self._bucket.find(name).generation
        except ObjectNotFound:
            generation = 0
        self._bucket.write(name, manifest, generation, "application/json")

    def fetch(self, source: str, name: str) -> Path:
        if self._copies is None:
            raise InvalidConfiguration(f"{self._bucket}: a folder is needed for copies")
        path = self._copies / source / name
        if path.is_file() and _sha256(path) == path.stem:
            return path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{_PARTIAL}{name}")
            partial.unlink(missing_ok=True)
        try:
            self._bucket.download(f"{source}/{name}", partial)
        except ObjectNotFound as error:
            raise InvalidCache(f"{error}; run `cupdisc-train prepare` again") from error
        with writing(path):
            if _sha256(partial) != path.stem:
                partial.unlink()
                damaged = self._bucket.uri(f"{source}/{name}")
                raise InvalidCache(f"{damaged}: damaged; delete it and run `cupdisc-train prepare` again")
            return partial.replace(path)

    def has(self, source: str, names: set[str]) -> bool:
        return names <= {name.rpartition("/")[2] for name in self._bucket.list(f"{source}/")}

    def sweep(self, source: str, named: set[str], earlier: set[str]) -> None:
        for name in earlier - named:  # others may be of a process that has not come to its manifest yet
            self._bucket.delete(f"{source}/{name}")

    def check_room(self, size: int) -> None:
        """Storage grows."""

    @contextlib.contextmanager
    def writing_alone(self) -> Iterator[None]:
        """Others may write too: a file has one content, and the manifest that comes last counts."""
        yield


_PARTIAL = "partial-"


def _keep(folder: Path, write: Callable[[Path], None]) -> str:
    """Let `write` write a file, and name it by its content; answers with the name."""
    partial = folder / f"{_PARTIAL}{os.getpid()}.npy"
    with writing(partial):
        try:
            write(partial)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            name = f"{_sha256(partial)}.npy"
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
    return name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
