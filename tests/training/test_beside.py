"""Tests of a segmenter that averages U-Nets of two kinds: its preset, its training, its record and its version."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model import artefact
from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig
from tests.drawn import write_folder
from training.card import write_card
from training.config import Preset, preset_from_dict
from training.cross_report import budget
from training.finish import Facts
from training.origin import continue_preset
from training.preset_files import read_preset
from training.publish import stage_version
from training.restore import restore_network
from training.run import Trained, in_convention, networks_of, only_member, train_only, train_run
from training.saved_run import load_run, save_run
from training.split import disc_cut_of

QUIET = Console(quiet=True)
LEARNT = UNetConfig(input_size=32, stem_stride=2, depth=1, start_channels=4, encoder="efficientnet_lite0")
TWO_KINDS = UNetConfig(input_size=32, depth=1, start_channels=3, members=2, beside=LEARNT)

TOML = """
seed = 5
steps_per_epoch = 2
mixed_precision = false
[[sources]]
name = "clinic"
held_out = 1
terms = "drawn"
[[sources]]
name = "annex"
[locator]
steps = 2
[locator.network]
input_size = 32
depth = 1
start_channels = 3
outputs = ["disc"]
[segmenter]
steps = 3
told = 0.5
[segmenter.network]
input_size = 32
depth = 1
start_channels = 3
[segmenter.beside]
steps = 2
batch_size = 8
encoder_rate = 0.5
[segmenter.beside.network]
input_size = 32
stem_stride = 2
depth = 1
start_channels = 4
encoder = "efficientnet_lite0"
"""


def read(folder: Path, text: str, base: Preset | None = None) -> Preset:
    """A preset by its text."""
    (folder / "a.toml").write_text(text, encoding="utf-8")
    return read_preset(str(folder / "a.toml"), base)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("beside")
    for number, name in enumerate(("clinic", "annex")):
        write_folder(folder / "data" / name, 4, seed=21 + number)
    trained = train_run(read(folder, TOML), folder / "data", folder / "run", QUIET)
    save_run(trained, folder / "run")
    return folder, trained


def test_all_u_nets_count_alike_and_their_weights_stand_one_after_the_other():
    network = build_unet(TWO_KINDS)
    image = np.random.default_rng(2).normal(size=(1, 32, 32, 3)).astype(np.float32)
    answers, weights = [], network.get_weights()
    for single in TWO_KINDS.singles:
        alone = build_unet(single)
        alone.set_weights(weights[: len(alone.weights)])
        weights = weights[len(alone.weights) :]
        answers.append(np.asarray(alone(image)))
    assert not weights
    np.testing.assert_allclose(np.asarray(network(image)), np.mean(answers, axis=0), atol=1e-6)


def test_the_regions_are_wide_enough_for_the_one_that_varies_most(tmp_path: Path):
    narrow, wide = (
        read(tmp_path, TOML + f"[segmenter.beside.augmentation]\nscale = [0.65, {largest}]\n") for largest in (1.5, 3.0)
    )
    assert disc_cut_of(wide).diameters > 1.9 * disc_cut_of(narrow).diameters


def test_the_description_survives_its_record():
    assert UNetConfig(**json.loads(json.dumps(TWO_KINDS.as_dict()))) == TWO_KINDS


def test_what_answers_otherwise_cannot_stand_beside():
    with pytest.raises(InvalidConfiguration, match=r"beside\.input_size=64: must be 32") as caught:
        UNetConfig(input_size=32, depth=1, beside=UNetConfig(input_size=64, outputs=("disc",)))
    assert "beside.outputs" in str(caught.value)


def test_a_version_gives_both_kinds_back(tmp_path: Path):
    build_unet(LEARNT)  # so that the layers' numbers are others than in the network that is restored
    network = build_unet(TWO_KINDS)
    artefact.export_network(network, tmp_path / "segmenter")
    restored = restore_network(tmp_path / "segmenter", TWO_KINDS, "segmenter")
    for one, other in zip(network.get_weights(), restored.get_weights(), strict=True):
        assert (one == other).all()


def test_a_preset_says_what_stands_beside_and_is_its_own_record(tmp_path: Path):
    preset = read(tmp_path, TOML)
    plain, learnt = preset.segmenter.singles
    assert (plain.network.encoder, plain.steps, plain.told) == ("plain", 3, 0.5)
    assert (learnt.network.encoder, learnt.steps, learnt.told) == ("efficientnet_lite0", 2, 0.5)
    assert preset.segmenter.shape.singles == (plain.network, learnt.network)
    assert preset_from_dict(json.loads(json.dumps(preset.as_dict()))) == preset


def test_each_preset_above_changes_it_or_drops_it(tmp_path: Path):
    (tmp_path / "below.toml").write_text(TOML, encoding="utf-8")
    longer = read(tmp_path, 'extends = "below.toml"\n[segmenter.beside]\nsteps = 9\n').segmenter
    assert longer.beside is not None
    assert (longer.steps, longer.beside.steps, longer.beside.network.encoder) == (3, 9, "efficientnet_lite0")
    assert read(tmp_path, 'extends = "below.toml"\n[segmenter]\nbeside = false\n').segmenter.beside is None
    assert longer.with_steps(7).beside == dataclasses.replace(longer.beside, steps=7)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("told", "told = 0.5"),
        ("sources", "sources = { clinic = 2.0 }"),
        ("network.outputs", '[segmenter.beside.network]\noutputs = ["disc", "cup"]\ninput_size = 32\ndepth = 1'),
    ],
)
def test_what_belongs_to_the_answer_is_not_said_twice(tmp_path: Path, key: str, line: str):
    table = TOML[: TOML.index("[segmenter.beside]")].replace("start_channels = 3\n[seg", "[seg")
    text = table + 'outputs = ["cup", "disc"]\n[segmenter.beside]\n' + line + "\n"
    if not key.startswith("network"):
        text += '[segmenter.beside.network]\noutputs = ["cup", "disc"]\ninput_size = 32\ndepth = 1\n'
    with pytest.raises(InvalidConfiguration, match=rf"segmenter\.beside\.{key.replace('.', chr(92) + '.')}"):
        read(tmp_path, text)


def test_a_shape_alone_does_not_say_how_it_is_trained(tmp_path: Path):
    with pytest.raises(InvalidConfiguration, match=r"segmenter\.network\.beside: a table of its own"):
        read(
            tmp_path,
            TOML.replace(
                "[segmenter.beside]", "[segmenter.network.beside]\ninput_size = 32\ndepth = 1\n[segmenter.beside]"
            ),
        )


def test_each_is_trained_by_its_own_table(run: tuple[Path, Trained]):
    folder, trained = run
    logs = {path.name: path.read_text().splitlines()[-1] for path in (folder / "run").glob("segmenter*.csv")}
    assert {name: line.split(",")[0] for name, line in logs.items()} == {
        "segmenter_1.log.csv": "3",
        "segmenter_2.log.csv": "2",
    }
    assert len(trained.segmenter.weights) == len(build_unet(trained.preset.segmenter.shape).weights)


def test_each_may_be_trained_by_a_process_of_its_own(run: tuple[Path, Trained], tmp_path: Path):
    folder, trained = run
    preset = read(tmp_path, TOML)
    assert list(networks_of(preset)) == ["locator", "segmenter_1", "segmenter_2"]
    for name in ("segmenter_2", "locator"):
        train_only(name, preset, folder / "data", tmp_path / "run", QUIET)
    assert not (tmp_path / "run" / "segmenter_1.checkpoint.npz").exists()
    whole = train_run(preset, folder / "data", tmp_path / "run", QUIET)
    for part in ("locator", "segmenter"):
        pairs = zip(getattr(trained, part).get_weights(), getattr(whole, part).get_weights(), strict=True)
        assert all((one == other).all() for one, other in pairs)
    with pytest.raises(InvalidConfiguration, match="no network segmenter; there is locator, segmenter_1, segmenter_2"):
        train_only("segmenter", preset, folder / "data", tmp_path / "run", QUIET)


def test_each_can_be_looked_at_alone(run: tuple[Path, Trained]):
    _, trained = run
    parts = [only_member(trained, number) for number in (1, 2)]
    assert [part.preset.segmenter.network.encoder for part in parts] == ["plain", "efficientnet_lite0"]
    weights = [weight for part in parts for weight in part.segmenter.get_weights()]
    for one, other in zip(trained.segmenter.get_weights(), weights, strict=True):
        assert (one == other).all()
    for part in parts:
        assert len(part.shifts["clinic"]) == len(part.segmenter.weights)
    with pytest.raises(InvalidConfiguration, match="the segmenter has 2"):
        only_member(trained, 3)


def test_the_version_tells_of_both(run: tuple[Path, Trained], tmp_path: Path):
    folder, _ = run
    trained = load_run(folder / "run", folder / "data")
    facts = Facts("2026.1.1", "2026-01-01T00:00:00Z", "0.1.0", "train", "a test machine")
    version, _ = stage_version(trained, facts, tmp_path, QUIET)
    assert UNetConfig(**version.manifest.segmenter.config) == trained.preset.segmenter.shape
    assert "The encoder of 1 of the segmenter's averaged U-Nets is that of EfficientNet-Lite0" in write_card(
        version.manifest
    )
    facts_of_run = json.loads((folder / "run" / "run.json").read_text())
    assert any(
        "3 steps of 16" in line and "averaged with 2 steps of 8" in line
        for line in budget(trained.preset, [], [facts_of_run])
    )


def test_one_convention_alone_is_drawn_by_all_of_them(run: tuple[Path, Trained]):
    _, trained = run
    alone = in_convention(trained, "clinic")
    image = np.random.default_rng(2).normal(size=(1, 32, 32, 3)).astype(np.float32)
    parts = [in_convention(only_member(trained, number), "clinic").segmenter(image) for number in (1, 2)]
    np.testing.assert_allclose(np.asarray(alone.segmenter(image)), np.mean(parts, axis=0), atol=1e-6)


def test_a_run_goes_on_from_both_kinds_and_from_nothing_else(run: tuple[Path, Trained], tmp_path: Path):
    _, trained = run
    new = read(tmp_path, '[[sources]]\nname = "other"\n[segmenter.beside]\nsteps = 1\n', trained.preset)
    mixed = continue_preset(new, trained.preset, 0.5)
    assert mixed.segmenter.shape == trained.preset.segmenter.shape
    assert [single.sources for single in mixed.segmenter.singles] == [mixed.segmenter.sources] * 2
    dropped = read(tmp_path, '[[sources]]\nname = "other"\n[segmenter]\nbeside = false\n', trained.preset)
    with pytest.raises(InvalidConfiguration, match=r"segmenter\.network\.beside"):
        continue_preset(dropped, trained.preset, 0.5)
