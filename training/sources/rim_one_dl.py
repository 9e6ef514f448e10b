"""RIM-ONE DL (Fumero Batista et al. 2020): 485 crops around the disc, the disc three quarters of their height.

RIM-ONE_DL_images/partitioned_randomly | partitioned_by_hospital/
    training_set | test_set/glaucoma | normal/<id>.png
RIM-ONE_DL_reference_segmentations/glaucoma | normal/<id>-1-Disc-T.png, <id>-1-Cup-T.png    0 outside, 255 inside
"""

from pathlib import Path

from training.sources.example import Example
from training.sources.listing import Listing
from training.sources.outlines import MaskPair


def read_source(folder: Path, name: str, part: str = "all", partition: str = "randomly") -> list[Example]:
    """The examples of RIM-ONE DL.

    Args:
        folder: holds both folders of the data set.
        name: of the source, in reports.
        part: "training", "test" or "all".
        partition: "randomly" or "by_hospital"; decides what is in which part.
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    images = folder / "RIM-ONE_DL_images" / f"partitioned_{partition}"
    parts = {"training": images / "training_set", "test": images / "test_set"}
    for each in listing.chosen(part, parts):
        for image in listing.photographs(parts[each], r"r[123]_.+"):
            masks = folder / "RIM-ONE_DL_reference_segmentations" / image.parent.name
            disc, cup = (masks / f"{image.stem}-1-{what}-T.png" for what in ("Disc", "Cup"))
            listing.add(image, MaskPair(disc, cup), "crop", glaucoma=image.parent.name == "glaucoma")
    return listing.examples()
