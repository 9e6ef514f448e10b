"""One random training sample from a view: geometry on photograph and mask together, the eye's and the camera's variety.

Geometry covers scale, place, rotation and mirror image, and hides parts of the field of view as crops and other cameras
do. The eye's variety covers atrophy beside the disc, bright lesions and the contrast between cup, rim and retina. The
camera's variety covers colour, gamma, illumination, haze, blur, noise, resolution and JPEG. Some samples show no disc.
Every random number comes from the generator that the caller seeds.
"""

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import cv2
import numpy as np

from model.errors import InvalidConfiguration
from model.normalisation import Distribution, normalise
from training.absent import draw_something_else
from training.atrophy import draw_atrophy
from training.contrast import vary_contrast
from training.flare import draw_flare
from training.lesions import draw_lesions
from training.views import View

UNKNOWN = -1.0  # in a target: this pixel was not annotated
BLACKEST = 1e-12  # of a channel in [0, 1], so that it has a logarithm; no gamma makes a grey level of it
NOISE_LEVELS = 2**16  # a deviate within ±4.3 of the normal distribution for each value of two random bytes
PROBABILITIES = (
    "atrophy",
    "contrast",
    "flare",
    "grey",
    "hide",
    "lesions",
    "mirror",
    "without_disc",
    "without_retina",
)


@dataclass(frozen=True)
class Augmentation:
    """How strongly samples vary; one number each for what an ablation would change."""

    scale: tuple[float, float] = (0.65, 1.5)  # segmenter: region over its nominal side
    shift: float = 0.25  # segmenter: of the disc's diameter, any direction
    rotation_deg: float = 20.0
    mirror: float = 0.5  # probability that left and right change places: a right eye is a mirrored left eye
    colour: float = 1.0  # strength of everything photometric; 0 switches it off
    grey: float = 0.0  # probability of one channel, or their mean, in place of all three
    hide: float = 0.35  # probability that a part of the field of view is masked
    atrophy: float = 0.0  # probability of peripapillary atrophy drawn beside the disc
    flare: float = 0.0  # probability of flare along an edge of the field of view
    lesions: float = 0.0  # probability of bright lesions drawn on the retina
    contrast: float = 0.0  # probability of cup, rim and retina brightened or darkened apart
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
    into: Sample | None = None,
) -> Sample:
    """A sample for one network.

    Args:
        view: a `roi` view with `roi_diameters`, a `whole` view with None (for the locator).
        size: S, pixels.
        into: arrays to draw in, e.g. of a batch; the image's must be 0 everywhere. None for new ones.
    """
    if roi_diameters is None:
        matrix = _locator_geometry(view, size, options, random)
    else:
        matrix = _segmenter_geometry(view, size, roi_diameters, options, random)
    sample = into or _blank(size, len(outputs))
    inside = _warp_nearest(view.inside, matrix, size)
    image = _warp(view.image, matrix, size)
    disc = _warp(view.disc, matrix, size)
    cup = _warp(view.cup, matrix, size) if "cup" in outputs or options.contrast else None
    if roi_diameters is None and random.random() < options.without_retina:
        image, disc = draw_something_else(image, random), np.zeros_like(disc)
        cup = None if cup is None else np.zeros_like(cup)
    if cup is not None and options.contrast and random.random() < options.contrast:
        image = vary_contrast(image, disc, cup, random)
    if options.atrophy and random.random() < options.atrophy:
        image = draw_atrophy(image, disc, random)
    if options.lesions and random.random() < options.lesions:
        image = draw_lesions(image, inside, disc, random)
    if options.flare and random.random() < options.flare:
        image = draw_flare(image, inside, random)
    if random.random() < options.hide:
        inside = inside * _window(size, disc, random)
    image = vary_camera(image, options.colour, random)
    if options.grey and random.random() < options.grey:
        channel = int(random.integers(4))
        if channel == 3:
            single = cv2.transform(image, np.full((1, 3), 1 / 3, np.float32))
        else:
            single = cv2.extractChannel(image, min(channel, 1))  # blue alone shows nothing
        image = cv2.merge([single, single, single])
    image = normalise(image, inside.view(bool), distribution)
    if options.colour:
        gains, offsets = np.exp(random.normal(0, 0.15 * options.colour, 3)), random.normal(0, 0.2 * options.colour, 3)
        cv2.transform(image, np.column_stack([np.diag(gains), offsets]).astype(np.float32), dst=image)
    cv2.copyTo(image, inside, dst=sample.image)  # 0 elsewhere
    planes = {"disc": disc} if cup is None else {"disc": disc, "cup": cup}
    masks = [planes[name] for name in outputs]
    if roi_diameters is None:
        masks = [mask * inside for mask in masks]  # the locator points at what is seen
    sample.target[:] = cv2.merge(masks).reshape(sample.target.shape)
    np.divide(sample.target, 255, out=sample.target)
    if "cup" in outputs and not view.example.cup_annotated:
        sample.target[..., outputs.index("cup")] = UNKNOWN
    return sample


