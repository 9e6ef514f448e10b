"""Losses and the metric to watch, on any Keras backend. Targets may hold `UNKNOWN` where nothing was annotated."""

from typing import Any

from keras import ops

SMOOTH = 1.0  # pixels; keeps Dice defined where a target is empty


def dice_and_cross_entropy(target: Any, prediction: Any) -> Any:
    """Soft Dice loss of each photograph and channel plus binary cross-entropy, over what was annotated.

    Args:
        target: (B, S, S, C) in [0, 1], or negative where unknown (then for all pixels of that photograph's channel).
        prediction: (B, S, S, C) in [0, 1].
    Returns:
        (B,) loss of each photograph; its unknown channels count nothing.
    """
    known, target, prediction = _known(target, prediction)
    overlap = ops.sum(target * prediction, axis=(1, 2))
    total = ops.sum(target, axis=(1, 2)) + ops.sum(prediction, axis=(1, 2))
    dice = 1.0 - (2.0 * overlap + SMOOTH) / (total + SMOOTH)
    entropy = -(target * ops.log(prediction) + (1.0 - target) * ops.log(1.0 - prediction))
    both = (dice + ops.mean(entropy, axis=(1, 2))) * known
    return ops.sum(both, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)


def dice_of_channel(channel: int, name: str) -> Any:
    """A Keras metric function: Dice of one thresholded output channel over a batch's annotated pixels, in [0, 1]."""

    def dice(target: Any, prediction: Any) -> Any:
        known, target, prediction = _known(target, prediction)
        truth = ops.cast(target[..., channel] > 0.5, "float32") * known[:, None, None, channel]
        drawn = ops.cast(prediction[..., channel] > 0.5, "float32") * known[:, None, None, channel]
        return (2.0 * ops.sum(truth * drawn) + SMOOTH) / (ops.sum(truth) + ops.sum(drawn) + SMOOTH)

    dice.__name__ = name
    return dice


def _known(target: Any, prediction: Any) -> tuple[Any, Any, Any]:
    """(B, C) 1 where annotated; the target with unknown as 0; the prediction kept away from 0 and 1."""
    known = ops.cast(target[:, 0, 0, :] >= 0, "float32")
    return known, ops.maximum(target, 0.0), ops.clip(ops.cast(prediction, "float32"), 1e-6, 1.0 - 1e-6)
