"""Ways in which a photograph is made worse, or turned into a picture that somebody might send all the same."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from model import retina

Change = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 → the same, perhaps of another size

HAZE = 200  # grey level of what lies before the retina
LIGHT = np.array([200, 210, 255], np.float32)  # RGB of a flash that a lens scatters
DESK = (230, 232, 238)  # RGB of a program's window
REFLECTIONS = 3


@dataclass(frozen=True)
class Way:
    """What is done to a photograph, and to its annotation where places move.

    `places` takes (H, W) uint8, disc or cup, and gives it as the changed photograph shows it; None where nothing moves.
    """

    change: Change
    places: Callable[[np.ndarray], np.ndarray] | None = None


def moved(change: Change) -> Way:
    """The same for photograph and annotation."""
    return Way(change, change)


def blurred(share: float) -> Way:
    """By a Gaussian whose deviation is a share of the width."""
    return Way(lambda image: cv2.GaussianBlur(image, (0, 0), share * image.shape[1]))


def dragged(share: float) -> Way:
    """Sideways while the shutter was open, by a share of the width."""

    def change(image: np.ndarray) -> np.ndarray:
        length = max(3, round(share * image.shape[1]))
        return np.asarray(cv2.blur(image, (length, 1)))

    return Way(change)


def exposed(gain: float, deviation: float = 0.0) -> Way:
    """Darker or brighter, and noisy; what is too bright is cut off."""
    return Way(lambda image: _grey_levels(image.astype(np.float32) * gain + _noise(image.shape, deviation)))


def compressed(quality: int) -> Way:
    """Through a JPEG."""

    def change(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return Way(change)


def few_colours(count: int) -> Way:
    """As in a GIF."""
    return Way(lambda image: np.asarray(Image.fromarray(image).quantize(count).convert("RGB")))


def shrunk(width: int) -> Way:
    """To so many pixels across and back."""

    def change(image: np.ndarray) -> np.ndarray:
        height, whole = image.shape[:2]
        small = cv2.resize(image, (width, max(1, round(height * width / whole))), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (whole, height), interpolation=cv2.INTER_CUBIC)

    return Way(change)


def hazy(share: float) -> Way:
    """As through a cataract: contrast lost to an even light, inside the field of view."""

    def change(image: np.ndarray) -> np.ndarray:
        lit = image.max(axis=-1, keepdims=True) >= retina.BLACK
        return _grey_levels(image * (1 - share) + share * HAZE * lit)

    return Way(change)


def light_in_the_middle(image: np.ndarray) -> np.ndarray:
    """A reflex of the lens in the middle of the picture."""
    return _lit(image, 0.7 * np.exp(-((_from_middle(image) / 0.25) ** 2)))


def light_around(image: np.ndarray) -> np.ndarray:
    """A ring of scattered light at the edge."""
    return _lit(image, 0.8 * np.exp(-(((_from_middle(image) - 0.93) / 0.07) ** 2)))


def reflections(image: np.ndarray) -> np.ndarray:
    """Three round, pale spots as large as a small disc, always in the same places."""
    height, width = image.shape[:2]
    random = np.random.default_rng(height)
    spots = np.zeros((height, width), np.float32)
    for _ in range(REFLECTIONS):
        angle, distance = random.uniform(0, 2 * np.pi), random.uniform(0.2, 0.8) * min(height, width) / 2
        place = (int(width / 2 + distance * np.cos(angle)), int(height / 2 + distance * np.sin(angle)))
        cv2.circle(spots, place, round(min(height, width) * random.uniform(0.02, 0.06)), 1.0, cv2.FILLED)
    return _lit(image, 0.75 * cv2.GaussianBlur(spots, (0, 0), 0.008 * min(height, width)))


def lid(image: np.ndarray) -> np.ndarray:
    """The lower third in the dark."""
    rows = np.arange(image.shape[0]) / image.shape[0]
    return _grey_levels(image * (1 - 0.93 * np.clip((rows - 0.62) / 0.1, 0, 1))[:, None, None])


def shaded(image: np.ndarray) -> np.ndarray:
    """Light from one side: 15 % at the left edge, all of it at the right."""
    return _grey_levels(image * np.linspace(0.15, 1, image.shape[1])[None, :, None])


def off_a_screen(image: np.ndarray) -> np.ndarray:
    """Stripes of a screen's pixels and of its refresh, as a telephone sees them."""
    height, width = image.shape[:2]
    columns = 0.75 + 0.25 * np.sign(np.sin(np.arange(width) * np.pi / 2))
    rows = 0.85 + 0.15 * np.sin(np.arange(height) * 2 * np.pi / 37)
    return _grey_levels(1.1 * image * columns[None, :, None] * rows[:, None, None])


def one_channel(number: int) -> Way:
    """Red, green or blue alone."""
    return Way(lambda image: np.repeat(image[..., number : number + 1], 3, axis=2))


def swapped(image: np.ndarray) -> np.ndarray:
    """Red and blue exchanged, as a faulty program might write it."""
    return np.ascontiguousarray(image[..., ::-1])


def saturated(factor: float) -> Way:
    """Colours farther from grey, or nearer to it."""

    def change(image: np.ndarray) -> np.ndarray:
        grey = image.mean(axis=2, keepdims=True)
        return _grey_levels(grey + factor * (image - grey))

    return Way(change)


def equalised(image: np.ndarray) -> np.ndarray:
    """Each channel by CLAHE, as viewers do."""
    equaliser = cv2.createCLAHE(4.0, (8, 8))
    return np.asarray(cv2.merge([equaliser.apply(channel) for channel in cv2.split(image)]))


