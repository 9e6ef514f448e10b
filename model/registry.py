"""Which registry an operator's word means: the version that ships, a folder, or a prefix on Cloud Storage."""

import hashlib
from pathlib import Path

from model.bucket import PATIENCE, SCHEME, Bucket, Patience
from model.cloud_registry import CloudRegistry
from model.errors import InvalidConfiguration
from model.local_registry import LocalRegistry

BUNDLED = Path(__file__).parent / "bundled"
COPIES = Path("~/.cache/cupdisc")  # of versions that were downloaded

Registry = LocalRegistry | CloudRegistry


def open_registry(location: str, copies: Path = COPIES, patience: Patience = PATIENCE) -> Registry:
    """The registry that an operator names: "bundled", a folder, or gs://bucket/prefix.

    Args:
        copies: the folder for what is downloaded, if anything is; each location has its own place in it.
        patience: with Cloud Storage.
    Raises:
        InvalidConfiguration: none of these.
    """
    if location == "bundled":
        return LocalRegistry(BUNDLED)
    if location.startswith(SCHEME):
        bucket = Bucket(location, patience)
        own = hashlib.sha256(str(bucket).encode()).hexdigest()[:16]
        return CloudRegistry(bucket, _home(copies) / own)
    if not location or "://" in location:
        raise InvalidConfiguration(f"registry={location!r}: must be a folder, gs://bucket/prefix or bundled")
    folder = Path(location)
    if folder.exists() and not folder.is_dir():
        raise InvalidConfiguration(f"registry={location!r}: not a folder")
    return LocalRegistry(folder)


def _home(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError:
        raise InvalidConfiguration(f"cache={str(folder)!r}: there is no home folder; name another") from None
