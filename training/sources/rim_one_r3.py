"""RIM-ONE r3 (Fumero et al. 2015): 159 stereo pairs side by side, of which the left one is annotated.

Healthy | Glaucoma and suspects/
    Stereo Images/<id>.jpg                                                  <id> as G-1-L, N-12-R, S-3-R
    Average_masks/<id>-Disc-Avg.png, <id>-Cup-Avg.png                       0 outside, 255 inside
    Expert1_masks/<id>-1-Disc-exp1.png, <id>-1-Cup-exp1.png                 Expert2_masks with exp2
"""

from pathlib import Path

from training.sources.example import Example
from training.sources.listing import Listing
from training.sources.outlines import MaskPair

GROUPS = ("Glaucoma and suspects", "Healthy")


def read_source(folder: Path, name: str, expert: str = "average") -> list[Example]:
    """The examples of RIM-ONE r3, the left half of each pair.

    Args:
        folder: holds both groups' folders.
        name: of the source, in reports.
        expert: "1", "2" or "average".
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    for group in GROUPS:
        for image in listing.photographs(folder / group / "Stereo Images", r"[GNS]-\d+-[LR]"):
            masks = folder / group / ("Average_masks" if expert == "average" else f"Expert{expert}_masks")
            pattern = f"{image.stem}-{{}}-Avg.png" if expert == "average" else f"{image.stem}-1-{{}}-exp{expert}.png"
            disc, cup = (masks / pattern.format(what) for what in ("Disc", "Cup"))
            glaucoma = {"G": True, "N": False}.get(image.stem[0])  # S is a suspect
            listing.add(image, MaskPair(disc, cup, left_half=True), "full", left_half=True, glaucoma=glaucoma)
    return listing.examples()
