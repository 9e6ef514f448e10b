"""What the log tells of held-out photographs while a network trains; nothing is chosen by it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from model.normalisation import Distribution
from training.accelerator import Accelerator
from training.augment import plain_sample
from training.batches import Inputs
from training.config import NetworkConfig
from training.conventions import Conventions
from training.views import View

WATCHED_AT_ONCE = 32  # samples


def watched_samples(
    views: Sequence[View],
    config: NetworkConfig,
    roi_diameters: float | None,
    distribution: Distribution,
    conventions: Conventions | None,
) -> dict[str, tuple[Inputs, np.ndarray]]:
    """Unvaried samples of held-out views by source; of the sources with cups alone where the network draws cups."""
    by_source: dict[str, list[Any]] = {}
    for view in views:
        sample = plain_sample(view, config.network.input_size, config.network.outputs, roi_diameters, distribution)
        by_source.setdefault(view.example.source, []).append(sample)
    watched: dict[str, tuple[Inputs, np.ndarray]] = {}
    for name, samples in sorted(by_source.items()):
        images = np.stack([s.image for s in samples])
        inputs = images if conventions is None else conventions.answering(images)
        watched[name] = inputs, np.stack([s.target for s in samples])
    return watched


def watch(
    model: keras.Model, watched: dict[str, tuple[Inputs, np.ndarray]], accelerator: Accelerator
) -> dict[str, Any]:
    """Mean Dice of each output by source with the weights of this moment."""
    result = {}
    for name, (inputs, targets) in watched.items():
        drawn = accelerator.predict(model, inputs, WATCHED_AT_ONCE) > 0.5
        truth = targets > 0.5
        dice = 2 * (drawn & truth).sum((1, 2)) / np.maximum(1, drawn.sum((1, 2)) + truth.sum((1, 2)))
        known: np.ndarray = np.all(targets[:, 0, 0] >= 0, axis=0)
        result[name] = [
            round(float(value), 3) if ok else None for value, ok in zip(dice.mean(axis=0), known.tolist(), strict=True)
        ]
    return result
