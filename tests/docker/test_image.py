"""The images, really run: as the README says, with everything taken away that a container can do without."""

import json
import subprocess
import sys
import time
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.markers import Marker

from model.images import decode
from model.registry import open_registry
from model.segmenter import Segmenter
from tests.docker.engine import PATIENCE_S, Running, docker, locked_up, run, wait_until_ready
from tests.documents import free_port
from tests.photographs import EXAMPLE, REPOSITORY
from tests.service.listening import begin_request

PROBE_S = 5  # for which a connection is tried
GRACE_S = 30  # as compose.yaml has it; then Docker kills, and the exit code is another one
ENVIRONMENT = {
    "python_full_version": "3.13.0", "python_version": "3.13", "sys_platform": "linux", "platform_machine": "x86_64",
    "implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix",
    "platform_system": "Linux",
}  # fmt: skip


def segment(container: Running) -> dict:
    request = urllib.request.Request(
        f"{container.address}/v1/segmentations?masks=none", EXAMPLE.read_bytes(), {"content-type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize(("quota", "expected"), [("0.5", 1), ("1.5", 2)])
def test_it_sees_how_much_of_the_cores_it_may_use(image: str, quota: str, expected: int):
    said = docker("run", "--rm", "--cpus", quota, image, "doctor")
    assert f" {expected} cores to use" in said


@pytest.mark.timeout(600)
def test_a_photograph_gets_the_answer_that_it_gets_here(running: Running):
    (here,) = Segmenter(open_registry("bundled").open("production")).segment([decode(EXAMPLE.read_bytes()).pixels])
    there = segment(running)
    assert there["gradable"]
    assert there["cup_to_disc_ratio"]["vertical"] == pytest.approx(here.ratios.vertical, abs=0.01)
    assert there["version"]["engine"] == "openvino"


def test_it_runs_as_nobody_who_may_do_nothing(running: Running):
    status = dict(line.split(":\t", 1) for line in running.shell("cat /proc/1/status").stdout.splitlines())
    assert set(status["Uid"].split()) == {"10001"}
    assert set(status["Gid"].split()) == {"10001"}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_it_writes_nowhere_but_into_memory(running: Running):
    for folder in ("/", "/opt/cupdisc", "/var/tmp", "/home"):
        assert "Read-only file system" in running.shell(f"touch {folder}/x").stderr
    assert running.shell("touch /tmp/x && rm /tmp/x").returncode == 0
    assert running.shell("stat -f -c %T /tmp").stdout.strip() == "tmpfs"


def test_it_has_no_way_out(running: Running):
    little_endian = "".join(f"{int(part):02X}" for part in reversed(running.way_out.split(".")))
    routes = [line.split() for line in running.shell("cat /proc/net/route").stdout.splitlines()[1:]]
    assert [gateway for _, _, gateway, *_ in routes if gateway != "00000000"] == [little_endian]


def test_it_reaches_no_other_container_and_finds_no_name(running: Running):
    neighbour = docker("run", "--detach", "--rm", "--entrypoint", "python", running.image, "-m", "http.server", "8000")
    try:
        (network,) = json.loads(docker("inspect", neighbour))[0]["NetworkSettings"]["Networks"].values()
        connect = f"import socket; socket.create_connection(('{network['IPAddress']}', 8000), timeout={PROBE_S})"
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run([sys.executable, "-c", connect], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "nobody there, so nobody could be reached"
            time.sleep(0.1)
        tried = running.shell(f'python -c "{connect}"')
        assert "TimeoutError" in tried.stderr or "No route to host" in tried.stderr or "unreachable" in tried.stderr
    finally:
        docker("rm", "--force", neighbour, check=False)
    looked_up = running.shell("python -c \"import socket; socket.getaddrinfo('storage.googleapis.com', 443)\"")
    assert "socket.gaierror" in looked_up.stderr


def test_its_own_health_check_finds_it_well(running: Running):
    kind, *command = running.inspect()["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert subprocess.run(["docker", "exec", running.name, *command], check=False).returncode == 0


def test_no_compiler_no_training_code_and_no_installer_are_inside(running: Running):
    assert running.shell("command -v gcc cc c++ clang ld as make cupdisc-train").stdout == ""
    for module in ("training", "tests", "pip", "hatchling"):
        found = running.shell(f"python -c 'import importlib.util as u; print(u.find_spec(\"{module}\"))'")
        assert found.stdout.strip() == "None", module


def test_the_packages_inside_are_those_of_the_lock(running: Running):
    lock = "image.txt" if running.image.endswith(":slim") else "image-tensorflow.txt"
    wanted = {}
    for line in (REPOSITORY / "requirements" / lock).read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            pin, _, marker = line.rstrip(" \\").partition(" ; ")
            if not marker or Marker(marker).evaluate(ENVIRONMENT):
                name, _, version = pin.partition("==")
                wanted[name] = version
    script = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    found = json.loads(running.shell(f"python -c '{script}'").stdout)
    ours = [version for name, version in found if name == "cupdisc"]
    found = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found if name != "cupdisc"}
    assert len(ours) == 1
    assert found == wanted


def test_every_package_inside_finds_the_others_that_it_needs(running: Running):
    """They were installed as the lock has them, without looking; the base image's pip looks now."""
    looked = running.shell("/usr/local/bin/pip --python /opt/cupdisc/bin/python check")
    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_doctor_is_content(running: Running):
    examined = running.shell("COLUMNS=200 cupdisc doctor")
    assert examined.returncode == 0, examined.stdout
    with_tensorflow = not running.image.endswith(":slim")
    (line,) = [line for line in examined.stdout.splitlines() if line.split()[1:2] == ["tensorflow"]]
    assert line.split()[0] == ("good" if with_tensorflow else "absent")


def test_tensorflow_answers_in_the_image_that_has_it(image: str):
    printed = docker("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--env", "COLUMNS=200",
                     "--env", "TF_CPP_MIN_LOG_LEVEL=3", image, "doctor", "--engine", "tensorflow")  # fmt: skip
    assert "by tensorflow" in printed


def test_it_says_who_made_it_and_how_to_stop_it(either: str):
    (found,) = json.loads(docker("image", "inspect", either))
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "CupDisc"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["StopSignal"] == "SIGTERM"


def test_without_keys_it_opens_to_nobody_by_accident(either: str):
    started = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", either], capture_output=True, text=True, check=False
    )
    assert started.returncode == 1
    assert "CUPDISC_OPEN=true" in started.stderr


def test_told_to_stop_it_answers_what_is_under_way_and_ends_cleanly_within_the_grace_period(
    either: str, readme_command: list[str]
):
    with run(either, readme_command) as container:
        segment(container)
        finish, _ = begin_request(int(container.address.rpartition(":")[2]), EXAMPLE.read_bytes())
        started = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(docker, "stop", "--time", str(GRACE_S), container.name)
            time.sleep(1)
            assert container.inspect()["State"]["Running"]  # it waits for the rest
            received = finish()
            stopping.result()
        took = time.monotonic() - started
        state = container.inspect()["State"]
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"gradable":true' in received
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]
    assert took < GRACE_S


@pytest.mark.timeout(600)
def test_on_a_full_disk_the_version_in_the_package_serves(image: str):
    """Its networks take 13 MB: a version from storage does not fit into a tmpfs of 8."""
    name, network, port = (f"cupdisc-test-{free_port()}", f"cupdisc-test-{free_port()}", free_port())
    docker("network", "create", network)
    try:
        storage = docker("run", "--detach", "--rm", "--network", network, "--network-alias", "fake-gcs",
                         f"{image}-fake-gcs")  # fmt: skip
        docker("run", "--detach", "--name", name, "--network", network, "--publish", f"127.0.0.1:{port}:8000",
               *locked_up(tmp="8m"), "--env", "CUPDISC_OPEN=true", "--env", "CUPDISC_REGISTRY=gs://cupdisc/registry",
               "--env", "STORAGE_EMULATOR_HOST=http://fake-gcs:4443", f"{image}:slim")  # fmt: skip
        container = Running(name, f"{image}:slim", f"http://127.0.0.1:{port}", "")
        wait_until_ready(container)
        with urllib.request.urlopen(f"{container.address}/health/ready", timeout=60) as answer:
            assert json.load(answer) == {"status": "degraded", "reasons": ["version_refused"]}
        assert segment(container)["gradable"]
        assert "No space left on device" in container.log()
        assert container.shell("find /tmp -name '.unfinished-*'").stdout == ""  # and nothing stays behind
    finally:
        for made in (name, storage):
            docker("rm", "--force", made, check=False)
        docker("network", "rm", network, check=False)
