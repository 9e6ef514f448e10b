"""An encoder that starts from learnt weights: its first levels may keep them, and the others change slowly."""

from typing import Any

import keras

from model.efficientnet import level_of


def freeze(model: keras.Model, levels: int) -> None:
    """The encoder's first levels keep their weights, and the statistics of their batch normalisation."""
    for layer in model.layers:
        level = level_of(layer.name)
        if level is not None:
            layer.trainable = level >= levels


def adamw(model: keras.Model, encoder_rate: float, rate: Any, **options: Any) -> keras.optimizers.AdamW:
    """The optimiser of a network whose encoder learns `encoder_rate` times as fast as the rest.

    Args:
        model: frozen already where it shall be.
        rate: learning rate of the rest, or its schedule.
        options: as keras.optimizers.AdamW.
    """
    if encoder_rate == 1:
        return keras.optimizers.AdamW(rate, **options)
    encoder = {
        variable.path
        for layer in model.layers
        if level_of(layer.name) is not None
        for variable in layer.trainable_variables
    }
    numbers = [number for number, variable in enumerate(model.trainable_variables) if variable.path in encoder]
    return _TwoRates(numbers, encoder_rate, rate, **options)


class _TwoRates(keras.optimizers.AdamW):
    def __init__(self, slow: list[int], slow_rate: float, rate: Any, **options: Any) -> None:
        super().__init__(rate, name="adamw", **options)  # TensorFlow takes no scope that begins with an underscore
        self._slow, self._slow_rate = frozenset(slow), slow_rate

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        slow = self._get_variable_index(variable) in self._slow
        super().update_step(gradient, variable, learning_rate * self._slow_rate if slow else learning_rate)
