"""Tests of `model.unet`."""

import json

import numpy as np
import pytest

from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig


@pytest.mark.parametrize(
    ("start", "depth", "growth", "parameters"),
    [(64, 5, 1.6, 22_257_685), (72, 6, 1.2, 5_650_715), (48, 5, 1.2, 1_634_394)],
)
def test_the_papers_configurations_have_the_papers_parameter_counts(start, depth, growth, parameters):
    config = UNetConfig(input_size=128, depth=depth, start_channels=start, channel_growth=growth, outputs=("disc",))
    assert build_unet(config).count_params() == parameters


def test_channels_are_rounded_down_level_by_level():
    assert UNetConfig(start_channels=64, depth=5, channel_growth=1.6, input_size=128).channels == (
        64, 102, 163, 260, 416, 665,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalisation": "group"},
        {"normalisation": "none", "activation": "elu"},
        {"downsampling": "strided_convolution", "upsampling": "upsampling"},
        {"residual": True, "dropout": 0.5},
        {"depth": 0},
        {"outputs": ("cup",)},
        {"stem_stride": 2},
        {"stem_stride": 4, "depth": 3},
        {"members": 2},
    ],
    ids=str,
)
def test_every_option_builds_a_network_that_answers_probabilities(options):
    config = UNetConfig(**{"input_size": 32, "depth": 2, "start_channels": 4, **options})
    out = np.asarray(build_unet(config)(np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)))
    assert out.shape == (2, 32, 32, len(config.outputs))
    assert out.dtype == np.float32
    assert 0 <= out.min() < out.max() <= 1


def test_residual_blocks_concatenate_their_input():
    plain = build_unet(UNetConfig(input_size=32, depth=1, start_channels=4))
    residual = build_unet(UNetConfig(input_size=32, depth=1, start_channels=4, residual=True))
    assert residual.count_params() > plain.count_params()
    assert any(tuple(layer.output.shape)[1:] == (32, 32, 3 + 4) for layer in residual.layers)


def test_dropout_stands_in_the_bottom_block_only():
    network = build_unet(UNetConfig(input_size=32, depth=2, start_channels=4, dropout=0.3))
    (dropout,) = [layer for layer in network.layers if type(layer).__name__ == "Dropout"]
    assert tuple(dropout.output.shape)[1:3] == (8, 8)


def test_config_survives_json():
    config = UNetConfig(depth=3, outputs=("disc",))
    assert UNetConfig(**json.loads(json.dumps(config.as_dict()))) == config


def test_every_impossible_value_is_named_at_once():
    with pytest.raises(InvalidConfiguration) as caught:
        UNetConfig(
            input_size=100, depth=4, dropout=1.0, normalisation="layer", outputs=("macula",), activation="nothing"
        )
    for field in ("input_size", "dropout", "normalisation", "outputs", "activation"):
        assert field in str(caught.value)


def test_members_are_averaged_and_their_weights_stand_one_after_the_other():
    config = UNetConfig(input_size=32, depth=1, start_channels=4, members=2)
    both = build_unet(config)
    weights = both.get_weights()
    singles = []
    for part in (weights[: len(weights) // 2], weights[len(weights) // 2 :]):
        single = build_unet(UNetConfig(input_size=32, depth=1, start_channels=4))
        single.set_weights(part)
        singles.append(single)
    image = np.random.default_rng(2).normal(size=(1, 32, 32, 3)).astype(np.float32)
    one, other = (np.asarray(single(image)) for single in singles)
    assert not np.allclose(one, other)
    np.testing.assert_allclose(np.asarray(both(image)), (one + other) / 2, atol=1e-6)


def test_the_input_must_divide_by_stem_and_depth():
    with pytest.raises(InvalidConfiguration, match="multiple of 8 at depth 2 and stem stride 2"):
        UNetConfig(input_size=36, depth=2, stem_stride=2)
