"""Tests of `training.publish`: what a registry accepts, on drawn photographs."""

import copy
import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from model.artefact import Artefact
from model.errors import InvalidConfiguration
from model.local_registry import LocalRegistry
from model.unet import build_unet
from tests.trained import FACTS
from tests.training.full_disk import room_for
from training.card import write_card
from training.compare import UnjudgedVersion, WorseVersion
from training.publish import publish_run
from training.run import Trained
from training.whole_file import CannotWrite

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def registry(drawn_version: Artefact, tmp_path_factory: pytest.TempPathFactory) -> LocalRegistry:
    """With the version that was trained on drawn photographs in production."""
    registry = LocalRegistry(tmp_path_factory.mktemp("registry"))
    registry.publish(drawn_version.folder, "production")
    return registry


@pytest.fixture(scope="module")
def untrained(drawn_run: tuple[Path, Trained]) -> Trained:
    """The same run, its segmenter with random weights."""
    _, trained = drawn_run
    return dataclasses.replace(trained, segmenter=build_unet(trained.preset.segmenter.network, "segmenter"))


def test_a_worse_version_is_refused_by_source_and_figure(registry: LocalRegistry, untrained: Trained):
    facts = dataclasses.replace(FACTS, version="2026.1.2")
    with pytest.raises(WorseVersion, match=r"(?s)worse than 2026\.1\.1.*crops: disc Dice.*whole: disc Dice"):
        publish_run(untrained, facts, registry, "production", QUIET)
    assert registry.versions() == ["2026.1.1"]
    assert registry.aliases() == {"production": "2026.1.1"}


def test_a_forced_one_is_published_and_its_card_says_so(registry: LocalRegistry, untrained: Trained):
    facts = dataclasses.replace(FACTS, version="2026.1.3")
    published = publish_run(untrained, facts, registry, "candidate", QUIET, force=True)
    assert registry.aliases() == {"candidate": "2026.1.3", "production": "2026.1.1"}
    rows = published.manifest.training["comparison"]["rows"]
    assert "conventions.npz" not in published.manifest.files  # its biases are all 0, and not told apart
    (whole,) = [row for row in rows if (row["source"], row["figure"]) == ("whole", "disc Dice")]
    assert whole["photographs"] == 6
    assert whole["gain"] == pytest.approx(whole["new"] - whole["old"], abs=2e-4)
    card = (published.folder / "card.md").read_text(encoding="utf-8")
    assert f"| whole | disc Dice | 6 | {whole['old']:.3f} | {whole['new']:.3f} | {whole['gain']:+.3f} (" in card


def test_a_network_that_production_has_too_is_copied(registry: LocalRegistry, untrained: Trained):
    """Also where nobody knows the version that the run says it kept it from."""
    facts = dataclasses.replace(FACTS, version="2026.1.4")
    elsewhere = {"name": "2025.12.1", "digest": "0" * 64, "kept": "locator"}
    run = dataclasses.replace(untrained, origin=elsewhere)
    published = publish_run(run, facts, registry, None, QUIET, force=True).manifest.files
    production = registry.open("2026.1.1").manifest.files
    for network, same in (("locator", True), ("segmenter", False)):
        weights = f"{network}/variables/variables.data-00000-of-00001"
        assert (published[weights] == production[weights]) is same


def test_a_kept_segmenter_without_its_conventions_is_refused(registry: LocalRegistry, untrained: Trained):
    origin = {"name": "2025.12.1", "digest": "0" * 64, "kept": "segmenter", "conventions": "crops, whole"}
    run = dataclasses.replace(untrained, origin=origin, conventions={}, shifts={})
    facts = dataclasses.replace(FACTS, version="2026.1.9")
    with pytest.raises(InvalidConfiguration, match=r"kept from 2025\.12\.1, whose conventions are neither in this"):
        publish_run(run, facts, registry, None, QUIET, force=True)


def without_held_out(trained: Trained, *sources: str) -> Trained:
    """The same run as if nothing of these sources had been held out."""
    changed = {name: dataclasses.replace(trained.splits[name], held_out=()) for name in sources}
    return dataclasses.replace(trained, splits={**trained.splits, **changed})


