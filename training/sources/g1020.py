"""G1020 (Bajwa et al. 2020), as commonly distributed: 1020 photographs, the cup outlined where it could be seen.

Images/image_0.jpg
Masks/image_0.png         0 background, 1 rim, 2 cup; without a 2 the cup is unknown
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from training.sources.example import Example, InvalidSource
from training.sources.listing import Listing
from training.sources.outlines import LabelMask, read_mask


def read_source(folder: Path, name: str) -> list[Example]:
    """The examples of G1020; opens every mask, to see where a cup is annotated.

    Args:
        folder: holds Images and Masks.
        name: of the source, in reports.
    Raises:
        InvalidSource: lists every file that is missing or odd, and every mask that cannot be read.
    """
    listing = Listing(folder, name)
    images = listing.photographs(folder / "Images", r"image_\d+")
    masks = [LabelMask(folder / "Masks" / f"{image.stem}.png") for image in images]
    with ThreadPoolExecutor(2) as pool:
        cups = list(pool.map(_has_cup, masks))
    for image, mask, cup in zip(images, masks, cups, strict=True):
        if isinstance(cup, InvalidSource):
            listing.problem(str(cup))
        listing.add(image, mask, "full", cup=cup is True)
    return listing.examples()


def _has_cup(mask: LabelMask) -> bool | InvalidSource:
    if not mask.path.is_file():
        return False  # told when it is added
    try:
        return bool((read_mask(mask.path) == mask.cup).any())
    except InvalidSource as error:
        return error
