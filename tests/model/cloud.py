"""What tests of a registry on Cloud Storage share: how it is opened, and what its versions are called."""

from pathlib import Path

from model.bucket import Bucket, Patience
from model.cloud_registry import CloudRegistry
from tests.storage import Objects

FIRST, SECOND, THIRD = "2026.1.1", "2026.2.1", "2026.3.1"
ENOUGH = Patience(attempt_s=20.0, whole_s=60.0)  # for what works, on however slow a machine


def open_at(objects: Objects, copies: Path) -> CloudRegistry:
    return CloudRegistry(Bucket(f"gs://{objects.bucket}/models", ENOUGH), copies)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
