"""Peripapillary atrophy, drawn beside a disc: a pale crescent that is retina, though it looks much like disc.

Short-sighted eyes have it often, some sources hardly show it, and a network that never saw it takes it for disc.
Clinical picture: Jonas et al. 1989, doi 10.1007/BF02169736 (zones alpha and beta).
"""

import math

import cv2
import numpy as np

DETAIL = 0.045  # of the picture's side: finer structure, vessels above all, shows through
INNERMOST = 0.02  # of the disc's radius; a crescent begins right at the disc's edge


def draw_atrophy(image: np.ndarray, disc: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The photograph with a crescent of atrophy; as it is where the disc is not seen.

    Args:
        image: (S, S, 3) uint8.
        disc: (S, S) uint8, 0 to 255; nothing is drawn on it.
    Returns:
        (S, S, 3) uint8.
    """
    size = image.shape[0]
    inside = np.greater(disc, 127)
    area = np.count_nonzero(inside)
    if area < 30:
        return image
    radius = math.sqrt(area / math.pi)
    crescent = _crescent(disc, radius, random)
    photograph = image.astype(np.float32)
    outside = 1 - disc.astype(np.float32) / 255
    seen = np.maximum(cv2.GaussianBlur(outside, (0, 0), DETAIL * size), 0.02)[..., None]
    broad = (
        cv2.GaussianBlur(photograph * outside[..., None], (0, 0), DETAIL * size) / seen
    )  # the disc's edge is no detail
    disc_colour, retina = (np.array(cv2.mean(image, mask=mask)[:3]) for mask in _samples(inside, radius))
    paleness = random.uniform(0.25, 1.2)
    colour = retina + paleness * (disc_colour - retina) + random.normal(0, 10, 3)
    coarse = (random.uniform(0, 14) * random.standard_normal((12, 12))).astype(np.float32)
    grain = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    pale = (photograph - broad) * np.float32(random.uniform(0.5, 1.1)) + colour.astype(np.float32) + grain[..., None]
    share = (crescent * np.float32(random.uniform(0.4, 1.0)))[..., None]
    out = photograph + share * (pale - photograph)
    if random.random() < 0.4:  # a dark, pigmented border around it
        width = max(1.0, 0.06 * radius)
        around = cv2.GaussianBlur(crescent, (0, 0), width) * (1 - crescent) * outside
        out *= 1 - np.float32(random.uniform(0.2, 0.9)) * around[..., None]
    pixels: np.ndarray = np.clip(out, 0, 255).astype(np.uint8)
    return pixels


def _crescent(disc: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """(S, S) float32 in [0, 1]: the disc enlarged and moved to one side, most often across, without the disc itself."""
    angle = random.choice((0.0, math.pi)) + random.normal(0, 0.5)
    away = radius * random.uniform(0.05, 0.55)
    larger = 1 + random.uniform(0.0, 0.25) + INNERMOST
    moments = cv2.moments(disc)
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    matrix = np.array(
        [
            [larger, 0, x - larger * x + away * math.cos(angle)],
            [0, larger, y - larger * y + away * math.sin(angle)],
        ]
    )
    size = disc.shape[::-1]
    # edges that are not those of the disc: a wobble of its own, a softness of its own
    wobble = [
        cv2.resize(random.normal(0, 0.06 * radius, (4, 4)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    ]
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    moved = cv2.warpAffine(disc, matrix, size, flags=cv2.INTER_LINEAR)
    moved = cv2.remap(moved, columns + wobble[0], rows + wobble[1], cv2.INTER_LINEAR)
    softened = cv2.GaussianBlur(moved, (0, 0), max(0.3, radius * random.uniform(0.01, 0.08))).astype(np.float32) / 255
    crescent: np.ndarray = softened * (1 - disc.astype(np.float32) / 255)
    return crescent


def _samples(inside: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the disc's colour and the retina's are read: the disc's outer third, and a ring around the disc."""
    disc = inside.astype(np.uint8)
    distance = cv2.distanceTransform(disc, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - disc, cv2.DIST_L2, 3)
    rim = ((distance > 0) & (distance < 0.35 * radius)).astype(np.uint8)
    ring = ((outside > 0.15 * radius) & (outside < 0.6 * radius)).astype(np.uint8)
    return rim, ring
