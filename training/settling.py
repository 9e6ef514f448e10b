"""Batch normalisation of averaged weights: its own averages belong to the weights of the last steps, not to those."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from model.unet import BATCH_NORMALISATION_MOMENTUM, build_unet
from training.accelerator import Accelerator
from training.batches import Batch
from training.config import NetworkConfig
from training.encoder import freeze

SETTLING_BATCHES = 100  # passes that settle batch normalisation on the averaged weights


def settled(
    averaged: list[np.ndarray],
    name: str,
    config: NetworkConfig,
    drawn: Iterator[Batch],
    accelerator: Accelerator,
    conventions: int = 0,
) -> keras.Model:
    """The averaged weights in a float32 network, its batch normalisation settled on them: a plain mean over batches.

    Args:
        averaged: of a network with as many conventions.
        drawn: what it is trained on.
    """
    final = build_unet(config.network, name, conventions)
    final.set_weights(averaged)
    freeze(final, config.frozen_levels)
    norms = [layer for layer in final.layers if isinstance(layer, keras.layers.BatchNormalization)]
    layers = [layer for layer in norms if layer.trainable]  # a frozen one keeps its own, even in training
    if not layers:
        return final
    for layer in layers:
        layer.momentum = 0.0  # it holds the statistics of one batch, until the next
    training = AsInTraining(final)
    training.compile(jit_compile=accelerator.jit_compile)
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    sums, count = [np.zeros(variable.shape) for variable in statistics], min(SETTLING_BATCHES, config.steps)
    for images, _ in itertools.islice(drawn, count):
        training.predict_on_batch(images)
        for total, variable in zip(sums, statistics, strict=True):
            total += keras.ops.convert_to_numpy(variable)
    for total, variable in zip(sums, statistics, strict=True):
        variable.assign(total / count)
    for layer in layers:
        layer.momentum = BATCH_NORMALISATION_MOMENTUM
    freeze(final, 0)
    return final


class AsInTraining(keras.Model):
    """A network whose prediction is one compiled pass as in training: batch normalisation takes the batch's statistics.

    Keras' own prediction tells a network that has the argument `training` that it is not; this one has none.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, inputs: Any) -> Any:
        return self.network(inputs, training=True)
