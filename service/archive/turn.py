"""One run at a time in a folder of results. On disk the kernel knows of it, in a bucket signs of life tell."""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path

from model.bucket import SCHEME, Bucket
from model.errors import InvalidConfiguration, ObjectChanged, ObjectExists, ObjectNotFound, StorageError
from service.archive.layout import LOCK
from service.archive.meanwhile import repeated
from service.bulk import open_alone
from service.worker import CannotWrite

SIGN_EVERY_S = 30.0
DEAD_AFTER_S = 150.0  # without a sign; clocks may differ by a part of it


@contextlib.contextmanager
def alone(out: str, run: str) -> Iterator[None]:
    """While it lasts, no other run gets this folder.

    Raises:
        InvalidConfiguration: another one is at work there, or was killed less than `DEAD_AFTER_S` ago in a bucket.
        CannotWrite, StorageError.
    """
    with _in_bucket(Bucket(out), run) if out.startswith(SCHEME) else _on_disk(Path(out)):
        yield


@contextlib.contextmanager
def _on_disk(out: Path) -> Iterator[None]:
    lock = out / LOCK
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        opened = open_alone(lock)
    except OSError as error:
        raise CannotWrite(f"{error.filename or out}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(opened)
        with contextlib.suppress(OSError):  # it holds segments
            lock.parent.rmdir()


@contextlib.contextmanager
def _in_bucket(bucket: Bucket, run: str) -> Iterator[None]:
    try:
        generation = bucket.write(LOCK, _sign(run), _free(bucket), "application/json")
    except (ObjectExists, ObjectChanged):
        raise InvalidConfiguration(f"another run has just begun in {bucket}") from None

    def give_sign() -> None:
        nonlocal generation
        with contextlib.suppress(StorageError):  # the next one may arrive
            generation = bucket.write(LOCK, _sign(run), generation, "application/json")

    try:
        with repeated(give_sign, SIGN_EVERY_S):
            yield
    finally:
        with contextlib.suppress(StorageError):
            bucket.delete(LOCK)


def _free(bucket: Bucket) -> int:
    """The generation of a dead run's sign; 0 where there is none."""
    try:
        content, generation = bucket.read(LOCK, 10_000)
    except ObjectNotFound:
        return 0
    told = json.loads(content)
    silent_s = (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(told["at"])).total_seconds()
    if silent_s < DEAD_AFTER_S:
        raise InvalidConfiguration(
            f"another run is at work in {bucket}, or was killed {silent_s:.0f} s ago; "
            f"after {DEAD_AFTER_S:.0f} s without a sign of life the folder is free"
        )
    return generation


def _sign(run: str) -> bytes:
    return json.dumps({"run": run, "at": datetime.datetime.now(datetime.UTC).isoformat()}).encode()
