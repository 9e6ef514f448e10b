"""Tests of `--from`: `training.origin`, `training.restore`, `training.device_engine`."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model import artefact
from model.artefact import Artefact, NetworkEntry
from model.errors import ConventionNotFound, CorruptVersion, InvalidConfiguration
from model.local_registry import LocalRegistry
from model.segmenter import Segmenter
from model.unet import build_unet
from model.unet_config import UNetConfig
from tests.drawn import draw_fundus, write_folder
from tests.trained import small_preset
from tests.training.tiny import write_tiny
from tests.versions import manifest
from training.accelerator import choose
from training.card import _origin as told_origin
from training.cli import main
from training.config import Preset
from training.device_engine import segmenter_on
from training.finish import Facts
from training.origin import continue_preset, keep, read_origin
from training.preset_files import read_preset
from training.publish import same_networks, stage_version
from training.restore import restore_network
from training.run import Trained, train_only, train_run, weights_of
from training.saved_run import load_networks, run_facts, save_run

NEW = """
seed = 9
[[sources]]
name = "another"
held_out = 2
[locator]
steps = 2
learning_rate = 1e-9
[segmenter]
steps = 2
learning_rate = 1e-9
"""


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A run of two steps in `run`, and its version 2026.1.1, alias production, in `registry`."""
    folder = tmp_path_factory.mktemp("tiny-run")
    write_tiny(folder, 2)
    trained = train_run(read_preset(str(folder / "tiny.toml")), folder / "data", folder / "run", Console(quiet=True))
    save_run(trained, folder / "run")
    entries = {}
    for name in ("locator", "segmenter"):
        network, config = getattr(trained, name), getattr(trained.preset, name).network
        artefact.export_network(network, folder / "staged" / name)
        entries[name] = NetworkEntry(config.as_dict(), config.input_size, config.outputs, network.count_params())
    told = {"preset": trained.preset.as_dict(), "seconds": {"locator": 0}}
    artefact.write(folder / "staged", manifest(training=told, **entries))
    LocalRegistry(folder / "registry").publish(folder / "staged", "production")
    return folder, trained


def new_preset(folder: Path, text: str, old: Preset) -> Preset:
    (folder / "new.toml").write_text(text, encoding="utf-8")
    return read_preset(str(folder / "new.toml"), old)


def trainable(network) -> list[np.ndarray]:
    return [np.asarray(v.value) for v in network.trainable_variables]


def test_a_published_version_gives_back_the_weights_that_were_trained(tiny_run: tuple[Path, Trained]):
    folder, trained = tiny_run
    origin = read_origin("production", str(folder / "registry"))
    assert origin.start.name == "2026.1.1"
    for part in ("locator", "segmenter"):
        there, here = getattr(trained, part), origin.start.continued[part]
        for one, other in zip(there.get_weights(), here.get_weights(), strict=True):
            assert (one == other).all()
    assert origin.preset == trained.preset


def test_a_finished_run_can_be_continued_by_its_folder(tiny_run: tuple[Path, Trained]):
    folder, trained = tiny_run
    origin = read_origin(str(folder / "run"), "bundled")
    for one, other in zip(trained.locator.get_weights(), origin.start.continued["locator"].get_weights(), strict=True):
        assert (one == other).all()
    assert origin.preset == trained.preset


def test_networks_of_several_members_are_given_back_whole(tmp_path: Path):
    config = UNetConfig(input_size=32, depth=1, start_channels=3, members=2, stem_stride=2)
    build_unet(config)  # so that the layers' numbers are others than in the network that is restored
    network = build_unet(config)
    artefact.export_network(network, tmp_path / "segmenter")
    restored = restore_network(tmp_path / "segmenter", config, "segmenter")
    for one, other in zip(network.get_weights(), restored.get_weights(), strict=True):
        assert (one == other).all()


def test_weights_of_another_network_are_refused(tmp_path: Path):
    config = UNetConfig(input_size=32, depth=1, start_channels=3)
    artefact.export_network(build_unet(config), tmp_path / "segmenter")
    with pytest.raises(CorruptVersion, match=r"holds no .* of the shape"):
        restore_network(tmp_path / "segmenter", dataclasses.replace(config, start_channels=4), "segmenter")


