"""What a dry run says of devices that are not there, against what must be so."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.errors import InvalidConfiguration
from tests.training.tiny import PRESET
from training.cli import app
from training.scale import MIB, ScaledStep, collectives_of, scaled

PROGRAM = """
  %all-reduce.1 = f32[3,3,3,8]{3,2,1,0} all-reduce(%dot), channel_id=1, replica_groups={{0,1}}
  %all-reduce.2 = (f32[8]{0}, /*index=5*/bf16[4,2]{1,0:T(8,128)}) all-reduce(%a, %b), channel_id=2
  %fusion = f32[8]{0} fusion(%all-reduce.1), kind=kLoop
  %all-gather.1 = f32[16]{0} all-gather(%c), dimensions={0}
"""


def test_collectives_are_counted_with_their_bytes():
    assert collectives_of(PROGRAM) == {"all-reduce": (2, 3 * 3 * 3 * 8 * 4 + 8 * 4 + 8 * 2), "all-gather": (1, 64)}


def test_a_ring_sends_nearly_twice_what_is_summed():
    step = ScaledStep("segmenter", 8, 16, (), (), 0, 0, 0, {"all-reduce": (1, 800)})
    assert step.sent == 1400


def test_every_device_keeps_its_share_of_the_batch_and_the_gradients_are_summed(tmp_path: Path):
    pytest.importorskip("jax")
    preset = tmp_path / "tiny.toml"
    preset.write_text(PRESET.format(steps=3), encoding="utf-8")
    (step,) = scaled(str(preset), (8,), 2, ("segmenter",))
    assert (step.network, step.devices, step.batch) == ("segmenter", 8, 16)
    assert step.images == (2, 32, 32, 3)
    assert step.answers == (2, 32, 32, 2)
    assert set(step.collectives) == {"all-reduce"}
    assert step.collectives["all-reduce"][1] >= 4 * trainable(step)
    assert 4 * 4 * trainable(step) <= step.state < MIB  # a whole copy: weights, their average, two moments


def test_the_command_tells_of_8_and_32_devices(tmp_path: Path):
    pytest.importorskip("jax")
    preset = tmp_path / "tiny.toml"
    preset.write_text(PRESET.format(steps=3), encoding="utf-8")
    words = ["scale", str(preset), "--devices", "8", "--devices", "32", "--network", "segmenter"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, words)
    assert result.exit_code == 0, result.output
    header, *lines = result.output.splitlines()
    assert header.split()[:3] == ["network", "devices", "batch"]
    assert [line.split()[:3] for line in lines] == [["segmenter", "8", "16"], ["segmenter", "32", "64"]]
    assert all("2 × 32 × 32 × 3" in line and "all-reduce" in line for line in lines)


def trainable(step: ScaledStep) -> int:
    """Less than all parameters: batch normalisation keeps two numbers for each channel that no gradient moves."""
    return round(0.9 * step.parameters)


def test_numbers_that_make_no_sense():
    with pytest.raises(InvalidConfiguration, match="1 to 1024"):
        scaled("bundled", (0,), 2)
    with pytest.raises(InvalidConfiguration, match="locator or segmenter"):
        scaled("bundled", (8,), 2, ("disc",))
