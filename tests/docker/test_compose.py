"""The three services of compose.yaml, really brought up: versions come from storage, figures go to Prometheus."""

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

from tests.docker.engine import PATIENCE_S, docker
from tests.documents import free_port
from tests.photographs import EXAMPLE, REPOSITORY

COMPOSE = REPOSITORY / "docker" / "compose.yaml"


def compose_command() -> list[str] | None:
    """The plug-in, or the older program of its own."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.fixture(scope="module")
def ports(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Where each service of compose.yaml answers; its images have been built."""
    command = compose_command()
    if command is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    described = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    found = {}
    for name, service in described["services"].items():
        found[name] = free_port()
        service["ports"] = [f"127.0.0.1:{found[name]}:{service['ports'][0].rpartition(':')[2]}"]
        service["image"] = service["image"].replace("cupdisc", image, 1)
        del service["build"]
    project = f"cupdisc-test-{free_port()}"
    path: Path = tmp_path_factory.mktemp("compose") / "compose.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    command += ["--project-name", project, "--file", str(path)]
    try:
        up = subprocess.run([*command, "up", "--detach", "--no-build"], capture_output=True, text=True, check=False)
        logs = subprocess.run([*command, "logs", "--no-color"], capture_output=True, text=True, check=False).stdout
        assert up.returncode == 0, up.stderr + logs
        yield found
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
def test_the_service_answers_with_a_version_that_it_took_from_storage(ports: dict[str, int]):
    stored = json.loads(get(ports["fake-gcs"], "/storage/v1/b/cupdisc/o?prefix=registry/disc-cup/"))
    names = [one["name"] for one in stored["items"]]
    url = f"http://127.0.0.1:{ports['cupdisc']}/v1/segmentations?masks=none"
    request = urllib.request.Request(url, EXAMPLE.read_bytes(), {"content-type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        version = json.load(answer)["version"]["version"]
    assert f"registry/disc-cup/{version}/manifest.json" in names


def test_prometheus_collects_the_services_figures(ports: dict[str, int]):
    assert eventually(lambda: ask(ports["prometheus"], 'cupdisc_requests_total{route="/health/ready",status="200"}'))


def test_prometheus_understands_the_query_that_the_autoscaler_depends_on(ports: dict[str, int]):
    rule = yaml.safe_load((REPOSITORY / "docker" / "prometheus-adapter-values.yaml").read_text(encoding="utf-8"))
    query: str = rule["rules"]["custom"][0]["metricsQuery"]
    filled_in = {"<<.Series>>": "cupdisc_queue_length", "<<.LabelMatchers>>": 'job="cupdisc"', "<<.GroupBy>>": "job"}
    for place, value in filled_in.items():
        query = query.replace(place, value)

    (one,) = eventually(lambda: ask(ports["prometheus"], query))
    assert one["metric"] == {"job": "cupdisc"}


def test_prometheus_accepts_the_job_for_a_cluster(image: str):
    job = str(REPOSITORY / "docker" / "prometheus-kubernetes.yml")
    docker("run", "--rm", "--network", "none", "--entrypoint", "promtool", "--volume", f"{job}:/job.yml:ro",
           f"{image}-prometheus", "check", "config", "--syntax-only", "/job.yml")  # fmt: skip