def test_a_kept_network_stays_as_it_is_and_the_other_begins_anew(tiny_run: tuple[Path, Trained], tmp_path: Path):
    folder, trained = tiny_run
    preset = dataclasses.replace(trained.preset, seed=trained.preset.seed + 1)
    origin = read_origin("production", str(folder / "registry"))
    quiet = Console(quiet=True)
    start = keep(preset, origin, ("segmenter",))
    run = train_run(preset, folder / "data", tmp_path / "run", quiet, start=start)
    alone = train_run(preset, folder / "data", tmp_path / "alone", quiet)
    for one, other in zip(run.segmenter.get_weights(), trained.segmenter.get_weights(), strict=True):
        assert (one == other).all()
    for one, other in zip(run.locator.get_weights(), alone.locator.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert run.origin == {"name": "2026.1.1", "digest": origin.start.digest, "kept": "segmenter"}
    assert list(run.seconds) == ["locator"]
    assert told_origin(run.origin) == [f"The segmenter is that of 2026.1.1 (sha256 {origin.start.digest}), as it was."]
    registry = LocalRegistry(folder / "registry")
    facts = Facts("2026.1.2", "2026-01-02T00:00:00Z", "test", run.command, run.device)
    (tmp_path / "version").mkdir()
    kept = same_networks(run, [registry.open("2026.1.1")])
    version, _ = stage_version(run, facts, tmp_path / "version", quiet, kept=kept)
    before, after = (
        {path: sha256 for path, sha256 in each.manifest.files.items() if path.startswith("segmenter/")}
        for each in (registry.open("2026.1.1"), version)
    )
    assert before == after
    with pytest.raises(InvalidConfiguration, match="trains no network segmenter; there is locator"):
        train_only("segmenter", preset, folder / "data", tmp_path / "only", quiet, start=start)


def test_what_cannot_be_kept_is_refused(tiny_run: tuple[Path, Trained]):
    folder, trained = tiny_run
    origin = read_origin("production", str(folder / "registry"))
    preset = trained.preset
    longer = dataclasses.replace(preset, segmenter=dataclasses.replace(preset.segmenter, steps=7))
    for asked, names, message in (
        (preset, ("retina",), "--keep retina: there is locator and segmenter"),
        (preset, ("locator", "segmenter"), "nothing is left to train"),
        (longer, ("segmenter",), "segmenter.steps: 7, but that of 2026.1.1 was trained with 2"),
    ):
        with pytest.raises(InvalidConfiguration, match=message):
            keep(asked, origin, names)
    assert list(keep(longer, origin, ("locator",)).kept) == ["locator"]


def test_old_sources_give_their_share_of_the_samples(tmp_path: Path):
    old = small_preset(tmp_path, 1)
    mixed = continue_preset(new_preset(tmp_path, NEW, old), old, 0.25)
    assert [source.name for source in mixed.sources] == ["another", "whole", "crops", "discs"]
    assert mixed.sources[1] == old.sources[0]  # with the same photographs held out
    for config in (mixed.locator, mixed.segmenter):
        weights = weights_of(mixed, config)
        assert sum(weights[name] for name in ("whole", "crops", "discs")) / sum(weights.values()) == pytest.approx(0.25)
        assert weights["discs"] / weights["whole"] == pytest.approx(0.3)  # as before among each other
    assert mixed.segmenter.network == old.segmenter.network  # of which the file says nothing
    assert mixed.segmenter.steps == 2


def test_another_network_cannot_be_continued(tmp_path: Path):
    old = small_preset(tmp_path, 1)
    text = NEW + "[segmenter.network]\nstart_channels = 12\n"
    with pytest.raises(InvalidConfiguration, match=r"segmenter\.network\.start_channels: 12, but the weights are of 8"):
        continue_preset(new_preset(tmp_path, text, old), old, 0.5)


def test_beside_a_kept_network_the_other_one_may_have_any_shape(tmp_path: Path):
    old = small_preset(tmp_path, 1)
    deeper = new_preset(tmp_path, NEW + "[segmenter.network]\nstart_channels = 12\n", old)
    assert continue_preset(deeper, old, 0.5, anew=True).segmenter.network.start_channels == 12


def test_it_draws_as_the_old_version_does_unless_it_says_otherwise(tmp_path: Path):
    old = small_preset(tmp_path, 1)
    old = dataclasses.replace(old, segmenter=dataclasses.replace(old.segmenter, told=1.0, answer={"crops": 1.0}))
    assert continue_preset(new_preset(tmp_path, NEW, old), old, 0.5).segmenter.answer == {"crops": 1.0}
    other = new_preset(tmp_path, NEW + "[segmenter.answer]\nanother = 1.0\n", old)
    assert continue_preset(other, old, 0.5).segmenter.answer == {"another": 1.0}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('name = "whole"\nheld_out = 3\nfolder = "elsewhere"', "sources.whole.folder: other photographs than before"),
        ('name = "renamed"\nheld_out = 3\nfolder = "whole"', "trained on that folder, as whole"),
        ('name = "whole"\nheld_out = 6', "in the place of 0001 one that the weights saw"),
    ],
)
def test_photographs_that_were_trained_on_cannot_judge_under_another_guise(tmp_path: Path, source: str, message: str):
    old = small_preset(tmp_path, 1)
    text = NEW.replace("[locator]", f"[[sources]]\n{source}\n[locator]")
    if "place of" in message:
        text = 'never_held_out = ["0001"]\n' + text
    with pytest.raises(InvalidConfiguration, match=message):
        continue_preset(new_preset(tmp_path, text, old), old, 0.5)


