"""Docker by its command: what it prints, and one container that is locked up and always removed."""

import contextlib
import itertools
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.documents import free_port

PATIENCE_S = 240
SUBNETS = itertools.count(1)  # of 10.211.0.0/16, each for one network


def locked_up(tmp: str = "256m") -> list[str]:
    """Arguments of `docker run`: nothing can be written but so much under /tmp, and nothing is permitted."""
    limited = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    return ["--read-only", "--tmpfs", f"/tmp:size={tmp}", *limited]


@dataclass(frozen=True)
class Running:
    """One container and where it answers on this machine."""

    name: str
    image: str
    address: str
    way_out: str  # the address that its default route leads to

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script inside, as the container's own user."""
        return subprocess.run(
            ["docker", "exec", self.name, "sh", "-c", script], capture_output=True, text=True, check=False
        )

    def log(self) -> str:
        said = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return said.stdout + said.stderr

    def inspect(self) -> Any:
        return json.loads(docker("inspect", self.name))[0]


def docker(*arguments: str, check: bool = True) -> str:
    """What the command prints.

    Raises:
        AssertionError: it failed.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def closed_network() -> Iterator[tuple[str, str]]:
    """A network whose containers answer this machine and reach nobody: their way out leads to an address without owner.

    Yields its name and that address.
    """
    name, subnet = f"cupdisc-test-{free_port()}", f"10.211.{next(SUBNETS)}"
    nobody = f"{subnet}.2"
    docker("network", "create", "--subnet", f"{subnet}.0/24", "--gateway", f"{subnet}.1",
           "--aux-address", f"DefaultGatewayIPv4={nobody}", name)  # fmt: skip
    try:
        yield name, nobody
    finally:
        docker("network", "rm", name, check=False)


@contextlib.contextmanager
def run(image: str, command: list[str]) -> Iterator[Running]:
    """A container by the arguments of a `docker run`, but for another image and on a free port, when it is ready."""
    port, name = free_port(), f"cupdisc-test-{free_port()}"
    given = [part.replace("8000:8000", f"127.0.0.1:{port}:8000") for part in command if part != "--rm"]
    assert given.pop() == "cupdisc", "the command ends with the image's name"
    with closed_network() as (network, nobody):
        docker("run", "--detach", "--name", name, "--network", network, *locked_up(), *given, image)
        try:
            container = Running(name, image, f"http://127.0.0.1:{port}", nobody)
            wait_until_ready(container)
            yield container
        finally:
            docker("rm", "--force", name, check=False)


def wait_until_ready(container: Running) -> None:
    """Raises AssertionError with the container's log where it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and container.inspect()["State"]["Running"]:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{container.address}/health/ready", timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"not ready:\n{container.log()}")
