"""How a service starts, what it refuses to serve, and what its documentation promises."""

import dataclasses
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model import artefact
from model.errors import InvalidConfiguration, VersionNotFound
from service.app import create_app
from service.problems import Problem
from service.schemas import MeasurementAnswer, Outlines, SegmentationAnswer, VersionDetail, VersionList
from service.settings import Settings
from tests.service.conftest import EYE

JPEG = {"content-type": "image/jpeg"}
NEWEST, OLDER = "2026.2.1", "2026.1.1"


def damage(registry: Path, version: str, file: str = "segmenter/saved_model.pb") -> None:
    target = registry / "disc-cup" / version / file
    target.write_bytes(target.read_bytes() + b"\0")


def version_that_answers(client: TestClient, **query: str) -> Any:
    answer = client.post("/v1/segmentations", content=EYE, headers=JPEG, params={"masks": "none", **query})
    return answer.json()["version"]["version"] if answer.status_code == 200 else answer.json()["code"]


def test_a_corrupt_version_beside_a_good_one_is_left_out(
    registry: Path, start: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    damage(registry, NEWEST)  # the one in production
    with caplog.at_level(logging.WARNING, "cupdisc"):
        client = start(registry=str(registry))
    assert "segmenter/saved_model.pb" in caplog.text
    assert client.get("/health/ready").status_code == 200
    body = client.get("/v1/versions").json()
    assert [one["version"] for one in body["versions"]] == [OLDER]
    assert body["default"] == OLDER
    assert client.get(f"/v1/versions/{NEWEST}").status_code == 404
    assert version_that_answers(client) == OLDER
    assert version_that_answers(client, version=NEWEST) == "version_not_found"
    assert version_that_answers(client, version="production") == "version_not_found"


def test_a_corrupt_version_that_nobody_asks_for_does_no_harm(registry: Path, start: Callable[..., TestClient]) -> None:
    damage(registry, OLDER, "card.md")
    client = start(registry=str(registry))
    assert version_that_answers(client) == NEWEST
    assert [one["version"] for one in client.get("/v1/versions").json()["versions"]] == [NEWEST]


@pytest.mark.parametrize("state", ["all corrupt", "no versions", "no registry"])
def test_with_none_left_the_service_says_so(registry: Path, start: Callable[..., TestClient], state: str) -> None:
    if state == "all corrupt":
        damage(registry, OLDER)
        damage(registry, NEWEST, "locator/saved_model.pb")
    else:
        shutil.rmtree(registry / "disc-cup" if state == "no versions" else registry)
    client = start(registry=str(registry))
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "no_version_live")
    assert version_that_answers(client) == "no_version_live"
    listed = client.get("/v1/versions").json()
    assert (listed["default"], listed["versions"]) == (None, [])


def test_a_version_that_the_operator_named_wrongly_stops_the_start(published: Path) -> None:
    with pytest.raises(VersionNotFound, match=r"2020\.1\.1"):
        create_app(Settings(registry=str(published), version="2020.1.1"))


def test_limits_that_cannot_work_stop_the_start(published: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="max_pixels"):
        create_app(Settings(registry=str(published), max_photograph_pixels=10**12))


def test_an_older_version_can_be_the_default(start: Callable[..., TestClient]) -> None:
    assert version_that_answers(start(version=OLDER)) == OLDER


def test_a_version_published_later_is_found(registry: Path, start: Callable[..., TestClient]) -> None:
    folder = registry / "disc-cup"
    (folder / OLDER).rename(folder / ".away")
    client = start(registry=str(registry))
    assert version_that_answers(client, version=OLDER) == "version_not_found"
    (folder / ".away").rename(folder / OLDER)
    assert version_that_answers(client, version=OLDER) == OLDER
    assert len(client.get("/v1/versions").json()["versions"]) == 2


def test_only_so_many_versions_stay_loaded(registry: Path, start: Callable[..., TestClient]) -> None:
    third = registry / "disc-cup" / "2026.3.1"
    shutil.copytree(registry / "disc-cup" / OLDER, third)
    artefact.write(third, dataclasses.replace(artefact.read(third).manifest, version="2026.3.1"))
    client = start(registry=str(registry), max_live_versions=2)
    for version in ("2026.3.1", OLDER):
        assert version_that_answers(client, version=version) == version
    loaded = [one["version"] for one in client.get("/v1/versions").json()["versions"] if one["loaded"]]
    assert loaded == [NEWEST, OLDER]  # the default stays


def test_docs_come_from_this_host_alone(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)|url: ["']([^"']+)""", page.text)
    assert links
    for link in (first or second for first, second in links):
        assert link.startswith(("/", "data:"))
        if link.startswith("/"):
            assert client.get(link).status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_every_error_in_the_documentation_has_an_example(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                for media_type, content in response["content"].items():
                    assert content["schema"]
                    assert content["examples"]
                    if media_type == "application/problem+json":
                        for code, example in content["examples"].items():
                            body = Problem.model_validate(example["value"])
                            assert body.code == code
                            assert status in (str(body.status), "default")


@pytest.mark.parametrize(
    ("path", "method", "schema"),
    [
        ("/v1/segmentations", "post", SegmentationAnswer),
        ("/v1/measurements", "post", MeasurementAnswer),
        ("/v1/versions", "get", VersionList),
        ("/v1/versions/{version}", "get", VersionDetail),
    ],
)
def test_worked_examples_fit_their_schemas(client: TestClient, path: str, method: str, schema: Any) -> None:
    operation = client.get("/openapi.json").json()["paths"][path][method]
    for example in operation["responses"]["200"]["content"]["application/json"]["examples"].values():
        schema.model_validate(example["value"])
        assert set(example["value"]) == set(schema.model_fields)


def test_operations_have_names_and_tags_for_generated_clients(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert {"segment", "measure", "list_versions", "get_version", "check_live", "check_ready", "metrics"} <= set(names)
    assert len(names) == len(set(names))
    assert {tag["name"] for tag in document["tags"]} == {tag for operation in operations for tag in operation["tags"]}
    assert all(operation["description"] for operation in operations)
    body = document["paths"]["/v1/measurements"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        Outlines.model_validate(example["value"])


def test_the_documents_references_lead_somewhere(client: TestClient) -> None:
    document = client.get("/openapi.json")
    for name in re.findall(r'"#/components/schemas/(\w+)"', document.text):
        assert name in document.json()["components"]["schemas"]


def test_threads_bound_what_is_done_at_a_time_however_many_cores_the_machine_has(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.usable_cores", lambda: 64)
    state = create_app(Settings(registry=str(published), threads=2)).state
    assert state.workers.total_tokens == 3
    assert state.shared._rules.at_once == 2


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPDISC_MAX_PARALLEL", "3")
    assert Settings().max_parallel == 3
    monkeypatch.setenv("CUPDISC_MAX_PARALLEL", "-1")
    with pytest.raises(ValueError, match="max_parallel"):
        Settings()
