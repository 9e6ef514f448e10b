"""Drishti-GS1 (Sivaswamy et al. 2014): 101 photographs, each pixel marked by none to four experts.

    Training/Images/**/drishtiGS_002.png         Training/GT/drishtiGS_002/SoftMap/drishtiGS_002_ODsegSoftmap.png
    Test/Images/**/drishtiGS_001.png             Test/Test_GT/...                 drishtiGS_002_cupsegSoftmap.png

A soft map holds 0, 64, 128, 191 or 255: no expert, one, two, three, all four.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.sources.example import Example, InvalidSource, Shares
from training.sources.listing import Listing
from training.sources.outlines import read_mask

LEVELS = (0, 64, 128, 191, 255)  # in a soft map, by how many of the four experts
ANNOTATIONS = {"Training": "GT", "Test": "Test_GT"}


@dataclass(frozen=True)
class SoftMaps:
    """How many experts saw disc and cup in each pixel; with `experts`, whether as many did."""

    disc: Path
    cup: Path
    experts: int | None  # None: their share itself

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.disc, self.cup)

    @property
    def variant(self) -> str | None:
        return "soft" if self.experts is None else f"{self.experts} of 4 experts"

    def read(self, shape: tuple[int, int]) -> Shares:
        return Shares(self._share(self.disc, shape), self._share(self.cup, shape))

    def _share(self, path: Path, shape: tuple[int, int]) -> np.ndarray:
        marked = read_mask(path, shape)
        if not np.isin(marked, LEVELS).all():
            raise InvalidSource(f"{path}: must hold {LEVELS}; holds {np.unique(marked)[:8].tolist()}")
        if self.experts is None:
            return marked
        return np.where(marked >= LEVELS[self.experts], 255, 0).astype(np.uint8)


def read_source(folder: Path, name: str, part: str = "all", experts: str = "2") -> list[Example]:
    """The examples of Drishti-GS1.

    Args:
        folder: holds the folders Training and Test, or one of them.
        name: of the source, in reports.
        part: "training", "test" or "all".
        experts: "2", "3" or "4" that must agree, or "soft": what trains is the share of experts in each pixel, and what
            is measured is where two or more agree.
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    parts = {part.lower(): folder / part / "Images" for part in ANNOTATIONS}
    for each in listing.chosen(part, parts):
        for image in listing.photographs(parts[each], r"drishtiGS_\d{3}"):
            truth = folder / each.capitalize() / ANNOTATIONS[each.capitalize()] / image.stem / "SoftMap"
            disc, cup = (truth / f"{image.stem}_{what}segSoftmap.png" for what in ("OD", "cup"))
            listing.add(image, SoftMaps(disc, cup, None if experts == "soft" else int(experts)), "full")
    return listing.examples()
