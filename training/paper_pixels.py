"""Photographs as Civit-Masot et al. 2019 gave them to their networks: cut, reduced, equalised, multiplied, varied.

Facts from the authors' notebook, github.com/javicivit/TPU-UNET; the code is ours.
"""

import cv2
import numpy as np
from skimage.exposure import equalize_adapthist

from model.biomarkers import measure
from training.sources.example import HALF, Example, InvalidSource, labels_of


def cut(example: Example, output: str, size: int, middle: float) -> tuple[np.ndarray, np.ndarray]:
    """One photograph for one network: the disc's box where the cup is looked for, else the middle of the photograph.

    Args:
        output: "cup" or "disc".
        size: pixels of a side; both axes are resampled to it, each by itself, by the nearest pixel.
        middle: share of height and width.
    Returns:
        (size, size, 3) uint8, and (size, size) bool.
    Raises:
        InvalidSource: unreadable, or without a disc.
    """
    photograph = example.read_photograph()
    shares = example.read_shares(photograph.shape[:2])
    if output == "cup":
        disc = measure(labels_of(shares)).disc
        if disc is None:
            raise InvalidSource(f"{example.image}: no disc")
        box = disc.box
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    else:
        rows, columns = (_middle(length, middle) for length in photograph.shape[:2])
    mask = (shares.cup if output == "cup" else shares.disc)[rows, columns] >= HALF
    image = cv2.resize(photograph[rows, columns], (size, size), interpolation=cv2.INTER_NEAREST)
    return image, cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)


def equalise(image: np.ndarray, clip_limit: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the brightness.

    Args:
        image: (S, S, 3) uint8, or float32 in [0, 1].
    Returns:
        (S, S, 3) float32 in [0, 1].
    """
    equal: np.ndarray = equalize_adapthist(image, clip_limit=clip_limit).astype(np.float32)
    return equal


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """The same colours, brighter or darker; (S, S, 3) float32 in [0, 1], as is the answer."""
    changed = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    changed[..., 2] = np.minimum(changed[..., 2] * factor, 1)
    brighter: np.ndarray = np.clip(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), 0, 1)
    return brighter


def enlarge(image: np.ndarray, clip_limits: tuple[float, ...], brightness: tuple[float, ...]) -> list[np.ndarray]:
    """An equalised image, then equalised once more with each limit, then with each brightness."""
    again = [equalise(image, limit) for limit in clip_limits]
    return [image, *again, *(brighten(image, factor) for factor in brightness)]


def vary(
    image: np.ndarray, mask: np.ndarray, rotation_deg: float, shift: float, zoom: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rotate, shift, zoom each axis by itself, and mirror either way; black comes in from outside.

    Args:
        image: (S, S, 3) float32; mask: (S, S) float32.
        shift: of the side; zoom: of the scale, up or down.
    Returns:
        Both, moved alike.
    """
    size = image.shape[0]
    turn = np.deg2rad(random.uniform(-rotation_deg, rotation_deg))
    scales = random.uniform(1 - zoom, 1 + zoom, 2) * random.choice([-1, 1], 2)
    away = random.uniform(-shift, shift, 2) * size
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scales
    centre = np.full(2, size / 2 - 0.5)
    matrix = np.column_stack([linear, centre + away - linear @ centre])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags), cv2.warpAffine(
        mask, matrix, (size, size), flags=flags
    )


def _middle(length: int, share: float) -> slice:
    margin = round(length * (1 - share) / 2)
    return slice(margin, length - margin)
