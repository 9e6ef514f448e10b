"""A registry on Cloud Storage that holds something."""

from pathlib import Path

import pytest

from model.cloud_registry import CloudRegistry
from tests.model.cloud import FIRST, SECOND, open_at
from tests.storage import Objects
from tests.versions import stage


@pytest.fixture
def published(objects: Objects, tmp_path: Path) -> CloudRegistry:
    """FIRST, in production, and SECOND."""
    found = open_at(objects, tmp_path / "copies")
    found.publish(stage(tmp_path / FIRST, FIRST).folder, alias="production")
    found.publish(stage(tmp_path / SECOND, SECOND).folder)
    return found
