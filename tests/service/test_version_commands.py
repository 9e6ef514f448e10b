"""`cupdisc versions …`: what a platform engineer does to a registry, in a folder and on Cloud Storage alike."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model import signature
from model.registry import Registry, open_registry
from service.cli import app
from tests.model.test_signature import write_keys
from tests.storage import Fault, FaultyProxy, Objects
from tests.versions import stage

FIRST, SECOND, THIRD = "2026.1.1", "2026.2.1", "2026.3.1"


@pytest.fixture(params=["folder", "bucket"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """With FIRST in production and SECOND; it is the one of the settings."""
    location = str(tmp_path / "registry")
    if request.param == "bucket":
        objects: Objects = request.getfixturevalue("objects")
        location = f"gs://{objects.bucket}/models"
    monkeypatch.setenv("CUPDISC_REGISTRY", location)
    monkeypatch.setenv("CUPDISC_CACHE", str(tmp_path / "cache"))
    found = open_registry(location, tmp_path / "copies")
    found.publish(stage(tmp_path / FIRST, FIRST).folder, alias="production")
    found.publish(stage(tmp_path / SECOND, SECOND).folder)
    return found


def run(*arguments: Any, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, ["versions", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_rolling_out_and_back(registry: Registry) -> None:
    assert run("alias", "production", SECOND) == f"production: {FIRST} → {SECOND}\n"
    assert registry.aliases() == {"production": SECOND}
    assert run("rollback") == f"production: {SECOND} → {FIRST}\n"
    assert run("alias", "candidate", SECOND) == f"candidate: nothing → {SECOND}\n"
    assert run("alias", "production", "candidate") == f"production: {FIRST} → {SECOND}\n"
    assert run("unalias", "candidate") == f"candidate: {SECOND} → nothing\n"
    assert registry.aliases() == {"production": SECOND}


def test_what_would_surprise_somebody_is_refused(registry: Registry) -> None:
    assert FIRST in run("alias", "production", SECOND, "--expected", SECOND, code=1)
    assert FIRST in run("rollback", "--expected", SECOND, code=1)
    assert "always" in run("rollback", code=1)
    assert "production" in run("delete", FIRST, code=1)
    assert "2030.1.1" in run("alias", "production", "2030.1.1", code=1)
    assert "previous" in run("alias", "previous", FIRST, code=1)
    assert "behind" in run("--registry", "elsewhere", "alias", "production", SECOND, code=2)
    assert registry.aliases() == {"production": FIRST}


def test_a_list_and_what_is_left_of_it(registry: Registry) -> None:
    listed = [line.split() for line in run().splitlines()]
    assert [line[:2] for line in listed] == [["version", "aliases"], [SECOND, listed[1][1]], [FIRST, "production"]]
    assert run("--verify").count("good") == 2
    run("delete", SECOND)
    assert SECOND not in run()
    assert registry.versions() == [FIRST]


def test_a_version_travels_with_its_signature(registry: Registry, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "own")
    elsewhere = tmp_path / "elsewhere"
    run("copy", FIRST, "--from", registry, "--registry", elsewhere, "--alias", "production", "--key", private)
    run("sign", SECOND, "--key", private)
    there = open_registry(str(elsewhere))
    assert there.aliases() == {"production": FIRST}
    signature.verify(there.open(FIRST), there.signature(FIRST), public)
    signature.verify(registry.open(SECOND), registry.signature(SECOND), public)
    there.publish(stage(tmp_path / THIRD, THIRD).folder)
    run("copy", THIRD, "--from", elsewhere)
    assert registry.signature(THIRD) is None
    assert "published already" in run("copy", THIRD, "--from", elsewhere, code=1)


def test_the_version_in_the_package_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPDISC_REGISTRY", raising=False)
    for command in (["alias", "production", FIRST], ["rollback"], ["unalias", "production"], ["delete", "2026.11.1"]):
        assert "stays as it is" in run(*command, code=1)


def test_a_storage_that_is_away_is_named(
    objects: Objects, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUPDISC_REGISTRY", f"gs://{objects.bucket}/models")
    monkeypatch.setenv("CUPDISC_STORAGE_PATIENCE_S", "0.5")
    monkeypatch.setenv("CUPDISC_CACHE", str(tmp_path))
    proxy.set(Fault("", "status", 503))
    assert f"gs://{objects.bucket}" in run(code=1)
    proxy.set()
    objects.write(f"models/disc-cup/{FIRST}/card.md", b"# Card\n")
    assert "broken off" in run()
    run("delete", FIRST)
    assert objects.names() == set()