def flattened(image: np.ndarray) -> np.ndarray:
    """Four times what differs from its surroundings, around grey: Ben Graham's way for a competition of 2015."""
    return np.asarray(cv2.addWeighted(image, 4, cv2.GaussianBlur(image, (0, 0), image.shape[1] / 30), -4, 128))


def surrounded(grey: int) -> Way:
    """Another surround of the field of view than black."""

    def change(image: np.ndarray) -> np.ndarray:
        inside = cv2.resize(retina.field_of_view(image).inside, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return np.where(inside[..., None] > 0, image, np.uint8(grey))

    return Way(change)


def turned(quarters: int) -> Way:
    """Anticlockwise."""
    return moved(lambda values: np.ascontiguousarray(np.rot90(values, quarters)))


def tilted(degrees: float) -> Way:
    """About its middle; corners are cut off."""

    def change(values: np.ndarray) -> np.ndarray:
        height, width = values.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        return np.asarray(cv2.warpAffine(values, matrix, (width, height)))

    return moved(change)


def stretched(across: float, down: float) -> Way:
    """As by a program that does not keep the ratio of the sides."""

    def change(values: np.ndarray) -> np.ndarray:
        size = round(values.shape[1] * across), round(values.shape[0] * down)
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))

    return moved(change)


def framed(share: float, grey: int) -> Way:
    """A margin all around, so many times as wide as the picture is."""

    def change(values: np.ndarray) -> np.ndarray:
        rows, columns = (round(share * length) for length in values.shape[:2])
        level = grey if values.ndim == 3 else 0
        return _bordered(values, rows, rows, columns, columns, (level, level, level))

    return moved(change)


def in_a_program(values: np.ndarray) -> np.ndarray:
    """A copy of the screen: a window with a bar, lines of text, and the photograph at the right."""
    height, width = values.shape[:2]
    top, left = round(0.2 * height), round(0.3 * width)
    window = _bordered(values, top, top // 2, left, left // 4, DESK if values.ndim == 3 else (0, 0, 0))
    if values.ndim == 3:
        window[: top // 2] = (40, 80, 150)
        for line in range(8):
            place, size = (10, top + line * top // 3), max(0.3, height / 1000)
            cv2.putText(window, f"Examination {line}: fundus", place, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1)
    return window


# only the left disc is annotated: whoever draws the other one counts as wrong
BESIDE_ITSELF = Way(
    lambda image: np.hstack([image, image[:, ::-1]]), lambda plane: np.hstack([plane, np.zeros_like(plane)])
)

WAYS: dict[str, Way] = {
    "as it is": Way(lambda image: image),
    **{f"blur, deviation {share:.1%} of the width": blurred(share) for share in (0.003, 0.007, 0.015, 0.03)},
    "dragged by 2% of the width": dragged(0.02),
    **{f"{width} pixels across, enlarged again": shrunk(width) for width in (150, 80)},
    **{f"exposure × {gain:g}": exposed(gain) for gain in (0.3, 0.1, 2.0, 3.5)},
    "exposure × 0.12, noise of 6 grey levels": exposed(0.12, 6),
    **{f"noise of {deviation} grey levels": exposed(1.0, deviation) for deviation in (20, 50)},
    **{f"JPEG of quality {quality}": compressed(quality) for quality in (10, 3)},
    "12 colours": few_colours(12),
    **{f"haze, {share:.0%}": hazy(share) for share in (0.5, 0.85)},
    "light from one side": Way(shaded),
    "light in the middle": Way(light_in_the_middle),
    "light around": Way(light_around),
    "three reflections": Way(reflections),
    "a lid over the lower third": Way(lid),
    "off a screen": Way(off_a_screen),
    "red alone": one_channel(0),
    "red-free": one_channel(1),
    "red and blue swapped": Way(swapped),
    "colours × 1.8": saturated(1.8),
    "colours × 0.25": saturated(0.25),
    "CLAHE": Way(equalised),
    "flattened": Way(flattened),
    "negative": Way(lambda image: 255 - image),
    "turned by 90°": turned(1),
    "turned by 180°": turned(2),
    "tilted by 45°": tilted(45),
    "a third wider": stretched(4 / 3, 1),
    "a third higher": stretched(1, 4 / 3),
    "white surround": surrounded(255),
    "grey surround": surrounded(128),
    "black margin as large as itself": framed(1.0, 0),
    "white margin of a third": framed(1 / 3, 255),
    "in a program's window": moved(in_a_program),
    "beside its mirror image": BESIDE_ITSELF,
}


def _lit(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Light over the image: (H, W), how much of each pixel it is."""
    return _grey_levels(image * (1 - share[..., None]) + share[..., None] * LIGHT)


def _from_middle(image: np.ndarray) -> np.ndarray:
    """(H, W): how far from the middle, of half the shorter side."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    return np.asarray(np.hypot(rows - height / 2, columns - width / 2) / (min(height, width) / 2))


def _noise(shape: tuple[int, ...], deviation: float) -> np.ndarray | float:
    """Normal, independent in each pixel and channel, the same each time."""
    return np.random.default_rng(0).normal(0, deviation, shape) if deviation else 0.0


def _bordered(
    values: np.ndarray, top: int, bottom: int, left: int, right: int, colour: tuple[int, int, int]
) -> np.ndarray:
    return np.asarray(cv2.copyMakeBorder(values, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour))


def _grey_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)