def plain_sample(
    view: View,
    size: int,
    outputs: tuple[Literal["disc", "cup"], ...],
    roi_diameters: float | None,
    distribution: Distribution,
) -> Sample:
    """The sample without any chance: nominal region, colours as they are. For watching held-out photographs."""
    still = Augmentation(
        scale=(1, 1), shift=0, rotation_deg=0, mirror=0, colour=0, hide=0, without_disc=0, without_retina=0
    )
    if roi_diameters is not None:
        return draw_sample(view, size, outputs, roi_diameters, distribution, still, np.random.default_rng(2))
    scale = view.image.shape[0] / size
    matrix = _matrix(view.image.shape[0] / 2, view.image.shape[0] / 2, scale, 0.0, False, size)
    inside = _warp_nearest(view.inside, matrix, size).view(bool)
    target = _warp(view.disc, matrix, size).astype(np.float32)[..., None] / 255
    return Sample(normalise(_warp(view.image, matrix, size), inside, distribution), target)


def _blank(size: int, channels: int) -> Sample:
    return Sample(np.zeros((size, size, 3), np.float32), np.empty((size, size, channels), np.float32))


def _segmenter_geometry(
    view: View, size: int, roi_diameters: float, options: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """Output pixel → view pixel: the region of interest as a locator that errs would cut it."""
    smallest, largest = options.scale
    side = view.diameter * roi_diameters * math.exp(random.uniform(math.log(smallest), math.log(largest)))
    angle = random.uniform(0, 2 * math.pi)
    away = options.shift * view.diameter * math.sqrt(random.random())
    turn = math.radians(random.uniform(-options.rotation_deg, options.rotation_deg))
    mirrored = random.random() < options.mirror
    return _matrix(view.x + away * math.cos(angle), view.y + away * math.sin(angle), side / size, turn, mirrored, size)


def _locator_geometry(view: View, size: int, options: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Output pixel → view pixel: anything between the whole field of view and a tight crop of the disc."""
    whole = view.image.shape[0]
    turn = math.radians(random.uniform(-options.rotation_deg, options.rotation_deg))
    mirrored = random.random() < options.mirror
    if view.example.view == "full" and random.random() < options.without_disc:
        for _ in range(20):
            side = whole * random.uniform(0.15, 0.75)
            x, y = (random.uniform(0.2 * whole, 0.8 * whole) for _ in range(2))
            if math.hypot(x - view.x, y - view.y) > side * 0.75 + view.diameter * 0.7:
                return _matrix(x, y, side / size, turn, mirrored, size)
    natural = view.diameter / whole
    low, high = options.disc_share
    if random.random() < 0.45:
        share = natural * math.exp(random.uniform(-0.25, 0.35))
    else:
        share = math.exp(random.uniform(math.log(max(low, natural * 0.8)), math.log(max(high, natural))))
    side = view.diameter / min(max(share, low), high)
    free = max(0.0, (side - view.diameter) / 2)  # the disc stays inside, save for a few that the edge cuts
    if random.random() < 0.08:
        free += 0.35 * view.diameter
    # a window mostly on the photograph; a larger one near its middle
    middle, away = whole / 2, max(0.0, (whole - side) / 2) + 0.12 * side
    x, y = (min(max(centre + random.uniform(-free, free), middle - away), middle + away) for centre in (view.x, view.y))
    return _matrix(x, y, side / size, turn, mirrored, size)


def _matrix(x: float, y: float, scale: float, turn: float, mirrored: bool, size: int) -> np.ndarray:
    """(2, 3): output pixel indices → view pixel indices, the output's centre on (x, y); `scale` is view per output."""
    cosine, sine = math.cos(turn) * scale, math.sin(turn) * scale
    across, down = (-cosine, -sine) if mirrored else (cosine, sine)  # in the view for one output pixel to the right
    middle = size / 2 - 0.5  # index of the output's centre
    return np.array(
        [
            [across, -sine, x - 0.5 - (across - sine) * middle],
            [down, cosine, y - 0.5 - (down + cosine) * middle],
        ]
    )


def _warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(S, S) or (S, S, 3) uint8 by linear interpolation; averaged over areas, as `Frame.cut` does, if it shrinks much.

    Args:
        image: (V, V) or (V, V, 3) uint8; of a mask, which has no third axis, most is 0.
    """
    shrink = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    if shrink > 1.6:
        deviation = 0.35 * shrink
        reach = round(2.5 * deviation)  # pixels; what is farther away weighs less than half a per cent
        rows, columns = _needed(image, matrix, size, reach + 2)  # to blur the whole view would be slow
        taps = 2 * reach + 1
        image = cv2.GaussianBlur(image[rows, columns], (taps, taps), deviation)
        matrix = matrix - [[0, 0, columns.start], [0, 0, rows.start]]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderValue=(0, 0, 0))


def _warp_nearest(inside: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(S, S) uint8 with the values that `inside` has, 0 beyond its edges."""
    return cv2.warpAffine(inside, matrix, (size, size), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderValue=0)


def _needed(view: np.ndarray, matrix: np.ndarray, size: int, margin: int) -> tuple[slice, slice]:
    """Rows and columns of a view that the output shows, of a mask's those that are not 0, and `margin` around them."""
    height, width = view.shape[:2]
    left, top, across, down = cv2.boundingRect(view) if view.ndim == 2 else (0, 0, width, height)
    corners = matrix @ [[0, size - 1, 0, size - 1], [0, 0, size - 1, size - 1], [1, 1, 1, 1]]
    columns, rows = (
        _around(max(low, first), min(high, first + count - 1), margin, length)
        for low, high, first, count, length in zip(
            corners.min(axis=1), corners.max(axis=1), (left, top), (across, down), (width, height), strict=True
        )
    )
    return rows, columns


def _around(low: float, high: float, margin: int, length: int) -> slice:
    """At least one of `length` indices: from `margin` before `low` to `margin` after `high`."""
    first = min(max(math.floor(low) - margin, 0), length - 1)
    return slice(first, max(min(math.ceil(high) + 1 + margin, length), first + 1))


def _window(size: int, disc: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(S, S) uint8: 1 inside a random square or circle that keeps most of the disc, as crops and cameras cut.

    Args:
        disc: (S, S) uint8, 0 to 255.
    """
    disc = np.greater(disc, 127).view(np.uint8)
    left, top, width, height = cv2.boundingRect(disc)
    if width == 0:
        return np.ones((size, size), np.uint8)
    moments = cv2.moments(disc[top : top + height, left : left + width], binaryImage=True)
    x, y = left + moments["m10"] / moments["m00"], top + moments["m01"] / moments["m00"]
    radius = (max(width, height) - 1) / 2 + 1
    window = np.zeros((size, size), np.uint8)
    if random.random() < 0.5:
        up, down, before, after = (radius * random.uniform(1.02, 1.8) for _ in range(4))
        window[max(0, int(y - up)) : math.ceil(y + down), max(0, int(x - before)) : math.ceil(x + after)] = 1
    else:  # the rim of a round field of view passes by on one side
        large = radius * random.uniform(2.5, 12)
        angle = random.uniform(0, 2 * math.pi)
        gap = large - radius * random.uniform(0.7, 2.0)
        centre = (int(x + gap * math.cos(angle)), int(y + gap * math.sin(angle)))
        cv2.circle(window, centre, int(large), 1, cv2.FILLED)
    return window


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
    mix = np.eye(3)
    if random.random() < 0.6:  # channels bleed into each other as sensors and white balances differ
        mix += random.normal(0, 0.1 * strength, (3, 3))
        mix /= mix.sum(axis=1, keepdims=True)
    # below, OpenCV or whole rows: numpy is slow where the last axis is short
    out: Any = cv2.transform(image.astype(np.float32), (mix / 255).astype(np.float32))
    if random.random() < 0.7:  # gamma is a factor of the logarithm
        np.clip(out, BLACKEST, 1, out=out)
        exponents = np.exp(random.normal(0, 0.3 * strength, 3))
        out = cv2.exp(cv2.transform(cv2.log(out), np.diag(exponents).astype(np.float32)))
    if random.random() < 0.5:
        out *= _ramp(size, 0.5 * strength, random)
    if random.random() < 0.25:  # haze: a bright veil, thicker on one side
        veil = _ramp(size, 0.6, random)
        veil *= np.float32(random.uniform(0.05, 0.4) * strength)
        colours = random.uniform(0.4, 0.9, 3).astype(np.float32)
        rows = out.reshape(size, -1)
        rows += veil.reshape(size, -1) * (np.tile(colours, size) - rows)
    if random.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 1.8) * strength * size / 128)
    elif random.random() < 0.2:  # cameras that sharpen
        more = random.uniform(0.3, 1.5) * strength
        out = cv2.addWeighted(out, 1 + more, cv2.GaussianBlur(out, (0, 0), 1.5 * size / 128), -more, 0)
    if random.random() < 0.25:
        small = int(size / random.uniform(min(1.2, 1 + strength), 1 + 2.0 * strength))
        out = cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if random.random() < 0.3:
        deviates = _normal_deviates() * np.float32(random.uniform(0.005, 0.04) * strength)
        out = cv2.add(out, cv2.LUT(random.integers(0, NOISE_LEVELS, out.shape, dtype=np.uint16), deviates))
    pixels: np.ndarray = cv2.convertScaleAbs(np.clip(out, 0, 1, out=out), alpha=255)
    if random.random() < 0.25:
        quality = int(random.uniform(25, 85))
        _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if random.random() < 0.12:  # pictures that somebody enhanced
        equaliser = cv2.createCLAHE(random.uniform(1.0, 3.0), (4, 4))
        pixels = cv2.merge([equaliser.apply(cv2.extractChannel(pixels, c)) for c in range(3)])
    return pixels


@functools.cache
def _normal_deviates() -> np.ndarray:
    """(1, NOISE_LEVELS) float32: evenly drawn from, they are normally distributed, and quicker than numpy's."""
    normal = NormalDist()
    return np.array([[normal.inv_cdf((level + 0.5) / NOISE_LEVELS) for level in range(NOISE_LEVELS)]], np.float32)


def _ramp(size: int, strength: float, random: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float32 around 1, alike in all channels: light that falls off to one side or away from a point."""
    columns = np.linspace(-1, 1, size, dtype=np.float32)
    rows = columns[:, None]
    angle = random.uniform(0, 2 * math.pi)
    slope = random.uniform(0, strength)
    light = (1 + slope * math.cos(angle) * columns) + slope * math.sin(angle) * rows
    if random.random() < 0.5:
        x, y = (random.uniform(-0.8, 0.8) for _ in range(2))
        fall = random.uniform(0, strength) * 0.5
        light *= (1 - fall * (columns - x) ** 2) - fall * (rows - y) ** 2
    np.clip(light, 0.1, 2.0, out=light)
    return cv2.merge([light, light, light])
