"""Flare: light that reaches the camera past the pupil's edge, a bright crescent along one side of the field of view.

It is yellow, green or white, often the brightest thing in the picture, and frequent in some sources (Drishti-GS1).
"""

import math

import cv2
import numpy as np

PALEST, GREENEST = np.array([250.0, 235.0, 190.0]), np.array([150.0, 160.0, 25.0])


def draw_flare(image: np.ndarray, inside: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The photograph with flare at its field's edge; as it is where no edge is seen.

    Args:
        image: (S, S, 3) uint8.
        inside: (S, S) uint8, 1 where retina is seen.
    Returns:
        (S, S, 3) uint8.
    """
    size = image.shape[0]
    lit = np.count_nonzero(inside)
    if not 0 < lit < inside.size:
        return image
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    radius = math.sqrt(lit / math.pi)
    moments = cv2.moments(inside, binaryImage=True)
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    share = np.zeros((size, size), np.float32)
    for _ in range(random.integers(1, 3)):
        angle, reach = random.uniform(0, 2 * math.pi), random.uniform(0.2, 0.9)
        side = ((columns - x) * math.cos(angle) + (rows - y) * math.sin(angle)) / radius  # 1 at that edge
        there = np.clip((side - reach + 0.15) / 0.3, 0, 1)
        thick = radius * random.uniform(0.03, 0.35)
        share = np.maximum(share, random.uniform(0.3, 1) * there * np.exp(-((within / thick) ** random.uniform(1, 3))))
    colour = GREENEST + random.uniform(0, 1) * (PALEST - GREENEST) + random.normal(0, 12, 3)
    share = cv2.GaussianBlur(share, (0, 0), 0.01 * size)[..., None] * inside[..., None]
    pixels: np.ndarray = np.clip(image + share * np.maximum(colour - image, -0.3 * image), 0, 255).astype(np.uint8)
    return pixels
