"""The files that say how the images are made and run: valid for who reads them, and about this service."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.observability import Metrics
from service.settings import Settings
from tests.photographs import REPOSITORY

DOCKER = REPOSITORY / "docker"
KUBERNETES = sorted((DOCKER / "kubernetes").glob("*.yaml"))
DOCKERFILES = [REPOSITORY / "Dockerfile", *sorted(DOCKER.glob("*.Dockerfile"))]
REQUIREMENTS = sorted((REPOSITORY / "requirements").glob("*.txt"))


def read(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def pod_of(path: Path) -> Any:
    return read(path)["spec"]["template"]["spec"]


DEPLOYMENT, CLOUD_RUN = DOCKER / "kubernetes" / "deployment.yaml", DOCKER / "cloud-run.yaml"
PODS = pytest.mark.parametrize("pod", [pod_of(DEPLOYMENT), pod_of(CLOUD_RUN)], ids=["kubernetes", "cloud-run"])


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_kubernetes_accepts_every_field(path: Path):
    for version in ("1.34", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(read(path), version, strict=True)


def test_a_misspelt_field_is_noticed():
    manifest = read(DEPLOYMENT)
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_cloud_run_has_only_fields_of_its_schema():
    schema = json.loads((DOCKER / "cloud-run.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    manifest = read(CLOUD_RUN)
    jsonschema.validate(manifest, schema)
    manifest["spec"]["template"]["spec"]["containerConcurency"] = 8
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)


def test_cloud_run_sends_an_instance_as_many_requests_as_were_measured_to_keep_it_busy():
    newest = max((REPOSITORY / "benchmarks" / "results").glob("*-concurrency.md"))
    (wanted,) = re.findall(r"60 % of \*\*(\d+)\*\* keep it busy", newest.read_text(encoding="utf-8"))
    assert pod_of(CLOUD_RUN)["containerConcurrency"] == int(wanted)
    assert newest.relative_to(REPOSITORY).as_posix() in CLOUD_RUN.read_text(encoding="utf-8")


@PODS
def test_a_pod_is_started_and_asked_as_this_service_is(pod: dict[str, Any]):
    (container,) = pod["containers"]
    (port,) = container["ports"]
    assert container["args"] == ["serve", "--host", "0.0.0.0", "--port", str(port["containerPort"])]
    paths = create_app(Settings(registry=str(REPOSITORY / "nowhere"))).openapi()["paths"]
    probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
    assert {"startupProbe", "livenessProbe"} <= set(probes)
    for probe in probes.values():
        assert probe["httpGet"]["path"] in paths
        assert probe["httpGet"]["port"] in (port["containerPort"], port["name"])
    assert probes["livenessProbe"]["httpGet"]["path"] == "/health/live"  # storage that is down must restart nobody


@PODS
def test_a_pod_sets_only_settings_that_exist_to_values_that_are_accepted(
    pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    variables = {one["name"]: one.get("value", "2") for one in pod["containers"][0]["env"]}
    assert {"CUPDISC_REGISTRY", "CUPDISC_KEYS"} <= set(variables)
    assert "CUPDISC_OPEN" not in variables
    for name, value in variables.items():
        assert name.removeprefix("CUPDISC_").lower() in Settings.model_fields
        monkeypatch.setenv(name, value)
    keys = Settings().keys
    assert keys is not None
    assert str(keys.parent) in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]


@PODS
def test_what_a_pod_writes_is_memory_and_within_its_limit(pod: dict[str, Any]):
    (container,) = pod["containers"]
    (mount,), (volume,) = (
        [one for one in part if one["name"] == "scratch"] for part in (container["volumeMounts"], pod["volumes"])
    )
    assert mount["mountPath"] == "/tmp"
    assert volume["emptyDir"]["medium"] == "Memory"
    assert mebibytes(volume["emptyDir"]["sizeLimit"]) < mebibytes(container["resources"]["limits"]["memory"]) / 2


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_the_pod_is_as_restricted_as_the_strictest_pod_security_standard_asks():
    pod = pod_of(DEPLOYMENT)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == user_of(REPOSITORY / "Dockerfile")
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC", "automountServiceAccountToken"))


def test_the_manifests_belong_together():
    by_kind = {read(path)["kind"]: read(path) for path in KUBERNETES}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert by_kind["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"]
    identity = by_kind["ServiceAccount"]["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
    assert re.fullmatch(r"cupdisc@PROJECT\.iam\.gserviceaccount\.com", identity)
    assert identity == pod_of(CLOUD_RUN)["serviceAccountName"]  # one account, whichever way it is run
    (port,) = pod["containers"][0]["ports"]
    assert by_kind["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert by_kind["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["containerPort"]
    assert (
        by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == (by_kind["Deployment"]["metadata"]["name"])
    )


def test_the_autoscaler_asks_for_a_metric_that_the_rule_makes_of_one_that_the_service_has():
    (job,) = read(DOCKER / "prometheus-kubernetes.yml")["scrape_configs"]
    (rule,) = read(DOCKER / "prometheus-adapter-values.yaml")["rules"]["custom"]
    (metric,) = read(DOCKER / "kubernetes" / "autoscaler.yaml")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    shown = text_string_to_metric_families(Metrics().render().decode())
    gauges = {family.name for family in shown if family.type == "gauge"}
    assert re.match(r"\w+", rule["seriesQuery"])[0] in gauges
    made = {one["target_label"] for one in job["relabel_configs"] if "target_label" in one}
    assert made == set(rule["resources"]["overrides"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_made_of_hashed_wheels_and_run_as_a_number(path: Path):
    text = path.read_text(encoding="utf-8")
    for command in re.split(r"\n| && ", text.replace("\\\n", " ")):
        if re.search(r"\bpip .*\binstall ", command):
            assert "--no-deps --require-hashes --only-binary :all:" in command or "--no-index" in command, command
    if path.name != "sbom.Dockerfile":  # which answers nobody
        assert user_of(path) >= 10000
    assert not re.search(r"<<|--mount|--link|--chmod", text), "needs BuildKit"


def user_of(path: Path) -> int:
    """The user that a Dockerfile's last stage runs as."""
    return int(re.findall(r"^USER (\d+):\d+$", path.read_text(encoding="utf-8"), re.MULTILINE)[-1])


