"""Training samples without a disc: it is hidden, or the picture shows no retina at all. Their masks are empty.

Whoever sends a picture of something else, or of an eye whose disc cannot be seen, must be told so. A network that never
saw such pictures takes the roundest and palest thing for a disc.
"""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

ENOUGH = 30  # pixels of a disc; of fewer, nothing needs to be hidden
ROOM = 0.17  # of the picture's side: a disc of a larger radius leaves no room for another piece of retina
TRIES = 8  # to find one
MOST_COLOUR = 0.5  # share of its own differences between channels that a picture of something else keeps
PALETTE = 6  # colours of shapes
GLYPHS = "ABCDEFGHKLMNPRSTUVWXYZabcdefghkmnorstuvwxyz0123456789+-=%&?"


def hide_disc(
    image: np.ndarray, inside: np.ndarray, disc: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """The photograph with another piece of its retina where the disc was.

    Args:
        image: (S, S, 3) uint8.
        inside: (S, S) uint8, 1 where retina is seen.
        disc: (S, S) uint8, 0 to 255.
    Returns:
        (S, S, 3) uint8; None where no disc is seen, or no other piece is large enough.
    """
    seen = np.greater(disc, 127).view(np.uint8)
    return _covered(image, inside, seen, np.zeros_like(seen), _radius(seen), random)


def hide_other_place(
    image: np.ndarray, inside: np.ndarray, disc: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """As `hide_disc`, but away from the disc: that something was covered must not tell that the disc was."""
    seen = np.greater(disc, 127).view(np.uint8)
    radius = _radius(seen) * random.uniform(0.6, 1.2)
    x, y = (int(value) for value in random.integers(0, image.shape[0], 2))
    there = np.zeros_like(seen)
    cv2.circle(there, (x, y), max(2, round(radius)), 1, cv2.FILLED)
    return _covered(image, inside, there, cv2.dilate(seen, np.ones((5, 5), np.uint8)), radius, random)


def _radius(seen: np.ndarray) -> float:
    return math.sqrt(np.count_nonzero(seen) / math.pi)


def _covered(
    image: np.ndarray,
    inside: np.ndarray,
    seen: np.ndarray,
    free: np.ndarray,
    radius: float,
    random: np.random.Generator,
) -> np.ndarray | None:
    """What is `seen`, and a border around it, covered without a seam; not what is to stay `free`."""
    size = image.shape[0]
    if np.count_nonzero(seen) < ENOUGH or radius > ROOM * size:
        return None
    other = _elsewhere(image, inside, seen, free, radius, random)
    if other is None:
        return None
    away = cv2.distanceTransform(1 - seen, cv2.DIST_L2, 3)
    border, softness = radius * random.uniform(0.25, 0.5), radius * random.uniform(0.06, 0.15)
    cover: Any = cv2.GaussianBlur((away <= border).astype(np.float32), (0, 0), max(0.5, softness))
    cover *= 1 - free.astype(np.float32)
    around = (away > 0.8 * border) & (away < border + 0.6 * radius) & (inside > 0) & (free == 0)
    photograph = image.astype(np.float32)
    other += _spread(photograph - other, around.astype(np.float32), 0.5 * radius)
    pixels: np.ndarray = np.clip(photograph + cover[..., None] * (other - photograph), 0, 255).astype(np.uint8)
    return pixels


def _elsewhere(
    image: np.ndarray,
    inside: np.ndarray,
    seen: np.ndarray,
    free: np.ndarray,
    radius: float,
    random: np.random.Generator,
) -> np.ndarray | None:
    """(S, S, 3) float32: the photograph moved so far that another piece of retina lies there, where there is one."""
    size = image.shape[0]
    there = inside * (1 - cv2.max(seen, free))
    for _ in range(TRIES):
        angle, far = random.uniform(0, 2 * math.pi), radius * random.uniform(2.8, 5)
        matrix = np.array([[1, 0, far * math.cos(angle)], [0, 1, far * math.sin(angle)]])
        lit = cv2.warpAffine(there, matrix, (size, size), flags=cv2.INTER_NEAREST)
        if np.count_nonzero(lit & seen) > 0.97 * np.count_nonzero(seen):
            moved: np.ndarray = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
            return moved.astype(np.float32)
    return None


def _spread(values: np.ndarray, known: np.ndarray, width: float) -> np.ndarray:
    """(S, S, 3) float32: values where they are known (S, S), carried smoothly to where they are not."""
    weight = cv2.GaussianBlur(known, (0, 0), max(1.0, width)) + np.float32(1e-5)
    spread: np.ndarray = cv2.GaussianBlur(values * known[..., None], (0, 0), max(1.0, width)) / weight[..., None]
    return spread


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
