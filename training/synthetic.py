"""Drawn fundus photographs with exact masks, for tests and demonstrations; no eye of anybody.

An eye is drawn as it is built: background with choroid and macula, a disc with a blurred border and a cup in it,
arteries and veins that leave the disc in arcs around the macula and branch. Then a camera takes it: field of view,
colours, light, haze, sharpness, noise. The masks hold the outlines before the border is blurred.
"""

import csv
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from model.errors import InvalidConfiguration
from model.masks import Label
from training.whole_file import writing

WHOLE_HEIGHTS = (380, 520)  # pixels of a photograph of the retina
CROP_SIDES = (180, 280)  # pixels of a crop of the disc
CROP_SHARE = 0.35  # of the photographs that `write_folder` draws
ARTERY, VEIN = 0.78, 1.0  # width of an artery over that of its vein
BOUNDARY = 0.06  # of the disc's radius over which its border and the cup's are blurred


@dataclass(frozen=True)
class Eye:
    """What is drawn. Lengths are in disc radii, from the disc's centre; angles in radians.

    The macula lies at `macula` to the temporal side: to the right of the disc in a left eye.
    """

    left: bool
    macula: tuple[float, float]
    disc_width: float  # over its height
    disc_tilt: float
    cup: float  # height of the cup over that of the disc
    cup_width: float  # width over height of the cup
    cup_shift: tuple[float, float]  # of the cup's centre, as a share of the room that the rim leaves
    pallor: float  # how much lighter the disc is than its surround, 0 to 1
    contrast: float  # how much lighter the cup is than the rim, 0 to 1
    crescent: float  # darkness of the pigment beside the disc, 0 for none
    vessels: int  # seed of the vessels


@dataclass(frozen=True)
class Camera:
    """How a photograph of an eye is taken. Colours are R, G, B in grey levels of [0, 255]."""

    height: int = 450  # pixels
    width: int = 480
    disc_share: float = 0.15  # disc height over the photograph's height
    field_share: float = (
        0.96  # diameter of the field of view over the photograph's height; 0 where it fills the picture
    )
    disc_at: tuple[float, float] = (0.35, 0.5)  # of the photograph's width and height
    background: tuple[float, float, float] = (170, 85, 45)
    falloff: float = 0.25  # how much darker the rim of the field is
    slope: tuple[float, float] = (0.0, 0.0)  # of the light, across and down
    haze: float = 0.0  # share of a grey veil
    blur: float = 0.8  # pixels
    noise: float = 2.0  # grey levels
    gamma: float = 1.0
    surround: int = 0  # grey level outside of the field of view
    jitter: tuple[float, float, float] = field(default=(1.0, 1.0, 1.0))  # gain of R, G, B


def some_eye(random: np.random.Generator) -> Eye:
    """An eye, as they differ from person to person: cups of 0.25 to 0.85 of the disc's height."""
    return Eye(
        left=bool(random.random() < 0.5),
        macula=(float(random.uniform(4.6, 5.4)), float(random.uniform(0.2, 1.0))),
        disc_width=float(random.uniform(0.84, 1.0)),
        disc_tilt=float(random.uniform(-0.25, 0.25)),
        cup=float(random.uniform(0.25, 0.85)),
        cup_width=float(random.uniform(0.9, 1.1)),
        cup_shift=(float(random.uniform(-0.25, 0.35)), float(random.uniform(-0.25, 0.25))),
        pallor=float(random.uniform(0.55, 0.95)),
        contrast=float(random.uniform(0.5, 1.0)),
        crescent=float(random.uniform(0, 0.35)) if random.random() < 0.3 else 0.0,
        vessels=int(random.integers(2**31)),
    )


def some_camera(random: np.random.Generator, crop: bool = False) -> Camera:
    """A camera and how it was pointed: at the retina, or so near that the disc fills most of the picture.

    The disc of a whole photograph lies towards either side and never nearer than its own diameter to the edge.
    """
    height = int(random.integers(*(CROP_SIDES if crop else WHOLE_HEIGHTS)))
    if crop:
        width, share, at = height, float(random.uniform(0.55, 0.78)), random.uniform(0.45, 0.55, 2)
    else:
        width, share = int(height * random.uniform(1.0, 1.3)), float(random.uniform(0.12, 0.2))
        away = random.uniform(0.02, 0.27) * random.choice([-1, 1]) * height / width
        at = np.array([0.5 + away, random.uniform(0.38, 0.62)])
    red = random.uniform(140, 205)
    return Camera(
        height=height,
        width=width,
        disc_share=share,
        field_share=0.0 if crop else float(random.choice([0.9, 0.97, 1.08])),
        disc_at=(float(at[0]), float(at[1])),
        background=(red, red * random.uniform(0.38, 0.6), red * random.uniform(0.12, 0.34)),
        falloff=float(random.uniform(0.1, 0.4)),
        slope=(float(random.uniform(-0.15, 0.15)), float(random.uniform(-0.15, 0.15))),
        haze=float(random.uniform(0.05, 0.3)) if random.random() < 0.25 else 0.0,
        blur=float(random.uniform(0.5, 1.4)) * height / 450,
        noise=float(random.uniform(1, 5)),
        gamma=float(np.exp(random.normal(0, 0.12))),
        surround=int(random.integers(0, 8)),
        jitter=tuple(float(gain) for gain in np.exp(random.normal(0, 0.06, 3))),  # type: ignore[arg-type]
    )


