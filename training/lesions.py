"""Bright lesions, drawn on the retina: hard exudates and cotton-wool spots, as diabetes and high pressure leave them.

Few sources with an annotated disc show any, and a network that never saw them takes the largest for the disc.
Clinical picture: Early Treatment Diabetic Retinopathy Study 1991, doi 10.1016/S0161-6420(13)38012-9.
"""

from typing import Any

import cv2
import numpy as np

YELLOW = np.array([238.0, 205.0, 105.0])  # of hard exudates; cotton wool is whiter
WHITER = np.array([5.0, 20.0, 70.0])
FINEST, LARGEST = 0.004, 0.09  # of the picture's side: radius of one spot; plaques are several that touch


def draw_lesions(image: np.ndarray, inside: np.ndarray, disc: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The photograph with bright spots and plaques, anywhere on the retina but not on the disc.

    Args:
        image: (S, S, 3) uint8.
        inside: (S, S) uint8, 1 where retina is seen.
        disc: (S, S) uint8, 0 to 255.
    Returns:
        (S, S, 3) uint8.
    """
    size = image.shape[0]
    spots: Any = np.zeros((size, size), np.float32)
    largest = LARGEST * random.uniform(0.1, 1) ** 2
    for _ in range(random.integers(1, 4)):
        middle, spread = random.uniform(0.05, 0.95, 2) * size, random.uniform(0.01, 0.14) * size
        for _ in range(random.integers(1, 25)):
            x, y = (int(value) for value in middle + random.normal(0, spread, 2))
            # small ones are many, large ones few
            radii = size * np.exp(random.uniform(np.log(FINEST), np.log(max(largest, 1.5 * FINEST)), 2))
            wide, high = (max(1, round(float(radius))) for radius in radii)
            cv2.ellipse(spots, (x, y), (wide, high), random.uniform(0, 180), 0, 360, random.uniform(0.5, 1), cv2.FILLED)
    spots = cv2.GaussianBlur(spots, (0, 0), max(0.4, random.uniform(0.001, 0.008) * size))
    seen = cv2.dilate(disc, np.ones((3, 3), np.uint8)).astype(np.float32) / 255
    spots *= inside * (1 - seen)
    light = float(np.percentile(image[inside > 0], 90)) / 160 if inside.any() else 1.0  # no lesion shines by itself
    colour = (YELLOW + random.uniform(0, 1) * WHITER + random.normal(0, 10, 3)) * min(light, 1.1)
    share = (spots * random.uniform(0.5, 1))[..., None]
    pixels: np.ndarray = np.clip(image + share * np.maximum(colour - image, 0), 0, 255).astype(np.uint8)
    return pixels
