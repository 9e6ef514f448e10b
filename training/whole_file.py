"""Write a file so that it appears whole or not at all, also where the disk is full or the process is killed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from model import artefact
from model.errors import CupDiscError

PARTIAL = "partial-"  # stands before the name while a file is written; a killed process leaves it, the next replaces it


class CannotWrite(CupDiscError):
    """A file cannot be written: no space left, no right to, or the folder is gone. What was there before still is."""

    code = "cannot_write"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, with the same ending; its file becomes `path` once everything has reached the disk.

    Raises:
        CannotWrite: for any OSError inside; nothing is left behind.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}")
    try:
        with writing(path):
            yield partial
            artefact.flush(partial)
            partial.replace(path)
            artefact.flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Any OSError inside becomes a CannotWrite that names the file."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror or error}") from error
