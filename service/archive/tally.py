"""What an archive looks like as a whole: counts that can be added up on many machines, in any order."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RATIO_BINS = 50  # of vertical ratios from 0 to 1
DISTANCE_BIN = 0.25  # width of a bin of distances from the training distribution
DISTANCE_BINS = 24  # the last one holds everything beyond
SHARPNESS_BIN = 0.1
SHARPNESS_BINS = 30  # likewise


@dataclass
class Tally:
    """Some photographs, counted. Histograms hold counts by bin."""

    photographs: int = 0
    gradable: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ratios: list[int] = field(default_factory=lambda: [0] * RATIO_BINS)
    distances: list[int] = field(default_factory=lambda: [0] * DISTANCE_BINS)
    sharpness: list[int] = field(default_factory=lambda: [0] * SHARPNESS_BINS)
    ratio_sum: float = 0.0
    distance_square_sum: float = 0.0

    @property
    def answered(self) -> int:
        """Photographs that were no dead letters."""
        return self.photographs - self.errors.total()

    @property
    def mean_ratio(self) -> float | None:
        """Of the gradable photographs; None without any."""
        return self.ratio_sum / self.gradable if self.gradable else None

    @property
    def mean_square_distance(self) -> float | None:
        """1 over photographs like the training ones, by the definition of the distance; larger is drift."""
        return self.distance_square_sum / self.answered if self.answered else None

    def add(self, row: Mapping[str, str]) -> "Tally":
        """Count one row of the table."""
        self.photographs += 1
        if row.get("error"):
            self.errors[row["error"]] += 1
            return self
        if row["gradable"] == "true":
            self.gradable += 1
            self.ratio_sum += float(row["vertical_ratio"])
            self.ratios[_bin(float(row["vertical_ratio"]), 1 / RATIO_BINS, RATIO_BINS)] += 1
        self.reasons.update(row.get("reasons", "").split())
        distance = float(row["distance_from_training"])
        self.distance_square_sum += distance**2
        self.distances[_bin(distance, DISTANCE_BIN, DISTANCE_BINS)] += 1
        if "sharpness" in row:
            self.sharpness[_bin(float(row["sharpness"]), SHARPNESS_BIN, SHARPNESS_BINS)] += 1
        return self

    def merge(self, other: "Tally") -> "Tally":
        """Count what another one counted."""
        self.photographs += other.photographs
        self.gradable += other.gradable
        self.errors.update(other.errors)
        self.reasons.update(other.reasons)
        for name in ("ratios", "distances", "sharpness"):
            ours, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, [one + more for one, more in zip(ours, theirs, strict=True)])
        self.ratio_sum += other.ratio_sum
        self.distance_square_sum += other.distance_square_sum
        return self

    def as_dict(self) -> dict[str, Any]:
        """As JSON types, with what follows from the counts."""
        return {
            "photographs": self.photographs,
            "answered": self.answered,
            "gradable": self.gradable,
            "mean_vertical_ratio": _rounded(self.mean_ratio),
            "mean_square_distance": _rounded(self.mean_square_distance),
            "errors": dict(sorted(self.errors.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "vertical_ratios": self.ratios,
            "distances": self.distances,
            "sharpness": self.sharpness,
            "ratio_sum": self.ratio_sum,
            "distance_square_sum": self.distance_square_sum,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tally":
        """The inverse of `as_dict`."""
        return cls(
            values["photographs"],
            values["gradable"],
            Counter(values["errors"]),
            Counter(values["reasons"]),
            list(values["vertical_ratios"]),
            list(values["distances"]),
            list(values["sharpness"]),
            values["ratio_sum"],
            values["distance_square_sum"],
        )


def folder_of(name: str) -> str:
    """The folder of a photograph, up to its last `/`."""
    return name.rpartition("/")[0]


def _bin(value: float, width: float, bins: int) -> int:
    return min(bins - 1, int(value / width + 1e-9))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