@pytest.mark.parametrize("path", [*DOCKERFILES, *DOCKER.rglob("*.y*ml"), *REQUIREMENTS], ids=lambda path: path.name)
def test_no_file_says_where_packages_or_images_come_from(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"index-url|pypi\.org|docker\.io|ghcr\.io|debian\.org", text)


def test_every_image_has_the_versions_of_development():
    def pins(path: Path) -> set[tuple[str, ...]]:
        found = re.findall(r"^([\w.\[\]-]+)==([^\s\\]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        return {(name, version) for name, version in found}

    dev = pins(REPOSITORY / "requirements" / "dev.txt")
    used = set(re.findall(r"\brequirements/\S+\.txt", " ".join(path.read_text() for path in DOCKERFILES)))
    locks = {Path(name).stem: pins(REPOSITORY / name) for name in (*used, "requirements/service.txt")}
    assert {"image", "image-tensorflow", "training", "build", "sbom", "fake-gcs"} < set(locks)
    for name, versions in locks.items():
        if name == "bulk":
            new = {package for package, _ in versions} - {package for package, _ in dev}
            held_back = {package for package, _ in versions - dev} - new
            assert held_back == {"pillow", "protobuf", "pyarrow", "python-dateutil"}, "by Apache Beam, and no others"
        else:
            assert versions <= dev, name
    names = {lock: {name for name, _ in versions} for lock, versions in locks.items()}
    assert names["service"] < names["image"] < names["image-tensorflow"] < names["training"]
    assert not {"keras", "tensorflow", "tensorflow-cpu", "scipy"} & names["image"]


def test_images_and_development_both_have_a_python_that_the_pins_are_for():
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert wanted == ">=3.11,<3.14"
    for path in DOCKERFILES:
        base = re.findall(r"^ARG BASE=(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert base == ["python:3.13-slim-trixie"] or path.name == "sbom.Dockerfile"


def test_compose_runs_what_is_built_here_locked_down_and_for_this_machine_alone():
    services = read(DOCKER / "compose.yaml")["services"]
    for service in services.values():
        build = service["build"]
        assert (DOCKER / build["context"] / build.get("dockerfile", "Dockerfile")).is_file()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    scraped = read(DOCKER / "prometheus.yml")["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["cupdisc:8000"]