def test_photographs_that_were_trained_on_cannot_judge(tmp_path: Path):
    old = small_preset(tmp_path, 1)
    for field, message in (("held_out = 7", "saw all but 6"), ("left_out = true", "were trained on it")):
        text = NEW.replace("[locator]", f'[[sources]]\nname = "whole"\n{field}\n[locator]')
        with pytest.raises(InvalidConfiguration, match=f"sources.whole.{field.split()[0]}.*{message}"):
            continue_preset(new_preset(tmp_path, text, old), old, 0.5)


def test_the_command_goes_on_from_a_version_with_new_and_old_photographs(
    tiny_run: tuple[Path, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, trained = tiny_run
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clinic").symlink_to(folder / "data" / "clinic")
    write_folder(tmp_path / "data" / "another", 3, seed=31)
    (tmp_path / "new.toml").write_text(NEW, encoding="utf-8")
    options = ["--from", "production", "--registry", str(folder / "registry"), "--data", str(tmp_path / "data")]
    arguments = ["train", str(tmp_path / "new.toml"), *options, "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    facts, _ = run_facts(tmp_path / "run")
    assert facts["origin"] == {"name": "2026.1.1", "digest": read_origin("production", options[3]).start.digest}
    assert [source["name"] for source in facts["preset"]["sources"]] == ["another", "clinic"]
    for network, old in zip(load_networks(tmp_path / "run", facts), (trained.locator, trained.segmenter), strict=True):
        for one, other in zip(trainable(network), trainable(old), strict=True):
            assert one == pytest.approx(other, abs=1e-6)  # the rate was next to nothing


def test_networks_that_are_not_those_of_the_run_are_refused(tiny_run: tuple[Path, Trained], tmp_path: Path):
    folder, _ = tiny_run
    for name in ("run.json", "locator.keras"):
        (tmp_path / name).write_bytes((folder / "run" / name).read_bytes())
    (tmp_path / "segmenter.keras").write_bytes((folder / "run" / "locator.keras").read_bytes())
    with pytest.raises(InvalidConfiguration, match=r"not what run\.json tells of: segmenter"):
        read_origin(str(tmp_path), "bundled")


def test_a_version_that_does_not_tell_its_preset_cannot_be_continued(tiny_version: Artefact, tmp_path: Path):
    LocalRegistry(tmp_path / "registry").publish(tiny_version.folder)
    assert "preset" not in json.loads((tiny_version.folder / "manifest.json").read_text())["training"]
    with pytest.raises(InvalidConfiguration, match=r"2026\.1\.1 does not tell how it was trained"):
        read_origin("2026.1.1", str(tmp_path / "registry"))


def test_on_a_device_a_version_answers_as_in_service(drawn_version: Artefact):
    photographs = [draw_fundus(np.random.default_rng(seed))[0] for seed in (1, 2, 3)]
    on_device = segmenter_on(drawn_version, choose("cpu"))
    assert on_device.engine.startswith("keras on ")
    in_service = Segmenter(drawn_version, precision="f32")  # as Keras computes
    for there, here in zip(on_device.segment(photographs), in_service.segment(photographs), strict=True):
        assert (there.drawn != here.drawn).mean() < 1e-4
        assert there.gradable == here.gradable


def test_on_a_device_it_draws_as_it_is_asked(drawn_version: Artefact):
    regions = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    in_service = Segmenter(drawn_version, precision="f32").in_convention("crops")
    on_device = segmenter_on(drawn_version, choose("cpu"), "crops")
    assert on_device.convention == "crops"
    np.testing.assert_allclose(
        on_device.probabilities("segmenter", regions), in_service.probabilities("segmenter", regions), atol=1e-4
    )
    with pytest.raises(ConventionNotFound):
        segmenter_on(drawn_version, choose("cpu"), "nobody")
