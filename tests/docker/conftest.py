"""A Docker engine and the images that `make image` built; without them the tests are skipped, and say so."""

import os
from collections.abc import Iterator

import pytest

from tests.docker.engine import Running, docker, run
from tests.documents import blocks
from tests.photographs import REPOSITORY

README = REPOSITORY / "README.md"


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image with both engines; the one without TensorFlow has the tag `slim`."""
    name = os.environ.get("CUPDISC_IMAGE")
    if not name:
        pytest.skip("no container is tested: `make image`, then CUPDISC_IMAGE=cupdisc")
    docker("image", "inspect", name, f"{name}:slim")
    return name


@pytest.fixture(scope="session", params=["", ":slim"], ids=["service", "slim"])
def either(image: str, request: pytest.FixtureRequest) -> str:
    """Both images, one after the other."""
    return image + request.param


@pytest.fixture(scope="session")
def readme_command() -> list[str]:
    """The arguments of `docker run` in the README."""
    lines = (line for block in blocks(README) for line in block.text.splitlines())
    line = next(line for line in lines if line.startswith("docker run "))
    return line.split()[2:]


@pytest.fixture(scope="session")
def running(either: str, readme_command: list[str]) -> Iterator[Running]:
    """The README's container, with nothing that it does not need: no capability, no writable root, no way out."""
    with run(either, readme_command) as container:
        yield container
