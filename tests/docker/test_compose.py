"""The three services of compose.yaml, really brought up: versions come from storage, figures go to Prometheus."""

import dataclasses
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from model import artefact
from model.local_registry import LocalRegistry
from model.registry import open_registry
from tests.docker.engine import PATIENCE_S, docker
from tests.documents import free_port
from tests.photographs import EXAMPLE, REPOSITORY

COMPOSE = REPOSITORY / "docker" / "compose.yaml"
NEWER = "2099.1.1"  # in no package


def compose_command() -> list[str] | None:
    """The plug-in, or the older program of its own."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@dataclasses.dataclass(frozen=True)
class Project:
    """Three services, up."""

    name: str
    image: str  # of the service
    ports: dict[str, int]  # where each answers on this machine

    def versions(self, *arguments: str, mounted: Path) -> str:
        """`cupdisc versions …` about the bucket, in the services' network, where the folder is /mounted."""
        return docker("run", "--rm", "--network", f"{self.name}_default", "--volume", f"{mounted}:/mounted:ro",
                      "--env", "STORAGE_EMULATOR_HOST=http://fake-gcs:4443", "--env", "CUPDISC_REGISTRY=gs://cupdisc/registry",
                      self.image, "versions", *arguments)  # fmt: skip

    def version(self) -> str:
        """The one that answers."""
        url = f"http://127.0.0.1:{self.ports['cupdisc']}/v1/segmentations?masks=none"
        request = urllib.request.Request(url, EXAMPLE.read_bytes(), {"content-type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["version"]["version"])

    def health(self) -> Any:
        return json.loads(get(self.ports["cupdisc"], "/health/ready"))


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """compose.yaml brought up; its images have been built."""
    command = compose_command()
    if command is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    described = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    found = {}
    for each, service in described["services"].items():
        found[each] = free_port()
        service["ports"] = [f"127.0.0.1:{found[each]}:{service['ports'][0].rpartition(':')[2]}"]
        service["image"] = service["image"].replace("cupdisc", image, 1)
        del service["build"]
    name = f"cupdisc-test-{free_port()}"
    path: Path = tmp_path_factory.mktemp("compose") / "compose.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    command += ["--project-name", name, "--file", str(path)]
    try:
        up = subprocess.run([*command, "up", "--detach", "--no-build"], capture_output=True, text=True, check=False)
        logs = subprocess.run([*command, "logs", "--no-color"], capture_output=True, text=True, check=False).stdout
        assert up.returncode == 0, up.stderr + logs
        yield Project(name, f"{image}:slim", found)
    finally:
        subprocess.run([*command, "down", "--volumes"], capture_output=True, check=False)


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read()


def ask(port: int, query: str) -> list[Any]:
    """What Prometheus has by a query now."""
    return json.loads(get(port, f"/api/v1/query?query={urllib.parse.quote(query)}"))["data"]["result"]


def eventually(seen: Callable[[], Any]) -> Any:
    """The first truth that `seen` finds."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.5)
    raise AssertionError("not seen in time")


@pytest.mark.timeout(600)
def test_the_service_takes_a_version_from_storage_and_goes_back(project: Project, tmp_path: Path):
    """The package has the version that is stored first, so a second one shows where versions come from."""
    assert project.health() == {"status": "ok"}
    before = project.version()
    bundled = open_registry("bundled").open("production")
    staged = shutil.copytree(bundled.folder, tmp_path / NEWER)
    artefact.write(staged, dataclasses.replace(bundled.manifest, version=NEWER))
    LocalRegistry(tmp_path / "registry").publish(staged)
    (tmp_path / "registry").chmod(0o755)

    command = ["copy", NEWER, "--from", "/mounted", "--alias", "production"]
    project.versions(*command, mounted=tmp_path / "registry")
    assert eventually(lambda: project.version() == NEWER)
    assert project.health() == {"status": "ok"}
    project.versions("rollback", mounted=tmp_path / "registry")
    assert eventually(lambda: project.version() == before)
    assert project.health() == {"status": "ok"}


def test_prometheus_collects_the_services_figures(project: Project):
    assert eventually(
        lambda: ask(project.ports["prometheus"], 'cupdisc_requests_total{route="/health/ready",status="200"}')
    )


def test_prometheus_understands_the_query_that_the_autoscaler_depends_on(project: Project):
    rule = yaml.safe_load((REPOSITORY / "docker" / "prometheus-adapter-values.yaml").read_text(encoding="utf-8"))
    query: str = rule["rules"]["custom"][0]["metricsQuery"]
    filled_in = {"<<.Series>>": "cupdisc_queue_length", "<<.LabelMatchers>>": 'job="cupdisc"', "<<.GroupBy>>": "job"}
    for place, value in filled_in.items():
        query = query.replace(place, value)

    (one,) = eventually(lambda: ask(project.ports["prometheus"], query))
    assert one["metric"] == {"job": "cupdisc"}


def test_prometheus_accepts_the_job_for_a_cluster(image: str):
    job = str(REPOSITORY / "docker" / "prometheus-kubernetes.yml")
    docker("run", "--rm", "--network", "none", "--entrypoint", "promtool", "--volume", f"{job}:/job.yml:ro",
           f"{image}-prometheus", "check", "config", "--syntax-only", "/job.yml")  # fmt: skip
