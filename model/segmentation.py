"""What is said of one photograph: outlines, numbers, and whether they may be read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.biomarkers import Ratios, Region
from model.masks import Label, Patch
from model.retina import Frame

REASONS = ("disc_not_found", "too_blurred", "outside_training_distribution", "cup_uncertain")


@dataclass(frozen=True)
class Interval:
    """The true ratio lies in [low, high] for the share `coverage` of photographs like those it was calibrated on."""

    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Segmentation:
    """The answer for one photograph.

    `drawn` is (H, W) uint8 of `Label`, all that the network drew, refused or not, and `drawn_ratios` its ratios, both
    for evaluation (as are the raw confidences, 0 where there is nothing); `label_mask` is what may be shown. Of both,
    `patch` and `shown` hold the only part that is not background. `locator_confidence` is how decided the locator was
    that there is one disc, in [0, 1].
    Regions, ratios and confidences are None where the photograph does not give them; `gradable` says whether the ratio
    may be read, `reasons` (of `REASONS`) why not. `distance_from_training` is 1 for a typical training photograph,
    `sharpness` likewise, None where no region was found. `timings_ms` holds locate, segment and
    measure; a batch's network time is shared evenly. `roi` and `probabilities`, (S, S, 2) of disc and cup on its grid,
    are for evaluation too; None where no region was found. `coarse` says that the photograph came too much reduced: its
    region had fewer pixels than the segmenter sees, and the whole photograph will have a better answer.
    """

    patch: Patch
    gradable: bool
    reasons: tuple[str, ...]
    disc: Region | None
    cup: Region | None
    ratios: Ratios | None
    drawn_ratios: Ratios | None
    vertical_interval: Interval | None
    disc_confidence: float | None
    cup_confidence: float | None
    raw_disc_confidence: float
    raw_cup_confidence: float
    cup_outside: float
    locator_confidence: float
    distance_from_training: float
    sharpness: float | None
    timings_ms: dict[str, float]
    roi: Frame | None = None
    probabilities: np.ndarray | None = None
    coarse: bool = False

    @property
    def drawn(self) -> np.ndarray:
        """(H, W) uint8 of `Label`."""
        return self.patch.whole

    @cached_property
    def shown(self) -> Patch:
        """Labels: no cup where the photograph is not gradable, nothing where no disc was found."""
        if self.gradable:
            return self.patch
        values = self.patch.values
        return self.patch.having(
            np.minimum(values, np.uint8(Label.RIM)) if self.disc is not None else np.zeros_like(values)
        )

    @property
    def label_mask(self) -> np.ndarray:
        """(H, W) uint8 of `Label`: `shown` with all that lies around it."""
        return self.shown.whole
