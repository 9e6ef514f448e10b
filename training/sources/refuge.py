"""REFUGE (Orlando et al. 2020): 1200 photographs of two cameras.

    Training400/Glaucoma/g0001.jpg, Non-Glaucoma/n0001.jpg      Annotation-Training400/Disc_Cup_Masks/**/g0001.bmp
    REFUGE-Validation400/V0001.jpg                              REFUGE-Validation400-GT/Disc_Cup_Masks/V0001.bmp
    REFUGE-Test400/T0001.jpg                                    REFUGE-Test-GT/Disc_Cup_Masks/**/T0001.bmp

A mask holds 0 for the cup, 128 for the rim and 255 for the background. Copies are about whose masks have a palette
instead, with the indices 0 for the background, 1 for the rim and 2 for the cup: they are read as well.
"""

from dataclasses import dataclass
from pathlib import Path

from training.sources.example import Example, Shares
from training.sources.listing import Listing
from training.sources.outlines import read_mask, split_values

MASKS = "Disc_Cup_Masks"
IMAGES = {
    "training": ("Training400", "REFUGE-Training400"),
    "validation": ("REFUGE-Validation400",),
    "test": ("REFUGE-Test400", "Test400"),
}
ANNOTATIONS = {
    "training": "Annotation-Training400",
    "validation": "REFUGE-Validation400-GT",
    "test": "REFUGE-Test-GT",
}


@dataclass(frozen=True)
class RefugeMask:
    """One mask with three values, in one of two encodings."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        values = read_mask(self.path, shape)
        background, rim, cup = (0, 1, 2) if values.max() <= 2 else (255, 128, 0)
        return split_values(self.path, values, background, rim, cup)


def read_source(folder: Path, name: str, part: str = "all") -> list[Example]:
    """The examples of REFUGE.

    Args:
        folder: holds the folders above, or those of some parts.
        name: of the source, in reports.
        part: "training", "validation", "test" or "all".
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    listing = Listing(folder, name)
    parts = {
        each: next((folder / path for path in names if (folder / path).is_dir()), folder / names[0])
        for each, names in IMAGES.items()
    }
    for each in listing.chosen(part, parts):
        annotations = folder / ANNOTATIONS[each]
        masks = {path.stem: path for path in annotations.rglob("*.bmp") if MASKS in path.parts}
        for image in listing.photographs(parts[each], r"[gnVT]\d{4}"):
            group = image.parent.relative_to(parts[each])  # as in the official layout, for the name of a missing mask
            mask = masks.get(image.stem, annotations / MASKS / group / f"{image.stem}.bmp")
            glaucoma = image.stem[0] == "g" if each == "training" else None  # the other parts' diagnoses came later
            listing.add(image, RefugeMask(mask), "full", glaucoma=glaucoma)
    return listing.examples()
