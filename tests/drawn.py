"""Drawn fundus photographs with exact masks, and folders of them in the layout of `training.sources.folder`."""

import csv
from pathlib import Path

import cv2
import numpy as np


def draw_fundus(
    random: np.random.Generator, height: int = 360, width: int = 400, disc_share: float = 0.16, centred: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its labels.

    Args:
        disc_share: disc diameter over `height`.
        centred: a crop of the disc, without any surround.
    Returns:
        (height, width, 3) uint8 RGB, and (height, width) uint8 of `Label`.
    """
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    middle = np.array([width / 2, height / 2])
    radius = 0.47 * height
    disc_radius = disc_share * height / 2
    place = middle + (0 if centred else 1) * random.uniform(-0.45, 0.45, 2) * (radius - 2 * disc_radius)
    distance = np.hypot(columns - middle[0], rows - middle[1]) / radius
    base = np.array([170, 80, 45]) * random.uniform(0.8, 1.15, 3)
    image = base * (1.05 - 0.25 * np.minimum(distance, 1.2)[..., None] ** 2)
    cup_share = random.uniform(0.35, 0.7)

    def ellipse(share: float) -> np.ndarray:
        return np.hypot((columns - place[0]) / 0.94, rows - place[1]) <= share * disc_radius

    disc, cup = ellipse(1.0), ellipse(cup_share)
    image[disc] = np.array([230, 150, 90]) * random.uniform(0.9, 1.05)
    image[cup] = np.array([250, 215, 160]) * random.uniform(0.9, 1.02)
    picture = np.clip(image, 0, 255).astype(np.uint8)
    for angle in random.uniform(0, 2 * np.pi, 7):
        bends = np.cumsum(random.normal(angle, 0.25, 12))[:, None] / np.arange(1, 13)[:, None]
        steps = np.hstack([np.cos(bends), np.sin(bends)]) * radius / 8
        path = place + np.vstack([[0, 0], np.cumsum(steps, axis=0)])
        cv2.polylines(picture, [path.astype(np.int32)], False, (120, 35, 25), max(1, int(disc_radius / 9)), cv2.LINE_AA)
    if not centred:
        picture[distance > 1] = 0
    picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
    noisy = picture + random.normal(0, 2, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), disc.astype(np.uint8) + cup.astype(np.uint8)


def write_folder(folder: Path, count: int, seed: int, crops: bool = False, cups: bool = True) -> Path:
    """`count` drawn photographs in the folder layout; returns `folder`."""
    random = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "glaucoma", "disc", "cup", "view", "width", "height"])
        for number in range(count):
            if crops:
                image, labels = draw_fundus(random, 200, 200, 0.7, centred=True)
            else:
                image, labels = draw_fundus(random)
            if not cups:
                labels = np.minimum(labels, 1)
            name = f"eye{number:03}"
            cv2.imwrite(str(folder / "images" / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            cv2.imwrite(str(folder / "masks" / f"{name}.png"), labels)
            height, width = labels.shape
            writer.writerow([name, "train", "", 1, int(cups), "crop" if crops else "full", width, height])
    return folder
