"""Photographs that are one and the same eye, across sources and splits: a perceptual hash of the crop around the disc.

Each crop is cut by the disc's annotated box, so that a whole photograph and a crop of it come to one scale. Its green
channel is flattened (background and contrast taken away, vessels left) and transformed; the signs of the lowest
frequencies are the hash. Two annotators' boxes differ, so one of each two crops is also shifted and scaled a little,
and mirrored, and the smallest difference counts.

Measured on 808 annotated photographs of six sources: two photographs of different eyes differ in 67 bits of 255 at
least; copies that were reduced to a half, saved as JPEG of quality 30 to 80, made brighter or darker by a fifth and cut
by a box that is off by a tenth differ in 28 in the middle and in 52 at most.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from rich.table import Table

from model.biomarkers import measure
from model.retina import Frame
from training.cache import Cache
from training.sources.example import Example, InvalidSource, read_each
from training.split import Split

DIAMETERS = 1.2  # side of the crop over the longer side of the disc's box; RIM-ONE's crops show 1.3
CROP_SIZE = 96  # pixels, for shifting and scaling
HASH_SIZE = 32  # pixels, for transforming
FREQUENCIES = 16  # along each axis
BITS = FREQUENCIES**2 - 1  # the mean is no part of it
LIMIT = 58  # bits; two photographs that differ in no more are reported
SCALES = (0.94, 1.0, 1.06)
SHIFTS = (-0.04, 0.0, 0.04)  # of the disc's box


@dataclass(frozen=True)
class Photograph:
    """One photograph of a run and what the run does with it: "training", "held out" or "left out"."""

    source: str
    id: str
    use: str


@dataclass(frozen=True)
class Pair:
    """Two photographs of one eye, as it seems."""

    first: Photograph
    second: Photograph
    bits: int  # that differ, of BITS
    mirrored: bool

    @property
    def leaks(self) -> bool:
        """One of the two is trained on and the other one judges."""
        return (self.first.use == "training") != (self.second.use == "training")


def find_duplicates(
    splits: dict[str, Split], watch: Callable[[], None] = lambda: None, cache: Cache | None = None
) -> list[Pair]:
    """Every pair of photographs that differ in `LIMIT` bits at most; those that leak come first, then the closest.

    Args:
        splits: by source, as `training.split.read_splits` gives them.
        watch: called after each photograph.
        cache: the photographs as they were prepared, which are then not decoded.
    Raises:
        InvalidSource: lists every photograph or annotation that cannot be read.
        InvalidCache: a photograph is not prepared.
    """
    photographs = [
        (Photograph(name, example.id, use), example)
        for name, split in splits.items()
        for use, examples in (("training", split.training), (_other(split), split.held_out))
        for example in examples
    ]
    examples = [example for _, example in photographs]
    crops = read_each(examples, _cut, watch) if cache is None else cache.hashes(examples)
    pairs = [
        Pair(photographs[i][0], photographs[j][0], bits, mirrored) for i, j, bits, mirrored in similar_crops(crops)
    ]
    return sorted(pairs, key=lambda pair: (not pair.leaks, pair.bits))


def similar_crops(crops: list[np.ndarray], limit: int = LIMIT) -> list[tuple[int, int, int, bool]]:
    """(i, j, differing bits, mirrored) of every two crops that differ in `limit` bits at most; i < j.

    Args:
        crops: as `disc_crop` cuts them.
    """
    plain = np.array([_hash(crop) for crop in crops], np.float32).reshape(-1, BITS)
    nearest: dict[tuple[int, int], tuple[int, bool]] = {}
    for i, crop in enumerate(crops):
        changed = _changed(crop)
        variants = np.array([_hash(each) for each in (*changed, *(each[:, ::-1] for each in changed))], np.float32)
        differing = ((BITS - variants @ plain.T) / 2).round().astype(int)
        for j in np.flatnonzero(differing.min(0) <= limit):
            if i == j:
                continue
            best = int(differing[:, j].argmin())
            found = (int(differing[best, j]), best >= len(changed))
            key = (min(i, int(j)), max(i, int(j)))
            nearest[key] = min(nearest.get(key, found), found)
    return [(i, j, bits, mirrored) for (i, j), (bits, mirrored) in sorted(nearest.items())]


def disc_crop(photograph: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The square around the disc's box, at one scale for every photograph.

    Args:
        photograph: (H, W, 3) uint8.
        labels: (H, W) uint8 of `Label`.
    Returns:
        (CROP_SIZE, CROP_SIZE) uint8, the green channel.
    Raises:
        InvalidSource: there is no disc.
    """
    disc = measure(labels).disc
    if disc is None:
        raise InvalidSource("no disc")
    box = disc.box
    side = max(1, round(DIAMETERS * max(box.width, box.height)))
    frame = Frame(round(box.left + (box.width - side) / 2), round(box.top + (box.height - side) / 2), side)
    return frame.cut(np.ascontiguousarray(photograph[..., 1]), CROP_SIZE)


def duplicates_table(pairs: list[Pair]) -> Table:
    """The pairs, for people."""
    table = Table(title=f"near-duplicate photographs: at most {LIMIT} of {BITS} bits differ")
    for column in ("", "photograph", "use", "photograph", "use", "bits", "mirrored"):
        table.add_column(column, justify="right" if column == "bits" else "left")
    for pair in pairs:
        names = [(f"{each.source}/{each.id}", each.use) for each in (pair.first, pair.second)]
        mirrored = "mirrored" if pair.mirrored else ""
        table.add_row("leak" if pair.leaks else "", *names[0], *names[1], str(pair.bits), mirrored)
    return table


def _other(split: Split) -> str:
    return "left out" if split.left_out else "held out"


def _cut(example: Example) -> np.ndarray:
    photograph = example.read_photograph()
    return disc_crop(photograph, example.read_labels(photograph.shape[:2]))


def _changed(crop: np.ndarray) -> list[np.ndarray]:
    """The crop as somewhat different boxes would have cut it."""
    middle = CROP_SIZE / 2 - 0.5
    changed = []
    for scale in SCALES:
        for right in SHIFTS:
            for down in SHIFTS:
                away = middle * (1 - scale) + np.array([right, down]) * CROP_SIZE / DIAMETERS
                matrix = np.array([[scale, 0, away[0]], [0, scale, away[1]]])
                size = (CROP_SIZE, CROP_SIZE)
                changed.append(cv2.warpAffine(crop, matrix, size, borderMode=cv2.BORDER_REPLICATE))
    return changed


def _hash(crop: np.ndarray) -> np.ndarray:
    """(BITS,) of -1 and 1: signs of the lowest frequencies of the flattened crop."""
    small = cv2.resize(crop, (HASH_SIZE, HASH_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    blur = HASH_SIZE / 8
    small -= cv2.GaussianBlur(small, (0, 0), blur)
    small /= np.sqrt(cv2.GaussianBlur(small**2, (0, 0), blur)) + 2  # 2 grey levels: noise stays noise
    return np.where(cv2.dct(small)[:FREQUENCIES, :FREQUENCIES].ravel()[1:] >= 0, 1, -1)
