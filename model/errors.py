"""Every failure that a caller can act on, each with a stable code. Knows no HTTP."""


class CupDiscError(Exception):
    """Root of the tree. `code` is stable, clients may test it; the message is for people and may change."""

    code = "error"


class InvalidConfiguration(CupDiscError):
    """A configuration or setting that cannot work; the message names every wrong field."""

    code = "invalid_configuration"


class PhotographError(CupDiscError):
    """The bytes that were given are no photograph that we can work with."""

    code = "invalid_photograph"


class EmptyPhotograph(PhotographError):
    """There are no bytes at all."""

    code = "empty_photograph"


class TooManyBytes(PhotographError):
    """The encoded photograph is larger than the limit."""

    code = "too_many_bytes"


class TooManyPixels(PhotographError):
    """The header announces more pixels than the limit."""

    code = "too_many_pixels"


class TooFewPixels(PhotographError):
    """A side is too short to outline a disc."""

    code = "too_few_pixels"


class UnsupportedFormat(PhotographError):
    """Not one of the formats that are read."""

    code = "unsupported_format"


class UnreadablePhotograph(PhotographError):
    """A known format, but truncated, damaged or contradicting itself."""

    code = "unreadable_photograph"


class PhotographTooCostly(PhotographError):
    """Decoding takes more memory or time than one photograph may."""

    code = "photograph_too_costly"


class InvalidMask(CupDiscError):
    """Not a label mask: wrong shape, type or values."""

    code = "invalid_mask"


class DiscNotFound(CupDiscError):
    """A label mask without a disc has no ratio."""

    code = "disc_not_found"


class VersionError(CupDiscError):
    """Something is wrong with a version or its name."""

    code = "version_error"


class VersionNotFound(VersionError):
    """The registry knows neither a version nor an alias of this name."""

    code = "version_not_found"


class ConventionNotFound(VersionError):
    """The version did not learn apart how the annotators of this name draw."""

    code = "convention_not_found"


class VersionExists(VersionError):
    """Versions are immutable: this one is published already."""

    code = "version_exists"


class CorruptVersion(VersionError):
    """A version's files are not what its manifest says; the message names each of them."""

    code = "corrupt_version"


class UnknownSchema(VersionError):
    """The manifest is written in a newer schema than this code reads."""

    code = "unknown_schema"


class IncompleteVersion(VersionError):
    """Only a part of the version is in the registry: its upload is under way, or was broken off."""

    code = "incomplete_version"


class UntrustedVersion(VersionError):
    """The version has no signature by the key that the operator trusts."""

    code = "untrusted_version"


class AliasConflict(VersionError):
    """The alias points elsewhere than the caller expects, or protects what the caller wants to delete."""

    code = "alias_conflict"


class ProbeFailed(VersionError):
    """The version is wrong or too slow on the photograph whose answer is known."""

    code = "probe_failed"


class NoVersionLive(VersionError):
    """No version could be loaded."""

    code = "no_version_live"


class EngineUnavailable(CupDiscError):
    """The engine that was asked for is not installed."""

    code = "engine_unavailable"


class NoRoom(CupDiscError):
    """A folder that must be written to is full, or read-only."""

    code = "no_room"


class StorageError(CupDiscError):
    """Cloud Storage did not do what it was asked for."""

    code = "storage_error"


class StorageUnavailable(StorageError):
    """Cloud Storage cannot be reached, fails, or is too slow, even after several attempts."""

    code = "storage_unavailable"


class StorageDenied(StorageError):
    """Cloud Storage does not let this account do it, or there are no credentials."""

    code = "storage_denied"


class BucketNotFound(StorageError):
    """There is no such bucket."""

    code = "bucket_not_found"


class ObjectNotFound(StorageError):
    """The bucket has no such object."""

    code = "object_not_found"


class ObjectExists(StorageError):
    """There is such an object already, and nothing is ever overwritten."""

    code = "object_exists"


class ObjectChanged(StorageError):
    """The object is no longer what it was when it was read."""

    code = "object_changed"


class Overloaded(CupDiscError):
    """More photographs wait than the queue may hold; `Retry-After` says when to ask again."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(CupDiscError):
    """The answer was not ready in time."""

    code = "deadline_exceeded"
