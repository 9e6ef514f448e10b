"""One random training sample from a view: geometry on photograph and mask together, then the camera's variety.

Geometry covers scale, place, rotation and mirror image, and hides parts of the field of view as crops and other cameras
do. The camera's variety covers colour, gamma, illumination, haze, blur, noise, resolution and JPEG. Every random number
comes from the generator that the caller seeds.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from model.errors import InvalidConfiguration
from model.normalisation import Distribution, normalise
from training.views import View

UNKNOWN = -1.0  # in a target: this pixel was not annotated
PROBABILITIES = ("grey", "hide", "without_disc", "without_retina")  # fields of Augmentation


@dataclass(frozen=True)
class Augmentation:
    """How strongly samples vary; one number each for what an ablation would change."""

    scale: tuple[float, float] = (0.65, 1.5)  # segmenter: region over its nominal side
    shift: float = 0.25  # segmenter: of the disc's diameter, any direction
    rotation_deg: float = 20.0
    colour: float = 1.0  # strength of everything photometric; 0 switches it off
    grey: float = 0.0  # probability of one channel, or their mean, in place of all three
    hide: float = 0.35  # probability that a part of the field of view is masked
    without_disc: float = 0.08  # locator: probability of a piece of a whole photograph without its disc
    without_retina: float = 0.03  # locator: probability of a picture of something else
    disc_share: tuple[float, float] = (0.07, 0.9)  # locator: disc diameter over the sample's side

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}: must be {text}"
            for name, good, text in (
                ("scale", 0 < self.scale[0] <= self.scale[1], "two positive numbers, the smaller one first"),
                ("shift", self.shift >= 0, "at least 0"),
                ("rotation_deg", self.rotation_deg >= 0, "at least 0"),
                ("colour", self.colour >= 0, "at least 0"),
                *((name, 0 <= getattr(self, name) <= 1, "in [0, 1]") for name in PROBABILITIES),
                ("disc_share", 0 < self.disc_share[0] <= self.disc_share[1] <= 1, "in (0, 1], the smaller one first"),
            )
            if not good
        ]
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))


@dataclass(frozen=True)
class Sample:
    """`image` (S, S, 3) float32, normalised; `target` (S, S, C) float32 in [0, 1], or UNKNOWN where not annotated."""

    image: np.ndarray
    target: np.ndarray


def draw_sample(
    view: View,
    size: int,
    outputs: tuple[Literal["disc", "cup"], ...],
    roi_diameters: float | None,
    distribution: Distribution,
    options: Augmentation,
    random: np.random.Generator,
) -> Sample:
    """A sample for one network.

    Args:
        view: a `roi` view with `roi_diameters`, a `whole` view with None (for the locator).
        size: S, pixels.
    """
    if roi_diameters is None:
        matrix = _locator_geometry(view, size, options, random)
    else:
        matrix = _segmenter_geometry(view, size, roi_diameters, options, random)
    image = _warp(view.image, matrix, size)
    inside = _warp(view.inside, matrix, size, cv2.INTER_NEAREST)
    foreign = roi_diameters is None and random.random() < options.without_retina
    channels = {"disc": view.disc, "cup": view.cup}
    target = np.stack([_warp(channels[name], matrix, size).astype(np.float32) / 255 for name in outputs], axis=-1)
    if foreign:
        image, target = draw_something_else(size, random), np.zeros_like(target)
    if random.random() < options.hide:
        inside = inside * _window(size, target[..., 0], random)
    image = vary_camera(image, options.colour, random)
    if options.grey and random.random() < options.grey:
        channel = int(random.integers(4))
        single = image.mean(axis=2) if channel == 3 else image[..., min(channel, 1)]  # blue alone shows nothing
        image = np.repeat(single.astype(np.uint8)[..., None], 3, axis=2)
    seen = inside.astype(bool)
    image = normalise(image, seen, distribution)
    if options.colour:
        gains, offsets = np.exp(random.normal(0, 0.15 * options.colour, 3)), random.normal(0, 0.2 * options.colour, 3)
        image = cv2.transform(image, np.column_stack([np.diag(gains), offsets]).astype(np.float32))
        image = cv2.copyTo(image, inside)  # 0 elsewhere
    if roi_diameters is None:
        target *= inside[..., None]  # the locator points at what is seen
    if "cup" in outputs and not view.example.cup_annotated:
        target[..., outputs.index("cup")] = UNKNOWN
    return Sample(image, target)


def plain_sample(
    view: View,
    size: int,
    outputs: tuple[Literal["disc", "cup"], ...],
    roi_diameters: float | None,
    distribution: Distribution,
) -> Sample:
    """The sample without any chance: nominal region, colours as they are. For watching held-out photographs."""
    still = Augmentation(scale=(1, 1), shift=0, rotation_deg=0, colour=0, hide=0, without_disc=0, without_retina=0)
    if roi_diameters is not None:
        return draw_sample(view, size, outputs, roi_diameters, distribution, still, np.random.default_rng(2))
    scale = view.image.shape[0] / size
    matrix = _matrix(view.image.shape[0] / 2, view.image.shape[0] / 2, scale, 0.0, False, size)
    inside = _warp(view.inside, matrix, size, cv2.INTER_NEAREST).astype(bool)
    target = _warp(view.disc, matrix, size).astype(np.float32)[..., None] / 255
    return Sample(normalise(_warp(view.image, matrix, size), inside, distribution), target)


def _segmenter_geometry(
    view: View, size: int, roi_diameters: float, options: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """Output pixel → view pixel: the region of interest as a locator that errs would cut it."""
    side = view.diameter * roi_diameters * np.exp(random.uniform(*np.log(options.scale)))
    angle = random.uniform(0, 2 * np.pi)
    away = options.shift * view.diameter * np.sqrt(random.random())
    turn = np.deg2rad(random.uniform(-options.rotation_deg, options.rotation_deg))
    mirrored = bool(options.colour) and random.random() < 0.5  # a right eye is a mirrored left eye
    return _matrix(view.x + away * np.cos(angle), view.y + away * np.sin(angle), side / size, turn, mirrored, size)


def _locator_geometry(view: View, size: int, options: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Output pixel → view pixel: anything between the whole field of view and a tight crop of the disc."""
    whole = view.image.shape[0]
    turn = np.deg2rad(random.uniform(-options.rotation_deg, options.rotation_deg))
    mirrored = random.random() < 0.5
    if view.example.view == "full" and random.random() < options.without_disc:
        for _ in range(20):
            side = whole * random.uniform(0.15, 0.6)
            x, y = random.uniform(0.2 * whole, 0.8 * whole, 2)
            if np.hypot(x - view.x, y - view.y) > side * 0.75 + view.diameter * 0.7:
                return _matrix(x, y, side / size, turn, mirrored, size)
    natural = view.diameter / whole
    if random.random() < 0.45:
        share = natural * np.exp(random.uniform(-0.25, 0.35))
    else:
        low, high = options.disc_share
        share = np.exp(random.uniform(np.log(max(low, natural * 0.8)), np.log(max(high, natural))))
    share = float(np.clip(share, *options.disc_share))
    side = view.diameter / share
    free = max(0.0, (side - view.diameter) / 2)  # the disc stays inside, save for a few that the edge cuts
    if random.random() < 0.08:
        free += 0.35 * view.diameter
    centre = np.array([view.x, view.y]) + random.uniform(-free, free, 2)
    keep = max(0.0, (whole - side) / 2)  # a window mostly on the photograph; a larger one near its middle
    slack = 0.12 * side
    middle = whole / 2
    centre = np.clip(centre, middle - keep - slack, middle + keep + slack)
    return _matrix(float(centre[0]), float(centre[1]), side / size, turn, mirrored, size)


