"""ORIGA (Zhang et al. 2010), as commonly distributed: 650 photographs.

Images/001.jpg
Semi-automatic-annotations/001.mat        variable `mask`: 0 background, 1 rim, 2 cup
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.sources.example import Example, InvalidSource, Shares
from training.sources.listing import Listing
from training.sources.outlines import split_values

VARIABLE = "mask"


@dataclass(frozen=True)
class MatlabMask:
    """A label mask in a MATLAB file, up to version 7."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        from scipy.io import loadmat

        try:
            mask = np.asarray(loadmat(self.path, variable_names=[VARIABLE])[VARIABLE])
        except Exception as error:  # of a damaged file, scipy raises what it meets: zlib's, struct's and its own
            raise InvalidSource(f"{self.path}: no MATLAB file with the variable `{VARIABLE}`: {error}") from error
        if mask.shape != shape:
            raise InvalidSource(f"{self.path}: `{VARIABLE}` is {mask.shape}, its photograph {shape}")
        return split_values(self.path, mask, 0, 1, 2)


def read_source(folder: Path, name: str) -> list[Example]:
    """The examples of ORIGA.

    Args:
        folder: holds Images and Semi-automatic-annotations.
        name: of the source, in reports.
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    for image in listing.photographs(folder / "Images", r"\d{3}"):
        mask = folder / "Semi-automatic-annotations" / f"{image.stem}.mat"
        listing.add(image, MatlabMask(mask), "full")
    return listing.examples()
