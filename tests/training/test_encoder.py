"""Tests of `training.encoder`, and of training with an encoder that has learnt weights."""

import dataclasses

import numpy as np
import pytest

from model.efficientnet import level_of
from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig
from training.accelerator import choose
from training.config import NetworkConfig
from training.encoder import freeze
from training.settling import settled
from training.train import compiled_network

SHAPE = UNetConfig(input_size=32, stem_stride=2, depth=1, start_channels=4, encoder="efficientnet_lite0")
CONFIG = NetworkConfig(
    SHAPE,
    steps=4,
    batch_size=2,
    encoder_weights="imagenet",
    encoder_rate=0.25,
    frozen_levels=1,
    weight_decay=0,
    warm_up=0,
)


def batch(seed=1):
    random = np.random.default_rng(seed)
    images = random.normal(size=(2, 32, 32, 3)).astype(np.float32)
    return images, (random.random((2, 32, 32, 2)) > 0.5).astype(np.float32)


def weights_by_layer(network):
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


def test_frozen_levels_keep_their_weights_and_statistics():
    accelerator = choose("cpu")
    network = compiled_network("segmenter", CONFIG, accelerator, mixed_precision=False)
    before = weights_by_layer(network)
    accelerator.step(network, *batch())
    after = weights_by_layer(network)
    for name, old in before.items():
        same = all(np.array_equal(a, b) for a, b in zip(old, after[name], strict=True))
        assert same == (level_of(name) == 0), name


def test_the_encoder_learns_at_its_own_rate():
    """Adam's first step is the learning rate, whatever the gradient, as long as that is not tiny."""
    accelerator = choose("cpu")
    moved = {}
    for rate in (1.0, 0.25):
        config = dataclasses.replace(CONFIG, encoder_rate=rate, frozen_levels=0)
        network = compiled_network("segmenter", config, accelerator, mixed_precision=False)
        before = weights_by_layer(network)
        accelerator.step(network, *batch())
        moved[rate] = [
            (level_of(name) is not None, float(np.abs(weights[0] - before[name][0]).max()))
            for name, weights in weights_by_layer(network).items()
            if "norm" not in name
        ]
    for (of_encoder, whole), (_, slow) in zip(moved[1.0], moved[0.25], strict=True):
        assert slow == pytest.approx((0.25 if of_encoder else 1.0) * whole, rel=0.05)


def test_settling_leaves_frozen_statistics():
    network = build_unet(SHAPE)
    final = settled(network.get_weights(), "segmenter", CONFIG, iter([batch(i) for i in range(4)]), choose("cpu"))
    before, after = weights_by_layer(network), weights_by_layer(final)
    for old, new in zip(before["stem_norm"], after["stem_norm"], strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(before["bottleneck_1_expand_norm"][2], after["bottleneck_1_expand_norm"][2])
    assert all(layer.trainable for layer in final.layers)


def test_more_frozen_levels_leave_fewer_weights_to_train():
    network = build_unet(SHAPE)
    counts = []
    for levels in range(3):
        freeze(network, levels)
        counts.append(len(network.trainable_weights))
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_a_plain_encoder_has_no_learnt_weights():
    with pytest.raises(InvalidConfiguration) as error:
        NetworkConfig(UNetConfig(), encoder_weights="imagenet", encoder_rate=0.3, frozen_levels=1)
    for name in ("encoder_weights", "encoder_rate", "frozen_levels"):
        assert f"{name}: needs a network.encoder that has learnt weights" in str(error.value)
