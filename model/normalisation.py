"""Photograph pixels → the distribution that the networks were trained on, and how far an image is from it.

Every channel of every image is moved and stretched so that its mean and deviation over the retina equal the training
photographs'. A camera's white balance, exposure and contrast are gone before a network sees the image.
"""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

SMALLEST_DEVIATION = 3.0  # grey levels; a flat channel is noise and must not be stretched to full contrast
LARGEST_VALUE = 6.0  # of a normalised pixel; specular reflexes would otherwise dominate the first layer
SHRINKAGE = 0.1  # of the covariance towards its diagonal: few sources, many more pixels


@dataclass(frozen=True)
class Distribution:
    """The training distribution's statistics; stored in the manifest.

    `mean` and `deviation` are grey levels in [0, 255] per channel R, G, B. `feature_mean` and `feature_precision`
    (inverse covariance) belong to `features`. `sharpness` is the median of `sharpness` over the training photographs.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    feature_mean: tuple[float, ...]
    feature_precision: tuple[tuple[float, ...], ...]
    sharpness: float

    @functools.cached_property
    def target(self) -> tuple[np.ndarray, np.ndarray, np.float32, np.float32]:
        """What `normalise` aims at, float32: (3,) mean and (3,) deviation, and both over all channels together."""
        mean, deviation = np.array(self.mean, np.float32), np.array(self.deviation, np.float32)
        return mean, deviation, mean.mean(), np.float32(np.sqrt(np.mean(deviation**2 + mean.var())))

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Distribution":
        """The inverse of `as_dict`; KeyError, TypeError or ValueError when fields are missing or of another kind."""
        return cls(
            mean=_triple(values["mean"]),
            deviation=_triple(values["deviation"]),
            feature_mean=tuple(float(value) for value in values["feature_mean"]),
            feature_precision=tuple(tuple(float(value) for value in row) for row in values["feature_precision"]),
            sharpness=float(values["sharpness"]),
        )


def normalise(image: np.ndarray, inside: np.ndarray, distribution: Distribution) -> np.ndarray:
    """The image as the networks want it.

    Args:
        image: (S, S, 3) uint8 or float32, grey levels in [0, 255].
        inside: (S, S) bool, the retina; everything else becomes 0 and does not count in the statistics.
        distribution: of the training photographs.
    Returns:
        (S, S, 3) float32, about [-3, 3]: over all training photographs mean 0 and deviation 1, channels keeping their
        relation to each other.
    """
    mean, deviation = channel_statistics(image, inside)
    target_mean, target_deviation, centre, spread = distribution.target
    gain = target_deviation / np.maximum(deviation, SMALLEST_DEVIATION) / spread
    shift = (target_mean - centre) / spread - mean * gain
    # numpy is slow where the last axis is short
    moved = cv2.transform(image.astype(np.float32, copy=False), np.column_stack([np.diag(gain), shift]))
    rows = moved.reshape(len(moved), -1)
    np.clip(rows, -LARGEST_VALUE, LARGEST_VALUE, out=rows)
    normalised: np.ndarray = cv2.copyTo(moved, inside.view(np.uint8))
    return normalised


def channel_statistics(image: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel over `inside`, two (3,) float32; 0 where nothing is inside."""
    if not inside.any():
        return np.zeros(3, np.float32), np.zeros(3, np.float32)
    mean, deviation = cv2.meanStdDev(image, mask=inside.astype(np.uint8))
    return mean[:3, 0].astype(np.float32), deviation[:3, 0].astype(np.float32)


def features(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Six numbers that tell a fundus photograph's colours from others: log of each channel's mean and deviation.

    Args:
        image: (S, S, 3) uint8; inside: (S, S) bool.
    Returns:
        (6,) float64.
    """
    mean, deviation = channel_statistics(image, inside)
    return np.log(np.concatenate([mean, deviation]).astype(np.float64) + 1.0)


def distance(image: np.ndarray, inside: np.ndarray, distribution: Distribution) -> float:
    """How far an image's colours are from the training photographs': 1 is typical, beyond 3 is foreign.

    Mahalanobis distance of `features`, divided by the root of their number. No unit.
    """
    deviation = features(image, inside) - np.array(distribution.feature_mean)
    square = float(deviation @ np.array(distribution.feature_precision) @ deviation)
    return float(np.sqrt(max(square, 0.0) / deviation.size))


def sharpness(image: np.ndarray, inside: np.ndarray) -> float:
    """Fine detail over contrast of the green channel: no unit, 0 for a flat image; blur lowers it, exposure does not.

    Args:
        image: (S, S, 3) uint8 or float32, the region of interest at the network's size; inside: (S, S) bool.
    """
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    if not core.any():
        return 0.0
    green = cv2.extractChannel(image, 1)
    deviation, detail = (
        float(cv2.meanStdDev(values, mask=core)[1][0, 0]) for values in (green, cv2.Laplacian(green, cv2.CV_32F))
    )
    return detail / max(deviation, SMALLEST_DEVIATION)


def estimate(
    roi_images: Sequence[tuple[np.ndarray, np.ndarray]],
    whole_images: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: Sequence[float],
) -> Distribution:
    """The statistics of training photographs.

    Args:
        roi_images: (image, inside) of each photograph's region of interest, as `normalise` takes them.
        whole_images: (image, inside) of each photograph's field of view, in the same order.
        weights: of each photograph, so that a source with many of them does not outweigh the others.
    """
    share = np.array(weights, np.float64) / np.sum(weights)
    statistics = np.array([channel_statistics(*pair) for pair in roi_images], np.float64)
    table = np.array([features(*pair) for pair in whole_images])
    mean = share @ table
    covariance = np.cov(table, rowvar=False, aweights=share)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    order = np.argsort(sharp := np.array([sharpness(*pair) for pair in roi_images]))
    median = sharp[order][np.searchsorted(np.cumsum(share[order]), 0.5)]
    return Distribution(
        mean=_triple(share @ statistics[:, 0]),
        deviation=_triple(share @ statistics[:, 1]),
        feature_mean=tuple(float(value) for value in mean),
        feature_precision=tuple(tuple(float(value) for value in row) for row in np.linalg.inv(covariance)),
        sharpness=float(median),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
