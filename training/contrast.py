"""Cup, rim and retina brighter or darker apart from each other: rims dark as the retina, cups hardly paler than rims.

Where a source's discs all stand out, a network takes the palest part for the disc; on a camera or an eye whose rim has
the retina's colour that part is the cup.
"""

import cv2
import numpy as np

RIM = (-0.3, 0.7)  # of the rim's contrast to the retina that is taken away; less than 0 adds to it
CUP = (-0.4, 0.5)  # of the cup's contrast to the rim
TINT = 6.0  # grey levels, deviation of each region's own colour
SOFTEST = 0.02  # of the picture's side: deviation of the blur that hides a region's border


def vary_contrast(image: np.ndarray, disc: np.ndarray, cup: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The photograph with other contrasts between its regions; as it is where no disc is seen.

    Args:
        image: (S, S, 3) uint8.
        disc, cup: (S, S) uint8, 0 to 255; a cup that is not annotated is 0 throughout.
    Returns:
        (S, S, 3) uint8.
    """
    inside = (disc > 127).astype(np.uint8)
    if np.count_nonzero(inside) < 30:
        return image
    pale = (cup > 127).astype(np.uint8)
    reach = 2 * max(1, round(0.3 * (np.count_nonzero(inside) / np.pi) ** 0.5)) + 1
    ring = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) - inside
    retina, rim = _colour(image, ring), _colour(image, inside - cv2.min(inside, pale))
    softness = max(0.3, random.uniform(0, SOFTEST) * image.shape[0])
    disc_share, cup_share = (cv2.GaussianBlur(each, (0, 0), softness).astype(np.float32) / 255 for each in (disc, cup))
    change = disc_share[..., None] * (random.uniform(*RIM) * (retina - rim) + random.normal(0, TINT, 3)).astype("f4")
    if pale.any():
        away = random.uniform(*CUP) * (rim - _colour(image, pale)) + random.normal(0, TINT, 3)
        change = change + cup_share[..., None] * away.astype(np.float32)
    pixels: np.ndarray = np.clip(image + change, 0, 255).astype(np.uint8)
    return pixels


def _colour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.array(cv2.mean(image, mask=mask)[:3])
