"""Which way is up: what EXIF says of a photograph, and the pixels turned so."""

import numpy as np
from PIL.ImageFile import ImageFile

EXIF_ORIENTATION = 274
TRANSPOSING = (5, 6, 7, 8)  # orientations that exchange width and height


def orientation_of(image: ImageFile) -> int:
    """EXIF orientation, 1 to 8, of a loaded image; 1 where there is none, or where EXIF is damaged."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # as many kinds as in decode; no viewer refuses a photograph for its EXIF
        return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C), or (W, H, C) turned, as a view."""
    if orientation in TRANSPOSING:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
