"""Losses and the metric to watch, on any Keras backend. Targets may hold negative values where nothing was annotated.

Every loss takes the target (B, S, S, C) in [0, 1], or negative where unknown (then for all pixels of that photograph's
channel), and the prediction (B, S, S, C) in [0, 1]; it gives (B,), the loss of each photograph, to which its unknown
channels add nothing. Shapes are static and there is no branch on values, so that XLA compiles them for any device.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from training.loss_names import LOSS_NAMES

SMOOTH = 1.0  # pixels; keeps Dice defined where a target is empty
NOMINAL = 0.06  # share of a picture's pixels: an area that weighs like a disc where there is none
FOCUS = 2.0  # focal loss: how little pixels count that are right already
FALSE_POSITIVES, FALSE_NEGATIVES = 0.3, 0.7  # Tversky loss: weights, together 1; half and half would be Dice
EDGE = 3  # pixels; window in which a boundary is seen
TOLERANCE = 5  # pixels; window in which a boundary still counts as met


def dice_and_cross_entropy(target: Any, prediction: Any) -> Any:
    """1 - soft Dice of each channel, plus its mean binary cross-entropy."""
    known, target, prediction = _known(target, prediction)
    return _over_known((1.0 - _soft_dice(target, prediction)) + _mean(_cross_entropy(target, prediction)), known)


def dice_or_nothing(target: Any, prediction: Any) -> Any:
    """`dice_and_cross_entropy`; of an empty target, `_too_much` in place of Dice.

    Dice is no loss there: whatever is drawn, it stays near 1, and nothing pulls it down.
    """
    known, target, prediction = _known(target, prediction)
    empty = ops.cast(_sum(target) <= 0, "float32")
    shape = (1.0 - empty) * (1.0 - _soft_dice(target, prediction)) + empty * _too_much(prediction)
    return _over_known(shape + _mean(_cross_entropy(target, prediction)), known)


def log_dice(target: Any, prediction: Any) -> Any:
    """-log of the soft Dice of each channel: the loss of Civit-Masot et al. 2019, doi 10.1109/ACCESS.2019.2944692.

    The Dice of each photograph by itself, so that the loss does not depend on what else is in a batch.
    """
    known, target, prediction = _known(target, prediction)
    return _over_known(-ops.log(_soft_dice(target, prediction)), known)


def focal(target: Any, prediction: Any) -> Any:
    """Mean cross-entropy in which a pixel counts by the square of how wrong it is.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """
    known, target, prediction = _known(target, prediction)
    wrong = ops.abs(target - prediction) ** FOCUS
    return _over_known(_mean(wrong * _cross_entropy(target, prediction)), known)


def tversky(target: Any, prediction: Any) -> Any:
    """1 - Tversky index: Dice in which what is missed counts more than what is too much.

    Source: Salehi et al. 2017, arXiv:1706.05721.
    """
    known, target, prediction = _known(target, prediction)
    both = _sum(target * prediction)
    too_much, missed = _sum((1.0 - target) * prediction), _sum(target * (1.0 - prediction))
    index = (both + SMOOTH) / (both + FALSE_POSITIVES * too_much + FALSE_NEGATIVES * missed + SMOOTH)
    return _over_known(1.0 - index, known)


def boundary(target: Any, prediction: Any) -> Any:
    """`dice_and_cross_entropy` plus 1 - F1 of the boundaries, each to be met within two pixels.

    A boundary is what a dilation of the outside adds to it, so no distance map is needed.
    Source: Bokhovkin and Burnaev 2019, arXiv:1905.07852.
    """
    known, true, drawn = _known(target, prediction)
    true_edge, drawn_edge = _edge(true), _edge(drawn)
    precision = (_sum(drawn_edge * _dilate(true_edge, TOLERANCE)) + SMOOTH) / (_sum(drawn_edge) + SMOOTH)
    recall = (_sum(true_edge * _dilate(drawn_edge, TOLERANCE)) + SMOOTH) / (_sum(true_edge) + SMOOTH)
    f1 = 2.0 * precision * recall / (precision + recall)
    return dice_and_cross_entropy(target, prediction) + _over_known(1.0 - f1, known)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {name: globals()[name] for name in LOSS_NAMES}


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


def _over_known(losses: Any, known: Any) -> Any:
    """(B,) mean of (B, C) over what was annotated; 0 for a photograph without any annotation."""
    return ops.sum(losses * known, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)


def _soft_dice(target: Any, prediction: Any) -> Any:
    return (2.0 * _sum(target * prediction) + SMOOTH) / (_sum(target) + _sum(prediction) + SMOOTH)


def _too_much(prediction: Any) -> Any:
    """Log of the cross-entropy of pixels that ought to be 0, counted in discs: for each drawn, as steep as Dice."""
    pixels = NOMINAL * prediction.shape[1] * prediction.shape[2]
    return ops.log1p(_sum(-ops.log(1.0 - prediction)) / pixels)


def _cross_entropy(target: Any, prediction: Any) -> Any:
    return -(target * ops.log(prediction) + (1.0 - target) * ops.log(1.0 - prediction))


def _edge(mask: Any) -> Any:
    """Pixels of a (B, S, S, C) mask that have an outside one in their window; nothing is outside beyond the picture."""
    return _dilate(1.0 - mask, EDGE) - (1.0 - mask)


def _dilate(values: Any, window: int) -> Any:
    return ops.max_pool(values, window, strides=1, padding="same")


def _sum(values: Any) -> Any:
    return ops.sum(values, axis=(1, 2))


def _mean(values: Any) -> Any:
    return ops.mean(values, axis=(1, 2))
