"""What a dry run says of devices that are not there, against what must be so."""

from pathlib import Path

import pytest

from model.errors import InvalidConfiguration
from tests.training.tiny import PRESET, command
from training.scale import MIB, ScaledStep, collectives_of, scaled

PROGRAM = """
  %all-reduce.1 = f32[3,3,3,8]{3,2,1,0} all-reduce(%dot), channel_id=1, replica_groups={{0,1}}
  %all-reduce.2 = (f32[8]{0}, bf16[4,2]{1,0}) all-reduce(%a, %b), channel_id=2
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
    steps = {(step.network, step.devices): step for step in scaled(str(preset), (1, 8), 2)}
    one, eight = steps["segmenter", 1], steps["segmenter", 8]
    assert (one.batch, eight.batch) == (2, 16)
    assert eight.images == one.images == (2, 32, 32, 3)
    assert eight.answers == (2, 32, 32, 2)
    assert not one.collectives
    assert set(eight.collectives) == {"all-reduce"}
    assert eight.collectives["all-reduce"][1] >= 4 * trainable(eight)
    assert eight.state == one.state  # a whole copy on each device
    assert 4 * 4 * trainable(eight) <= eight.state < MIB  # weights, their average, two moments
    assert steps["locator", 8].answers == (2, 32, 32, 1)


def trainable(step: ScaledStep) -> int:
    """Less than all parameters: batch normalisation keeps two numbers for each channel that no gradient moves."""
    return round(0.9 * step.parameters)


def test_numbers_that_make_no_sense():
    with pytest.raises(InvalidConfiguration, match="1 to 1024"):
        scaled("bundled", (0,), 2)
    told, _ = command("scale", "bundled", "--devices", "5000").communicate(timeout=100)
    assert "invalid_configuration" in told