def _matrix(x: float, y: float, scale: float, turn: float, mirrored: bool, size: int) -> np.ndarray:
    """(2, 3): output pixel indices → view pixel indices, the output's centre on (x, y); `scale` is view per output."""
    cosine, sine = np.cos(turn) * scale, np.sin(turn) * scale
    linear = np.array([[-cosine if mirrored else cosine, -sine], [-sine if mirrored else sine, cosine]])
    middle = size / 2 - 0.5  # index of the output's centre
    offset = np.array([x - 0.5, y - 0.5]) - linear @ [middle, middle]
    return np.column_stack([linear, offset])


def _warp(image: np.ndarray, matrix: np.ndarray, size: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink > 1.6 and interpolation != cv2.INTER_NEAREST:  # average over areas, as `Frame.cut` does
        image = cv2.GaussianBlur(image, (0, 0), 0.35 * shrink)
    return cv2.warpAffine(
        image, matrix, (size, size), flags=interpolation | cv2.WARP_INVERSE_MAP, borderValue=(0, 0, 0)
    )


def _window(size: int, disc: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(S, S) uint8: 1 inside a random square or circle that keeps most of the disc, as crops and cameras cut."""
    if not disc.any():
        return np.ones((size, size), np.uint8)
    rows, columns = np.nonzero(disc > 0.5)
    if rows.size == 0:
        return np.ones((size, size), np.uint8)
    x, y = columns.mean(), rows.mean()
    radius = max(np.ptp(rows), np.ptp(columns)) / 2 + 1
    window = np.zeros((size, size), np.uint8)
    if random.random() < 0.5:
        half = radius * random.uniform(1.02, 1.8, 4)
        window[
            max(0, int(y - half[0])) : int(np.ceil(y + half[1])), max(0, int(x - half[2])) : int(np.ceil(x + half[3]))
        ] = 1
    else:  # the rim of a round field of view passes by on one side
        large = radius * random.uniform(2.5, 12)
        angle = random.uniform(0, 2 * np.pi)
        gap = large - radius * random.uniform(0.7, 2.0)
        centre = (int(x + gap * np.cos(angle)), int(y + gap * np.sin(angle)))
        cv2.circle(window, centre, int(large), 1, cv2.FILLED)
    return window


def draw_something_else(size: int, random: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8: clouds of colour, boxes or stripes, in any colours; nothing in it is a disc."""
    rough = [
        cv2.resize(random.normal(0, 1, (n, n, 3)), (size, size), interpolation=cv2.INTER_CUBIC) for n in (3, 9, 30)
    ]
    clouds = sum(layer * random.uniform(0, 45) for layer in rough)
    picture = random.uniform(20, 235, 3) + clouds
    kind = random.integers(3)
    if kind == 1:
        for _ in range(random.integers(3, 14)):
            left, top = random.integers(0, size, 2)
            width, height = random.integers(size // 20 + 1, size // 2, 2)
            picture[top : top + height, left : left + width] = random.uniform(0, 255, 3)
    elif kind == 2:
        rows, columns = np.mgrid[:size, :size]
        angle, period = random.uniform(0, np.pi), random.uniform(3, size / 3)
        wave = np.sin((np.cos(angle) * columns + np.sin(angle) * rows) * 2 * np.pi / period)
        picture += np.sign(wave)[..., None] * random.uniform(-90, 90, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def vary_camera(image: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """The same eye through another camera.

    Args:
        image: (S, S, 3) uint8.
        strength: 0 leaves it as it is, 1 is the nominal variety.
    Returns:
        (S, S, 3) uint8.
    """
    if strength == 0:
        return image
    size = image.shape[0]
    out: Any = image.astype(np.float32) / 255
    if random.random() < 0.6:  # channels bleed into each other as sensors and white balances differ
        mix = np.eye(3) + random.normal(0, 0.1 * strength, (3, 3))
        out = cv2.transform(out, (mix / mix.sum(axis=1, keepdims=True)).astype(np.float32))
    if random.random() < 0.7:
        exponents = np.exp(random.normal(0, 0.3 * strength, 3))  # one channel after the other: much faster
        channels = cv2.split(np.clip(out, 0, 1))
        out = cv2.merge([cv2.pow(each, float(exponent)) for each, exponent in zip(channels, exponents, strict=True)])
    if random.random() < 0.5:
        out *= _ramp(size, 0.5 * strength, random)[..., None]
    if random.random() < 0.25:  # haze: a bright veil, thicker on one side
        veil = random.uniform(0.05, 0.4) * strength * _ramp(size, 0.6, random)[..., None]
        out = out * (1 - veil) + veil * random.uniform(0.4, 0.9, 3).astype(np.float32)
    if random.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 1.8) * strength * size / 128)
    elif random.random() < 0.2:  # cameras that sharpen
        out += random.uniform(0.3, 1.5) * strength * (out - cv2.GaussianBlur(out, (0, 0), 1.5 * size / 128))
    if random.random() < 0.25:
        small = int(size / random.uniform(1.2, 1 + 2.0 * strength))
        out = cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if random.random() < 0.3:
        out += random.normal(0, random.uniform(0.005, 0.04) * strength, out.shape).astype(np.float32)
    pixels: np.ndarray = (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)
    if random.random() < 0.25:
        quality = int(random.uniform(25, 85))
        _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if random.random() < 0.12:  # pictures that somebody enhanced
        equaliser = cv2.createCLAHE(random.uniform(1.0, 3.0), (4, 4))
        pixels = np.stack([equaliser.apply(np.ascontiguousarray(pixels[..., c])) for c in range(3)], axis=-1)
    return pixels


def _ramp(size: int, strength: float, random: np.random.Generator) -> np.ndarray:
    """(S, S) float32 around 1: light that falls off to one side or away from a point."""
    columns = np.linspace(-1, 1, size, dtype=np.float32)
    rows = columns[:, None]
    angle = random.uniform(0, 2 * np.pi)
    slope = random.uniform(0, strength)
    light = 1 + slope * (np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows)
    if random.random() < 0.5:
        x, y = random.uniform(-0.8, 0.8, 2)
        light *= 1 - random.uniform(0, strength) * 0.5 * ((columns - np.float32(x)) ** 2 + (rows - np.float32(y)) ** 2)
    clipped: np.ndarray = np.clip(light, 0.1, 2.0)
    return clipped