def test_a_version_that_nothing_judges_is_refused(registry: LocalRegistry, untrained: Trained):
    before, facts = registry.versions(), dataclasses.replace(FACTS, version="2026.1.5")
    with pytest.raises(UnjudgedVersion, match=r"held out no photographs of crops, whole, so.*worse than 2026\.1\.1;"):
        publish_run(without_held_out(untrained, "whole", "crops"), facts, registry, "production", QUIET)
    assert registry.versions() == before


def test_a_source_that_production_was_judged_on_may_not_be_missing(registry: LocalRegistry, untrained: Trained):
    before, facts = registry.versions(), dataclasses.replace(FACTS, version="2026.1.6")
    kept = tuple(source for source in untrained.preset.sources if source.name != "crops")
    splits = {name: split for name, split in untrained.splits.items() if name != "crops"}
    other = dataclasses.replace(untrained, preset=dataclasses.replace(untrained.preset, sources=kept), splits=splits)
    with pytest.raises(UnjudgedVersion, match=r"held out no photographs of crops, so.*worse than 2026\.1\.1 there;"):
        publish_run(other, facts, registry, "production", QUIET)
    assert registry.versions() == before


def test_a_forced_one_tells_where_it_was_not_compared(registry: LocalRegistry, untrained: Trained):
    facts = dataclasses.replace(FACTS, version="2026.1.7")
    published = publish_run(without_held_out(untrained, "crops"), facts, registry, None, QUIET, force=True)
    comparison = published.manifest.training["comparison"]
    assert comparison["not_compared"] == ["crops"]
    assert {row["source"] for row in comparison["rows"]} == {"whole"}
    card = (published.folder / "card.md").read_text(encoding="utf-8")
    assert "2026.1.1, which was in production, was judged on crops. This version was not:" in card


def test_a_first_version_may_be_judged_by_nothing_and_says_so(untrained: Trained, tmp_path: Path):
    registry, told = LocalRegistry(tmp_path / "registry"), Console(record=True, quiet=True)
    unjudged = without_held_out(untrained, "whole", "crops")
    published = publish_run(unjudged, FACTS, registry, "production", told)
    assert registry.aliases() == {"production": "2026.1.1"}
    assert published.manifest.metrics == []
    card = (published.folder / "card.md").read_text(encoding="utf-8")
    assert "No photograph was held out: nothing tells how good this version is." in card
    assert "its ratios have no" in card


def test_a_full_disk_is_told_and_nothing_is_published(registry: LocalRegistry, untrained: Trained):
    before = registry.versions()
    with room_for(1000), pytest.raises(CannotWrite, match="locator"):
        publish_run(untrained, dataclasses.replace(FACTS, version="2026.1.4"), registry, "production", QUIET)
    assert registry.versions() == before


def test_a_published_report_holds_no_photograph(drawn_version: Artefact):
    report = (drawn_version.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in report
    assert "<img" not in report


def test_the_card_passes_on_the_terms_of_its_own_sources_alone(drawn_version: Artefact):
    card = (drawn_version.folder / "card.md").read_text(encoding="utf-8")
    assert "It is not a medical device" in card
    assert "research and education only" not in card
    assert "| whole | 20 | 20 | 6 | 0 | drawn |" in card
    assert "| crops | 12 | 12 | 3 | 0 | not told |" in card


def test_a_source_that_nobody_described_has_no_population_in_the_card(drawn_version: Artefact):
    assert "| whole | not told | not told |" in (drawn_version.folder / "card.md").read_text(encoding="utf-8")


def test_the_card_tells_which_weights_others_had_learnt(drawn_version: Artefact):
    manifest = drawn_version.manifest
    assert "ImageNet" not in write_card(manifest)
    preset = copy.deepcopy(manifest.training["preset"])
    preset["segmenter"]["network"]["encoder"] = "efficientnet_lite0"
    preset["segmenter"] |= {"encoder_weights": "imagenet", "frozen_levels": 2}
    card = write_card(dataclasses.replace(manifest, training={**manifest.training, "preset": preset}))
    assert "The segmenter's encoder is that of EfficientNet-Lite0" in card
    assert "its first 2 levels keep them" in card
    preset["segmenter"]["encoder_weights"] = "random"
    card = write_card(dataclasses.replace(manifest, training={**manifest.training, "preset": preset}))
    assert "EfficientNet-Lite0" in card
    assert "ImageNet" not in card
