"""PAPILA (Kovalyk et al. 2022): 488 photographs of both eyes of 244 patients, outlined by two experts.

FundusImages/RET002OD.jpg
ExpertsSegmentations/Contours/RET002OD_disc_exp1.txt, _cup_exp1.txt, _disc_exp2.txt, _cup_exp2.txt     lines `x y`
"""

from pathlib import Path

from training.sources.example import Example
from training.sources.listing import Listing
from training.sources.outlines import ContourPair


def read_source(folder: Path, name: str, expert: str = "1") -> list[Example]:
    """The examples of PAPILA.

    Args:
        folder: holds FundusImages and ExpertsSegmentations.
        name: of the source, in reports.
        expert: "1" or "2".
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    contours = folder / "ExpertsSegmentations" / "Contours"
    for image in listing.photographs(folder / "FundusImages", r"RET\d{3}O[DS]"):
        disc, cup = (contours / f"{image.stem}_{what}_exp{expert}.txt" for what in ("disc", "cup"))
        listing.add(image, ContourPair(disc, cup), "full", person=image.stem.removesuffix("OD").removesuffix("OS"))
    return listing.examples()
