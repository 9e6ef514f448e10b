"""Photographs that lie on Cloud Storage, and results that go there: only where the operator allows it."""

import threading
from dataclasses import dataclass

from model.bucket import SCHEME, Bucket, Patience, split
from model.errors import InvalidConfiguration, StorageError, TooManyBytes
from model.images import Limits
from model.masks import Label
from model.segmentation import Segmentation
from service import rendering
from service.problems import UriNotAllowed
from service.schemas import NamedPhotograph, SegmentationAnswer, StoredAnswer
from service.settings import Settings


@dataclass(frozen=True)
class _Place:
    """Bucket and object name, or the beginning of one."""

    bucket: str
    name: str

    def holds(self, other: "_Place") -> bool:
        return self.bucket == other.bucket and other.name.startswith(self.name)


class CloudPhotographs:
    """Safe to call from several threads.

    Raises:
        InvalidConfiguration: a prefix of the settings is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._readable = prefixes("photograph_prefixes", settings.photograph_prefixes)
        self._writable = prefixes("output_prefixes", settings.output_prefixes)
        self._patience = Patience(settings.storage_timeout_s, settings.storage_patience_s)
        self._making = threading.Lock()
        self._buckets: dict[str, Bucket] = {}

    def check(self, named: NamedPhotograph) -> None:
        """Nothing is asked of anybody before this has passed. Raises UriNotAllowed."""
        _allowed(named.uri, self._readable, "photographs are not read there")
        if named.output is not None:
            _allowed(named.output, self._writable, "results are not written there")

    def fetch(self, uri: str, limits: Limits) -> bytes:
        """An object's content, after a look at its size.

        Raises:
            UriNotAllowed, TooManyBytes; ObjectNotFound and other StorageErrors.
        """
        place = _allowed(uri, self._readable, "photographs are not read there")
        bucket = self._bucket(place.bucket)
        stored = bucket.find(place.name)
        if stored.size > limits.max_bytes:
            raise TooManyBytes(f"an object of {stored.size} bytes; at most {limits.max_bytes} are taken")
        content, _ = bucket.read(place.name, limits.max_bytes, stored.generation)
        return content

    def store(self, uri: str, answer: SegmentationAnswer, segmentation: Segmentation) -> StoredAnswer:
        """Write URI.disc.png, URI.cup.png and URI.json, the last one when the others are there.

        A mask that is not known is not written. Nothing is ever overwritten: where something of these names exists,
        what was written before it is removed again.

        Raises:
            UriNotAllowed; ObjectExists and other StorageErrors.
        """
        place = _allowed(uri, self._writable, "results are not written there")
        bucket, shown = self._bucket(place.bucket), segmentation.shown
        contents: dict[str, tuple[bytes, str]] = {}
        if answer.disc is not None:
            disc = shown.having(shown.values >= Label.RIM)
            contents[f"{place.name}.disc.png"] = (rendering.mask_png(disc), "image/png")
        if answer.cup is not None:
            cup = shown.having(shown.values == Label.CUP)
            contents[f"{place.name}.cup.png"] = (rendering.mask_png(cup), "image/png")
        names = [*contents, f"{place.name}.json"]
        stored = StoredAnswer(**dict(answer), written=[bucket.uri(name) for name in names])
        without = {"disc": {"mask"}, "cup": {"mask"}}
        contents[names[-1]] = (stored.model_dump_json(exclude=without).encode(), "application/json")
        written = []
        try:
            for name, (content, media_type) in contents.items():
                bucket.write(name, content, 0, media_type)
                written.append(name)
        except StorageError:
            self._take_back(bucket, written)
            raise
        return stored

    def _take_back(self, bucket: Bucket, written: list[str]) -> None:
        for name in written:
            try:
                bucket.delete(name)
            except StorageError:
                return  # perhaps we may write and not delete

    def _bucket(self, name: str) -> Bucket:
        with self._making:
            return self._buckets.setdefault(name, Bucket(f"{SCHEME}{name}", self._patience))


def prefixes(setting: str, text: str) -> tuple[_Place, ...]:
    """The places of a list with commas; a prefix ends where a folder would, also where the slash was left out.

    Raises:
        InvalidConfiguration: one is not of the form gs://bucket/prefix.
    """
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            bucket, name = split(each)
        except InvalidConfiguration as error:
            raise InvalidConfiguration(f"{setting}: {error}") from None
        found.append(_Place(bucket, f"{name.rstrip('/')}/" if name else ""))
    return tuple(found)


def _allowed(uri: str, places: tuple[_Place, ...], why: str) -> _Place:
    try:
        place = _Place(*split(uri))
    except InvalidConfiguration:
        raise UriNotAllowed("only objects named gs://bucket/name can be used") from None
    if not place.name or place.name.endswith("/") or not any(allowed.holds(place) for allowed in places):
        raise UriNotAllowed(why)
    return place
