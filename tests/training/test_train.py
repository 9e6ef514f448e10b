"""Tests of the parts of `training.train`; `test_run` and `test_resume` train whole networks."""

import keras
import numpy as np
import pytest

from model.unet import build_unet
from model.unet_config import UNetConfig
from training.accelerator import choose
from training.config import NetworkConfig
from training.settling import settled


def first_normalisation(network: keras.Model) -> keras.layers.BatchNormalization:
    return next(layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))


def test_batch_normalisation_settles_on_the_mean_over_batches():
    config = NetworkConfig(UNetConfig(input_size=16, depth=1, start_channels=4), steps=3, batch_size=2)
    start = build_unet(config.network, "segmenter")
    images = np.random.default_rng(1).normal(0.5, 2.0, (4, 2, 16, 16, 3)).astype(np.float32)
    first = first_normalisation(start)
    before = keras.Model(start.input, first.input)
    seen = [keras.ops.convert_to_numpy(before(batch)) for batch in images[:3]]  # a fourth would be one too many
    drawn = iter([(batch, batch) for batch in images])

    network = settled(start.get_weights(), "segmenter", config, drawn, choose("cpu"))

    layer = first_normalisation(network)
    assert layer.momentum == first.momentum
    for found, expected in (
        (layer.moving_mean, [one.mean((0, 1, 2)) for one in seen]),
        (layer.moving_variance, [one.var((0, 1, 2)) for one in seen]),
    ):
        assert keras.ops.convert_to_numpy(found) == pytest.approx(np.mean(expected, axis=0), rel=1e-5)
    trained = zip(network.trainable_weights, start.trainable_weights, strict=True)
    assert all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in trained)
