"""IDRiD (Porwal et al. 2018), its part A: 81 photographs with the disc's mask; no cup.

    A. Segmentation/1. Original Images/a. Training Set | b. Testing Set/IDRiD_01.jpg
    A. Segmentation/2. All Segmentation Groundtruths/a. Training Set | b. Testing Set/5. Optic Disc/IDRiD_01_OD.tif

A mask has a palette of two: 0 outside, 1 inside.
"""

from pathlib import Path

from training.sources.example import Example
from training.sources.listing import Listing
from training.sources.outlines import MaskPair

PARTS = {"training": "a. Training Set", "test": "b. Testing Set"}


def read_source(folder: Path, name: str, part: str = "all") -> list[Example]:
    """The examples of IDRiD.

    Args:
        folder: holds the folder `A. Segmentation`.
        name: of the source, in reports.
        part: "training", "test" or "all".
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    top = folder / "A. Segmentation"
    parts = {each: top / "1. Original Images" / path for each, path in PARTS.items()}
    for each in listing.chosen(part, parts):
        masks = top / "2. All Segmentation Groundtruths" / PARTS[each] / "5. Optic Disc"
        for image in listing.photographs(parts[each], r"IDRiD_\d+"):
            listing.add(image, MaskPair(masks / f"{image.stem}_OD.tif", None), "full", cup=False)
    return listing.examples()
