"""Objects below one gs:// prefix: list, read, write under a precondition. Every failure says what an operator can do.

What may pass by itself (429, 5xx, broken connections, no answer in time) is tried again, later and later, with jitter.
"""

import base64
import contextlib
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from model.artefact import writing_to
from model.errors import (
    BucketNotFound,
    InvalidConfiguration,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageDenied,
    StorageError,
    StorageUnavailable,
    TooManyBytes,
)

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCHEME = "gs://"
LOCATION = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?", re.DOTALL)

_WRITER = "cupdisc-writer"  # metadata of what we wrote: tells our own object from another's after a lost answer
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 8.0  # between two attempts


@dataclass(frozen=True)
class Patience:
    """How long storage is waited for."""

    attempt_s: float = 10.0  # until it is reached, and between two pieces of an answer
    whole_s: float = 60.0  # for one object, all attempts together


PATIENCE = Patience()


@dataclass(frozen=True)
class Stored:
    """One object as it is listed."""

    size: int  # bytes
    generation: int  # another one for each content that the object had
    checksum: str  # CRC32C, as Cloud Storage writes it


def split(location: str) -> tuple[str, str]:
    """Bucket and object name of gs://bucket/name; the name may be empty.

    Raises:
        InvalidConfiguration: not of that form, or a name with empty, . or .. segments, which some readers resolve.
    """
    match = LOCATION.fullmatch(location)
    if match is None:
        raise InvalidConfiguration(f"{location!r} is not of the form gs://bucket/name")
    name = match[2] or ""
    segments = name.removesuffix("/").split("/") if name else []
    if (
        any(segment in ("", ".", "..") or not segment.isprintable() for segment in segments)
        or len(name.encode()) > 1024
    ):
        raise InvalidConfiguration(f"{location!r}: not a plain name of an object")
    return match[1], name


