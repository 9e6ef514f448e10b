"""Tests of `cupdisc-train recalibrate`: the same networks, other numbers around them."""

import shutil
import sys
from pathlib import Path

import pytest

from model.artefact import Artefact
from model.local_registry import LocalRegistry
from tests.training.results import several
from training import cli
from training.evaluate import write_csv
from training.run import Trained


@pytest.fixture
def registry(drawn_version: Artefact, tmp_path: Path) -> LocalRegistry:
    """One with the drawn version alone, in production."""
    folder = tmp_path / "registry"
    shutil.copytree(drawn_version.folder.parents[1], folder)
    return LocalRegistry(folder)


def recalibrate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit status."""
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", "recalibrate", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_more_evidence_makes_another_version_of_the_same_networks(
    drawn_run: tuple[Path, Trained],
    drawn_version: Artefact,
    registry: LocalRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_csv(several("elsewhere", [0.41] * 9, distance=7.0, disc_confidence=0.05), tmp_path / "left_out.csv")
    data = str(drawn_run[0] / "data")
    options = ("--registry", str(registry), "--data", data, "--left-out", str(tmp_path / "left_out.csv"))
    assert recalibrate(monkeypatch, "production", *options, "--alias", "next") == 0
    aliases = registry.aliases()
    assert aliases["production"] == drawn_version.manifest.version
    made = registry.open("next")
    before, now = drawn_version.manifest, made.manifest
    assert now.version != before.version
    for network in ("locator", "segmenter"):
        own = {name: sha256 for name, sha256 in now.files.items() if name.startswith(f"{network}/")}
        assert own == {name: sha256 for name, sha256 in before.files.items() if name.startswith(f"{network}/")} != {}
    assert now.thresholds["disc"] == before.thresholds["disc"]
    assert now.thresholds["distance"] == 7.0
    assert now.thresholds["disc_confidence"] == 0.05
    assert 0 <= now.thresholds["locator_confidence"] < 1
    assert now.calibration["vertical_half_width"] == pytest.approx(0.41)
    assert now.training["recalibrated"]["sha256"] == drawn_version.digest
    assert {row["source"] for row in now.metrics if row["how"] == "left out of another run"} == {"elsewhere"}
    earlier, later = ([row["disc_dice"] for row in each.metrics if row["how"] == "held out"] for each in (before, now))
    assert earlier == later != []
    card = (made.folder / "card.md").read_text(encoding="utf-8")
    assert f"The networks are those of version {before.version}" in card


def test_the_evidence_that_a_version_was_given_stays_but_for_sources_told_of_anew(
    drawn_run: tuple[Path, Trained], registry: LocalRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--registry", str(registry), "--data", str(drawn_run[0] / "data"))
    for name, errors in (("first", {"north": 0.41, "south": 0.3}), ("second", {"north": 0.2})):
        rows = [each for source, error in errors.items() for each in several(source, [error] * 9)]
        write_csv(rows, tmp_path / f"{name}.csv")
    first, second = (("--left-out", str(tmp_path / f"{name}.csv")) for name in ("first", "second"))
    assert recalibrate(monkeypatch, "production", *options, *first, "--alias", "next") == 0
    assert recalibrate(monkeypatch, "next", *options, "--alias", "next") == 0
    assert registry.open("next").manifest.calibration["vertical_half_width"] == pytest.approx(0.41)
    assert recalibrate(monkeypatch, "next", *options, *second, "--alias", "next") == 0
    assert registry.open("next").manifest.calibration["vertical_half_width"] == pytest.approx(0.3)  # of the south


def test_other_photographs_than_those_of_its_training_are_refused(
    drawn_run: tuple[Path, Trained],
    registry: LocalRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn_run[0] / "data", data)
    index = data / "crops" / "index.csv"
    index.write_text("\n".join(index.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    assert recalibrate(monkeypatch, "production", "--registry", str(registry), "--data", str(data)) == 1
    assert "crops changed" in " ".join(capsys.readouterr().err.split())
    assert registry.aliases() == {"production": "2026.1.1"}
    assert len(list(registry.versions())) == 1