def draw(eye: Eye, camera: Camera, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its labels.

    Args:
        random: for the camera's noise and the texture of the background.
    Returns:
        (height, width, 3) uint8 RGB, and (height, width) uint8 of `Label`.
    """
    radius = camera.disc_share * camera.height / 2  # pixels in a disc radius
    centre = np.array([camera.disc_at[0] * camera.width, camera.disc_at[1] * camera.height])
    rows, columns = np.mgrid[: camera.height, : camera.width].astype(np.float32) + np.float32(0.5)
    across, down = (columns - float(centre[0])) / radius, (rows - float(centre[1])) / radius
    if not eye.left:
        across = -across
    disc, cup = _outlines(eye, across, down)
    scene = _background(eye, camera, across, down, random)
    scene = _disc(eye, scene, disc, cup)
    scene = _vessels(eye, scene, radius, centre, disc)
    picture = _photograph(camera, scene, rows, columns, random)
    labels = np.where(disc <= 1, np.where(cup <= 1, Label.CUP, Label.RIM), Label.BACKGROUND).astype(np.uint8)
    return picture, labels


def write_index(folder: Path, rows: list[list[object]]) -> None:
    """`index.csv` of a source in the layout `folder`; rows of id, disc, cup, view."""
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "disc", "cup", "view"], *rows])


def write_folder(folder: Path, count: int, seed: int, watch: Callable[[], None] = lambda: None) -> Path:
    """`count` drawn photographs, whole ones and crops, as a source in the layout `folder`.

    Photograph number n is the same whatever `count` is.

    Args:
        folder: must not hold anything yet; appears at once, when all is written.
        watch: called after each photograph.
    Returns:
        `folder`.
    Raises:
        InvalidConfiguration: the folder holds something, or `count` is not positive.
        CannotWrite: e.g. no space left; the folder is as it was.
    """
    if count < 1:
        raise InvalidConfiguration(f"count={count}: must be at least 1")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidConfiguration(f"{folder}: holds something already; take another folder")
    unfinished = folder.with_name(f".unfinished-{folder.name}")
    rows: list[list[object]] = []
    with writing(folder):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            for number in range(count):
                random = np.random.default_rng([seed, number])
                crop = bool(random.random() < CROP_SHARE)
                picture, labels = draw(some_eye(random), some_camera(random, crop), random)
                name = f"eye{number:04}"
                write_example(unfinished, name, picture, labels)
                rows.append([name, 1, 1, "crop" if crop else "full"])
                watch()
            write_index(unfinished, rows)
            if folder.exists():
                folder.rmdir()
            return unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def write_example(folder: Path, name: str, picture: np.ndarray, labels: np.ndarray) -> None:
    """One photograph and its labels into `images` and `masks` of a source in the layout `folder`."""
    for part, pixels in (("images", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)), ("masks", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / f"{name}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _outlines(eye: Eye, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the disc's and the cup's centre, 1 on their outline; the cup lies inside the disc."""
    cosine, sine = math.cos(eye.disc_tilt), math.sin(eye.disc_tilt)
    x, y = cosine * across + sine * down, cosine * down - sine * across
    disc = np.hypot(x / eye.disc_width, y)
    width = min(eye.cup * eye.cup_width * eye.disc_width, 0.96 * eye.disc_width)
    room = (0.9 * (eye.disc_width - width), 0.9 * (1 - eye.cup))
    cup = np.hypot((x - eye.cup_shift[0] * room[0]) / width, (y - eye.cup_shift[1] * room[1]) / eye.cup)
    return disc, cup


def _background(
    eye: Eye, camera: Camera, across: np.ndarray, down: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) float32: the retina without disc and vessels."""
    scene = np.ones((*across.shape, 3), np.float32) * np.array(camera.background, np.float32)
    texture = np.zeros(across.shape, np.float32)
    for cells, strength in ((6, 0.05), (24, 0.035), (70, 0.02)):  # choroid and nerve fibres, coarse to fine
        rough = random.normal(0, strength, (cells, cells)).astype(np.float32)
        texture += cv2.resize(rough, across.shape[::-1], interpolation=cv2.INTER_CUBIC)
    scene *= 1 + texture[..., None]
    away = np.hypot(across - eye.macula[0], down - eye.macula[1])
    shade = 0.32 * np.exp(-((away / 1.3) ** 2)) + 0.15 * np.exp(-((away / 0.35) ** 2))
    scene *= 1 - shade[..., None] * np.array([0.7, 1.0, 0.9], np.float32)
    return scene


def _disc(eye: Eye, scene: np.ndarray, disc: np.ndarray, cup: np.ndarray) -> np.ndarray:
    """The scene with the disc on it: pigment beside it, the pink rim, the paler cup."""
    rim = np.array([0.45, 0.62, 0.5], np.float32) * eye.pallor
    pale = np.array([0.5, 0.75, 0.8], np.float32) * eye.pallor
    crescent = eye.crescent * np.exp(-(((disc - 1.08) / 0.09) ** 2))
    scene = scene * (1 - crescent[..., None])
    inside, inner = _soft(disc), _soft(cup)
    lighter = scene + (255 - scene) * rim
    palest = lighter + (255 - lighter) * pale * eye.contrast * 0.85
    disc_colour = lighter + (palest - lighter) * inner[..., None]
    blended: np.ndarray = scene + (disc_colour - scene) * inside[..., None]
    return blended


def _soft(distance: np.ndarray) -> np.ndarray:
    """1 inside of an outline and 0 outside, a half on it."""
    share: np.ndarray = 1 / (1 + np.exp(np.clip((distance - 1) * (2 / BOUNDARY), -30, 30)))
    return share


def _vessels(eye: Eye, scene: np.ndarray, radius: float, centre: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """The scene with arteries and veins, drawn as dark where they are thick."""
    depth = np.zeros(scene.shape[:2], np.float32)
    random = np.random.default_rng(eye.vessels)
    side = 1 if eye.left else -1
    for quarter in ((1, -1), (1, 1), (-1, -1), (-1, 1)):  # temporal and nasal, above and below
        for kind in (ARTERY, VEIN):
            start = np.array([random.uniform(-0.25, 0.05), quarter[1] * random.uniform(0.05, 0.2)])
            heading = np.arctan2(quarter[1], quarter[0] * random.uniform(0.25, 0.9))
            _grow(depth, random, start, heading, quarter, 0.17 * kind, side, radius, centre, 0)
    depth = np.clip(depth, 0, 1)
    depth *= 1 - 0.3 * _soft(disc)  # on the disc vessels look paler
    darker: np.ndarray = scene * (1 - depth[..., None] * np.array([0.3, 0.62, 0.5], np.float32))
    return darker


def _grow(
    depth: np.ndarray,
    random: np.random.Generator,
    place: np.ndarray,
    heading: float,
    quarter: tuple[int, int],
    width: float,
    side: int,
    radius: float,
    centre: np.ndarray,
    order: int,
) -> None:
    """Draw one vessel and its branches into `depth`. Places and widths in disc radii; `heading` in radians."""
    points = [place]
    steps = int(random.integers(12, 20)) if order == 0 else int(random.integers(5, 10))
    for step in range(steps):
        if order == 0 and quarter[0] > 0 and step > 3:  # the arcades bend around the macula
            heading += -quarter[1] * 0.11
        heading += float(random.normal(0, 0.13))
        place = place + 0.45 * np.array([np.cos(heading), np.sin(heading)])
        points.append(place)
        if order < 2 and step > 1 and random.random() < 0.16:
            turn = heading + float(random.choice([-1, 1]) * random.uniform(0.5, 1.0))
            _grow(depth, random, place, turn, quarter, 0.6 * width, side, radius, centre, order + 1)
    path = np.array(points) * [side * radius, radius] + centre
    for first, last, share in zip(path[:-1], path[1:], np.linspace(1, 0.5, len(path) - 1), strict=True):
        thick = max(1, round(width * share * radius))
        faint = min(1.0, width * share * radius + 0.15)  # thinner than a pixel: fainter
        layer_from, layer_to = ((int(point[0] * 8), int(point[1] * 8)) for point in (first, last))
        cv2.line(depth, layer_from, layer_to, 0.85 * faint, thick, cv2.LINE_AA, 3)


def _photograph(
    camera: Camera, scene: np.ndarray, rows: np.ndarray, columns: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8: the scene as the camera takes it."""
    height, width = camera.height, camera.width
    x, y = (columns - width / 2) / (height / 2), (rows - height / 2) / (height / 2)
    light = 1.05 - camera.falloff * np.minimum(x**2 + y**2, 1.5) + camera.slope[0] * x + camera.slope[1] * y
    out = scene * np.maximum(light, 0.1)[..., None] * np.array(camera.jitter, np.float32)
    out = out * (1 - camera.haze) + 165 * camera.haze
    out = 255 * (np.clip(out, 0, 255) / 255) ** camera.gamma
    away = np.hypot(x, y)
    if camera.field_share:
        out[away > camera.field_share] = camera.surround
    out = cv2.GaussianBlur(out.astype(np.float32), (0, 0), max(camera.blur, 0.1))
    out = out + np.float32(camera.noise) * random.standard_normal(out.shape, np.float32)
    if camera.field_share:
        outside = away > camera.field_share + 0.01
        out[outside] = np.minimum(out[outside], camera.surround + 3)
    picture: np.ndarray = np.clip(out + 0.5, 0, 255).astype(np.uint8)
    return picture
