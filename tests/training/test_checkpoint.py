"""Tests of `training.checkpoint` and `training.whole_file`: other configurations, a full disk."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.unet import build_unet
from model.unet_config import UNetConfig
from tests.training.full_disk import room_for
from training import checkpoint
from training.checkpoint import InvalidCheckpoint
from training.whole_file import CannotWrite, whole_file


def network(channels: int = 4) -> Any:
    import keras

    model = build_unet(UNetConfig(input_size=32, depth=1, start_channels=channels))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_a_checkpoint_brings_back_weights_steps_and_seconds(tmp_path: Path):
    saved, other = network(), network()
    checkpoint.save(tmp_path / "a.npz", saved, 7, 2.5, {"seed": [1, 2]})
    assert checkpoint.load(tmp_path / "a.npz", other, {"seed": (1, 2)}) == (7, 2.5)
    for one, two in zip(saved.get_weights(), other.get_weights(), strict=True):
        assert (one == two).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_what_differs_from_the_checkpoints_configuration_is_named(tmp_path: Path):
    model = network()
    checkpoint.save(tmp_path / "a.npz", model, 1, 0.0, {"steps": 4, "network": {"depth": 1}, "seed": 3})
    with pytest.raises(InvalidCheckpoint) as refusal:
        checkpoint.load(tmp_path / "a.npz", model, {"steps": 5, "network": {"depth": 2}, "seed": 3})
    assert "a.npz" in str(refusal.value)
    assert "network.depth: 1 there, 2 here; steps: 4 there, 5 here" in str(refusal.value)
    assert "3 there" not in str(refusal.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    checkpoint.save(tmp_path / "a.npz", network(4), 1, 0.0, {})
    with pytest.raises(InvalidCheckpoint, match="other shapes"):
        checkpoint.load(tmp_path / "a.npz", network(8), {})


@pytest.mark.parametrize("kept", [0, 10, 2000, -1])
def test_a_checkpoint_that_was_cut_off_is_refused_by_name(tmp_path: Path, kept: int):
    model = network()
    path = tmp_path / "a.npz"
    checkpoint.save(path, model, 1, 0.0, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InvalidCheckpoint, match=r"a\.npz: not a whole checkpoint"):
        checkpoint.load(path, model, {})


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path: Path):
    model = network()
    checkpoint.save(tmp_path / "a.npz", model, 1, 0.0, {})
    with room_for(1000), pytest.raises(CannotWrite, match=r"a\.npz: File too large"):
        checkpoint.save(tmp_path / "a.npz", model, 2, 0.0, {})
    assert checkpoint.load(tmp_path / "a.npz", model, {})[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_full_disk_leaves_no_half_written_network(tmp_path: Path):
    model = network()
    with room_for(1000), pytest.raises(CannotWrite, match="File too large"), whole_file(tmp_path / "a.keras") as path:
        model.save(path)
    assert list(tmp_path.iterdir()) == []


def test_training_onto_a_full_disk_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from tests.training.tiny import write_tiny
    from training.cli import main

    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *write_tiny(tmp_path, 2), "--out", str(tmp_path / "run")])
    with room_for(1000), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("cannot_write: ")
    assert "locator.checkpoint.npz: File too large" in message
    assert list((tmp_path / "run").iterdir()) == []


def test_random_numbers_of_dropout_are_part_of_the_state():
    model = build_unet(UNetConfig(input_size=32, depth=1, start_channels=4, dropout=0.2))
    before = [np.asarray(v.value) for v in model.variables]
    model(np.zeros((1, 32, 32, 3), np.float32), training=True)
    changed = [v.path for v, old in zip(model.variables, before, strict=True) if (np.asarray(v.value) != old).any()]
    assert any("seed" in path for path in changed)
