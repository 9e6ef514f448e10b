"""DRIONS-DB (Carmona et al. 2008): 110 photographs of 600 x 400 pixels, the disc outlined by two experts; no cup.

images/image_001.jpg
experts_annotation/anotExpert1_001.txt, anotExpert2_001.txt         36 lines `x , y`, a closed contour
"""

from pathlib import Path

from training.sources.example import Example
from training.sources.listing import Listing
from training.sources.outlines import ContourPair

CONTOURS = ("experts_annotation", "experts_anotation")  # the second as some copies spell it


def read_source(folder: Path, name: str, expert: str = "1") -> list[Example]:
    """The examples of DRIONS-DB.

    Args:
        folder: holds images and experts_annotation.
        name: of the source, in reports.
        expert: "1" or "2".
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    contours = next((folder / each for each in CONTOURS if (folder / each).is_dir()), folder / CONTOURS[0])
    for image in listing.photographs(folder / "images", r"image_\d{3}"):
        contour = contours / f"anotExpert{expert}_{image.stem.removeprefix('image_')}.txt"
        listing.add(image, ContourPair(contour, None), "full", cup=False)
    return listing.examples()