class Bucket:
    """Safe to call from several threads. The first call looks for credentials; making one touches no network.

    `STORAGE_EMULATOR_HOST` leads to an emulator in place of Google's storage, without credentials.

    Args:
        location: gs://bucket or gs://bucket/prefix; object names below are relative to it.
    Raises:
        InvalidConfiguration: another form.
    Every method raises StorageUnavailable, StorageDenied, BucketNotFound.
    """

    def __init__(self, location: str, patience: Patience = PATIENCE) -> None:
        self._bucket, prefix = split(location)
        self._prefix = f"{prefix.strip('/')}/" if prefix else ""
        self._patience = patience
        self._making = threading.Lock()
        self._made: Client | None = None

    def __str__(self) -> str:
        return self.uri("").removesuffix("/")

    def uri(self, name: str) -> str:
        """gs://bucket/prefix/name."""
        return f"{SCHEME}{self._bucket}/{self._prefix}{name}"

    def list(self, prefix: str = "", at_most: int | None = None) -> dict[str, Stored]:
        """The objects whose name begins so."""
        return dict(self.listing(prefix, at_most))

    def listing(self, prefix: str = "", at_most: int | None = None) -> Iterator[tuple[str, Stored]]:
        """The same one after the other, as the storage tells them: there may be more than memory holds."""
        with self._asking(self.uri(prefix)):
            blobs = self._client().list_blobs(
                self._bucket,
                prefix=self._prefix + prefix,
                max_results=at_most,
                fields="items(name,size,generation,crc32c),nextPageToken",
                **self._trying(),
            )
            for blob in blobs:
                yield blob.name.removeprefix(self._prefix), _stored(blob)

    def find(self, name: str) -> Stored:
        """One object's size and generation. Raises ObjectNotFound."""
        with self._asking(self.uri(name)):
            blob = self._blob(name)
            blob.reload(projection="noAcl", **self._trying())
            return _stored(blob)

    def read(self, name: str, at_most: int, generation: int | None = None) -> tuple[bytes, int]:
        """An object's content and its generation.

        Args:
            generation: the one to read; by default the newest.
        Raises:
            ObjectNotFound: there is none, or no longer that generation.
            TooManyBytes: more than `at_most`.
        """
        if generation is None:
            generation = self.find(name).generation
        sink = _Memory(self._sink_limit(at_most))
        self._download(name, sink, generation)
        return bytes(sink.content), generation

    def download(self, name: str, file: Path) -> None:
        """Write an object's content into a new file. Raises ObjectNotFound, NoRoom."""
        with writing_to(str(file.parent)), file.open("xb") as opened:
            self._download(name, _File(self._sink_limit(None), opened), None)

    def write(self, name: str, content: bytes | Path, generation: int, media_type: str) -> int:
        """Make an object, or put a new content in the place of a known one.

        Args:
            content: a file, or bytes.
            generation: that of the content to be replaced; 0: there must be no such object.
        Returns:
            The new generation.
        Raises:
            ObjectExists: with generation 0, and there is one.
            ObjectChanged: it has another generation.
        """
        writer = uuid.uuid4().hex
        blob = self._blob(name)
        blob.metadata = {_WRITER: writer}
        options = {"content_type": media_type, "if_generation_match": generation, **self._trying()}
        from google.api_core.exceptions import PreconditionFailed

        try:
            with self._asking(self.uri(name)):
                if isinstance(content, Path):
                    blob.upload_from_filename(str(content), **options)
                else:
                    blob.upload_from_string(content, **options)
        except PreconditionFailed as error:
            mine = self._generation_of(name, writer)  # an attempt whose answer was lost may have done it
            if mine is not None:
                return mine
            if generation == 0:
                raise ObjectExists(f"{self.uri(name)} exists already") from error
            raise ObjectChanged(f"{self.uri(name)} was changed by somebody else") from error
        return int(blob.generation)

    def holds(self, name: str, file: Path) -> bool:
        """Whether an object has the content of a file, judged by size and CRC32C."""
        try:
            stored = self.find(name)
        except ObjectNotFound:
            return False
        return stored.size == file.stat().st_size and stored.checksum == _checksum(file)

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        with contextlib.suppress(ObjectNotFound), self._asking(self.uri(name)):
            self._blob(name).delete(**self._trying())

    def _generation_of(self, name: str, writer: str) -> int | None:
        """Of the object, if that writer wrote it. None too where we may write and not read: then nobody can tell."""
        with contextlib.suppress(StorageError), self._asking(self.uri(name)):
            blob = self._blob(name)
            blob.reload(projection="noAcl", **self._trying())
            if (blob.metadata or {}).get(_WRITER) == writer:
                return int(blob.generation)
        return None

    def _download(self, name: str, sink: "_Memory | _File", generation: int | None) -> None:
        with self._asking(self.uri(name)):
            blob = self._client().bucket(self._bucket).blob(self._prefix + name, generation=generation)
            blob.download_to_file(sink, raw_download=True, **self._trying())

    def _sink_limit(self, at_most: int | None) -> "_Limit":
        return _Limit(str(self), at_most, time.monotonic() + self._patience.whole_s)

    def _blob(self, name: str) -> "Blob":
        return self._client().bucket(self._bucket).blob(self._prefix + name)

    def _trying(self) -> dict[str, Any]:
        from google.cloud.storage.retry import DEFAULT_RETRY

        waits = DEFAULT_RETRY.with_delay(initial=_FIRST_WAIT_S, maximum=_LONGEST_WAIT_S, multiplier=2.0)
        return {"timeout": self._patience.attempt_s, "retry": waits.with_timeout(self._patience.whole_s)}

    def _client(self) -> "Client":
        with self._making:
            if self._made is None:
                from google.cloud import storage

                self._made = storage.Client(project=None)  # only to make and list buckets would one be needed
            return self._made

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn the library's errors into ours; PreconditionFailed passes."""
        import requests
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        try:
            yield
        except api.PreconditionFailed:
            raise
        except api.NotFound as error:
            raise self._missing(what) from error
        except (api.Unauthorized, api.Forbidden) as error:
            raise StorageDenied(f"{what}: this account is not allowed to: {error.message}") from error
        except auth.TransportError as error:
            raise StorageUnavailable(f"{what}: no credentials could be fetched: {error}") from error
        except auth.GoogleAuthError as error:
            raise StorageDenied(f"{what}: no valid credentials: {error}") from error
        except (api.RetryError, requests.RequestException, ConnectionError, TimeoutError) as error:
            cause = getattr(error, "cause", None) or error
            raise StorageUnavailable(f"{what}: {_first_line(cause)}") from error
        except DataCorruption as error:
            raise StorageUnavailable(f"{what}: what arrived has another checksum than what is stored") from error
        except (api.GoogleAPICallError, InvalidResponse) as error:
            code = error.response.status_code if isinstance(error, InvalidResponse) else int(error.code or 0)
            kind = StorageUnavailable if code in (408, 429) or code >= 500 else StorageError
            raise kind(f"{what}: {_first_line(error)}") from error

    def _missing(self, what: str) -> StorageError:
        """Nothing is there: no such object, or not even the bucket?"""
        from google.api_core import exceptions as api

        try:
            next(iter(self._client().list_blobs(self._bucket, max_results=1, **self._trying())), None)
        except api.NotFound:
            return BucketNotFound(f"{SCHEME}{self._bucket}: no such bucket")
        except api.GoogleAPICallError:
            pass  # we may not list; then it stays with the object
        return ObjectNotFound(f"{what}: no such object")


@dataclass(frozen=True)
class _Limit:
    """When a download is broken off: the library's own timeouts begin anew with every piece that arrives."""

    what: str
    at_most: int | None  # bytes
    deadline: float  # by time.monotonic()

    def check(self, received: int) -> None:
        if self.at_most is not None and received > self.at_most:
            raise TooManyBytes(f"an object of more than {self.at_most} bytes")
        if time.monotonic() > self.deadline:
            raise StorageUnavailable(f"{self.what}: too slow")


class _Memory:
    """What a download is written into when it is to stay in memory."""

    def __init__(self, limit: _Limit) -> None:
        self.content, self._limit = bytearray(), limit

    def write(self, piece: bytes) -> int:
        self._limit.check(len(self.content) + len(piece))
        self.content += piece
        return len(piece)

    def tell(self) -> int:
        return len(self.content)

    def seek(self, position: int) -> int:
        del self.content[position:]
        return position


class _File:
    """What a download is written into when it is to become a file."""

    def __init__(self, limit: _Limit, file: IO[bytes]) -> None:
        self._limit, self._file = limit, file

    def write(self, piece: bytes) -> int:
        self._limit.check(self._file.tell() + len(piece))
        return self._file.write(piece)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> int:
        self._file.truncate(position)
        return self._file.seek(position)


def _stored(blob: "Blob") -> Stored:
    return Stored(int(blob.size or 0), int(blob.generation), blob.crc32c or "")


def _checksum(file: Path) -> str:
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            checksum.update(piece)
    return base64.b64encode(checksum.digest()).decode("ascii")


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
