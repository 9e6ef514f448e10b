"""Runs that must not begin, each with a reason that a person can act on; none of it needs Apache Beam."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.errors import CorruptVersion, VersionNotFound
from service.archive import runners
from service.archive.pinned import Pinned
from service.cli import app
from service.settings import Settings
from tests.service.conftest import EYE
from tests.storage import Fault, FaultyProxy, Objects

DIRECT = ("DirectRunner", "direct", "directrunner", "SwitchingDirectRunner", "apache_beam.runners.DirectRunner")


@pytest.fixture
def eyes(tmp_path: Path) -> Path:
    folder = tmp_path / "eyes"
    folder.mkdir()
    (folder / "eye.jpg").write_bytes(EYE)
    return folder


def refusal(*arguments: object, code: int = 1) -> str:
    """What `cupdisc bulk` says where it does not begin."""
    result = CliRunner().invoke(app, ["bulk", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("fits_nothing", ["*.png", "none/**", "[ab].jpg"])
def test_a_pattern_that_fits_nothing(eyes: Path, tmp_path: Path, fits_nothing: str):
    assert f"no photograph fits {eyes}/{fits_nothing}" in refusal(f"{eyes}/{fits_nothing}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_list_that_names_nothing(tmp_path: Path):
    (tmp_path / "list.csv").write_text("file\n")
    assert "names no photograph" in refusal("--list", tmp_path / "list.csv", tmp_path / "out")
    assert "neither a pattern nor a list" in refusal(tmp_path / "out")


def test_no_permission(eyes: Path, objects: Objects, proxy: FaultyProxy, published: Path):
    proxy.set(Fault("GET|POST", "status", 403))
    assert "not allowed" in refusal(f"gs://{objects.bucket}/**", f"gs://{objects.bucket}/out")
    (eyes / "file").write_bytes(b"")
    assert "Not a directory" in refusal(eyes / "eye.jpg", eyes / "file" / "out", "--registry", published)


def test_a_folder_that_holds_something_else(eyes: Path, tmp_path: Path, published: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    told = refusal(eyes, tmp_path / "out", "--registry", published)
    assert "is not empty and holds no results of ours: thesis.tex" in told
    assert "thesis.tex" in refusal(eyes, tmp_path / "out", "--registry", published, "--overwrite")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_results_that_were_made_otherwise(eyes: Path, tmp_path: Path, published: Path):
    made_with = tmp_path / "out" / "made_with.json"
    made_with.parent.mkdir()
    made_with.write_text(json.dumps({"format": 1, "version": "2026.1.1", "masks": True, "shards": 7}))
    assert "of another release of CupDisc" in refusal(eyes, tmp_path / "out", "--registry", published)
    made_with.write_text(json.dumps({"format": 2, "version": "2026.1.1", "masks": True, "shards": 7}))
    told = refusal(eyes, tmp_path / "out", "--registry", published, "--version", "2026.2.1")
    assert "version 2026.1.1, now 2026.2.1" in told
    assert "masks True, now False" in told
    assert "convention None, now narrow" in told
    assert "shards" not in told  # they stay as they were where nobody asks for others


@pytest.mark.parametrize(
    ("options", "told"),
    [
        *((["--runner", name], "is Prism in this version") for name in DIRECT),
        *(
            (["--runner", name], "a program that Beam would download")
            for name in ("PrismRunner", "prism", "PRISMRUNNER")
        ),
        (["--runner", "PrismRunner", "--", "--prism_location="], "a program that Beam would download"),
        (["--", "--region=x", "europe"], "not europe"),
    ],
)
def test_runners_that_would_fetch_a_program_and_options_that_are_none(
    eyes: Path, tmp_path: Path, options: list[str], told: str
):
    assert told in refusal(eyes, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "options", "taken"),
    [
        ("FnApiRunner", [], "FnApiRunner"),
        ("fnapi", [], "FnApiRunner"),
        ("prism", ["--prism_location=/opt/prism"], "PrismRunner"),
        ("FlinkRunner", ["--flink_master=flink:8081"], "FlinkRunner"),
    ],
)
def test_runners_that_are_let_through(given: str, options: list[str], taken: str):
    assert runners.checked(given, options) == taken


@pytest.mark.parametrize(
    ("runner", "workers", "expected"),
    [
        ("FnApiRunner", 1, 8),
        ("FnApiRunner", 3, 2),
        ("FnApiRunner", 9, 1),
        ("DataflowRunner", 1, 1),
        ("FlinkRunner", 8, 1),
        ("PrismRunner", 8, 0),
    ],
)
def test_processes_of_a_machine_share_its_cores(
    runner: str, workers: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runners, "usable_cores", lambda: 8)
    assert runners.threads(runner, workers) == expected


def test_a_version_that_is_not_there(eyes: Path, tmp_path: Path, published: Path):
    assert "2030.1.1" in refusal(eyes, tmp_path / "out", "--registry", published, "--version", "2030.1.1")


def test_a_worker_takes_no_other_version_than_the_run_began_with(registry: Path):
    pinned = Pinned.of(Settings(registry=str(registry)), 1)
    assert pinned.version == "2026.2.1"
    assert pinned.load().digest == pinned.digest
    with pytest.raises(CorruptVersion, match="not the one"):
        dataclasses.replace(pinned, digest="0" * 64).load()
    shutil.rmtree(registry / "disc-cup" / "2026.2.1")
    with pytest.raises(VersionNotFound):
        pinned.load()


def test_what_a_runner_says_is_told_in_a_line():
    traceback = (
        'RuntimeError: Traceback (most recent call last):\n  File "steps.py", line 1, in process\n'
        "model.errors.StorageUnavailable: gs://eyes/1.jpg: too slow [while running 'ParDo(Read)-ptransform-1']\n"
    )
    assert runners.cause(RuntimeError(traceback)) == "gs://eyes/1.jpg: too slow (storage_unavailable)"
    assert runners.cause(VersionNotFound("no version 1")) == "no version 1"
    assert runners.cause(ValueError("first\nlast\n")) == "last"
    assert "killed" in runners.cause(RuntimeError("Channel closed prematurely."))
