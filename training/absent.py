"""Training samples that show no retina at all. Their masks are empty.

Whoever sends a picture of something else must be told so. A network that never saw such pictures takes the roundest and
palest thing for a disc.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

MOST_COLOUR = 0.5  # share of its own differences between channels that a picture of something else keeps
PALETTE = 6  # colours of shapes
GLYPHS = "ABCDEFGHKLMNPRSTUVWXYZabcdefghkmnorstuvwxyz0123456789+-=%&?"


def draw_something_else(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A picture without a disc: clouds, boxes, stripes, shapes, rings, spots, writing, or a scrambled photograph.

    Args:
        image: (S, S, 3) uint8, the photograph in whose place it comes.
    Returns:
        (S, S, 3) uint8.
    """
    size = image.shape[0]
    kind = int(random.integers(len(KINDS) + 1))
    picture = _scrambled(image, random) if kind == len(KINDS) else KINDS[kind](_clouds(size, random), random)
    # With the colours of this retina, and few of its own: it is its forms that make it something else. Where colours
    # tell as much, a good photograph with a green or yellow edge is taken for no retina.
    grey = cv2.transform(picture.astype(np.float32), np.full((3, 3), 1 / 3, np.float32))
    picture = grey + np.float32(random.uniform(0, MOST_COLOUR)) * (picture - grey)
    wanted, spread = (np.float32(value) for value in cv2.meanStdDev(image))
    mean, deviation = (np.float32(value) for value in cv2.meanStdDev(picture))
    picture = (picture - mean.T) * (np.maximum(spread, 8) / np.maximum(deviation, 1)).T + wanted.T
    pixels: np.ndarray = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def _clouds(size: int, random: np.random.Generator) -> np.ndarray:
    rough = [random.uniform(0, 45) * random.standard_normal((n, n, 3), dtype=np.float32) for n in (3, 9, 30)]
    rough[0] += random.uniform(20, 235, 3).astype(np.float32)
    picture: Any = sum(cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC) for layer in rough)
    return np.asarray(picture, np.float32)


def _as_it_is(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return picture


def _boxes(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = picture.shape[0]
    for _ in range(random.integers(3, 14)):
        left, top = random.integers(0, size, 2)
        width, height = random.integers(size // 20 + 1, size // 2, 2)
        picture[top : top + height, left : left + width] = random.uniform(0, 255, 3)
    return picture


def _stripes(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = picture.shape[0]
    angle, period = random.uniform(0, np.pi), random.uniform(3, size / 3)
    place = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi / period)
    wave = np.sign(np.sin(np.float32(np.cos(angle)) * place + np.float32(np.sin(angle)) * place[:, None]))
    return picture + cv2.merge([wave * np.float32(random.uniform(-90, 90)) for _ in range(3)])


def _shapes(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Large ones first, so that many sizes are seen: what one finds in photographs of things."""
    size = picture.shape[0]
    palette = random.uniform(0, 255, (PALETTE, 3))
    for largest in np.geomspace(0.5, 0.03, int(random.integers(8, 60))) * size:
        colour = tuple(float(value) for value in palette[random.integers(PALETTE)] + random.normal(0, 15, 3))
        centre = tuple(int(value) for value in random.integers(0, size, 2))
        axes = tuple(int(value) for value in np.maximum(1, largest * random.uniform(0.3, 1, 2)))
        if random.random() < 0.5:
            cv2.ellipse(picture, centre, axes, random.uniform(0, 180), 0, 360, colour, cv2.FILLED)
        else:
            angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 8))))
            corners = np.array(centre) + np.column_stack([np.cos(angles), np.sin(angles)]) * axes[0]
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour)
    return picture


def _rings(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rounds within rounds, as in signs and symbols: what is round and pale is no disc for that alone."""
    size = picture.shape[0]
    x, y, radius = *random.uniform(0.3, 0.7, 2), random.uniform(0.2, 0.55)
    for _ in range(random.integers(1, 5)):
        colour = tuple(float(value) for value in random.uniform(0, 255, 3))
        cv2.circle(picture, (int(x * size), int(y * size)), max(1, int(radius * size)), colour, cv2.FILLED)
        x, y = np.array([x, y]) + random.uniform(-0.4, 0.4, 2) * radius
        radius *= random.uniform(0.25, 0.9)
    return picture


def _spots(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Pale or dark soft rounds before something even: what is round and pale is no disc without vessels."""
    size = picture.shape[0]
    even: Any = cv2.resize(
        cv2.resize(picture, (3, 3), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(random.integers(1, 4)):
        spot: Any = np.zeros((size, size), np.float32)
        place = tuple(int(value) for value in random.uniform(0.1, 0.9, 2) * size)
        wide, high = (max(2, int(value)) for value in random.uniform(0.03, 0.3) * size * random.uniform(0.7, 1, 2))
        cv2.ellipse(spot, place, (wide, high), random.uniform(0, 180), 0, 360, 1.0, cv2.FILLED)
        spot = cv2.GaussianBlur(spot, (0, 0), max(0.5, random.uniform(0.02, 0.5) * high))
        even += spot[..., None] * (random.uniform(-60, 140) + random.normal(0, 20, 3)).astype(np.float32)
    grain = np.float32(random.uniform(0, 8)) * random.standard_normal((size, size, 1), dtype=np.float32)
    return np.asarray(even + grain, np.float32)


def _writing(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = picture.shape[0]
    paper = np.clip(0.3 * picture + random.uniform(0, 180, 3), 0, 255).astype(np.uint8)
    for _ in range(random.integers(1, 12)):
        text = "".join(random.choice(list(GLYPHS), int(random.integers(1, 14))))
        place = tuple(int(value) for value in random.integers(-size // 10, size, 2))
        colour = tuple(float(value) for value in random.uniform(0, 255, 3))
        font, height = int(random.integers(0, 8)), float(random.uniform(0.3, 4) * size / 192)
        cv2.putText(paper, text, place, font, height, colour, int(random.integers(1, 7)), cv2.LINE_AA)
    return paper.astype(np.float32)


KINDS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    _as_it_is,
    _boxes,
    _stripes,
    _shapes,
    _rings,
    _spots,
    _writing,
)


def _scrambled(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Its frequencies are as strong as they were and lie elsewhere: the colours and the grain of a retina, no form."""
    spectrum = np.fft.rfft2(image.astype(np.float32), axes=(0, 1))
    phases = random.uniform(0, 2 * np.pi, (*spectrum.shape[:2], 1))
    phases[0, 0] = 0
    return np.asarray(np.fft.irfft2(spectrum * np.exp(1j * phases), image.shape[:2], axes=(0, 1)), np.float32)
