"""Drawn photographs for tests, of the size that a test asks for, and folders of them: all whole, all crops, or without cups."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from training.synthetic import Camera, draw, some_camera, some_eye, write_example


def draw_fundus(
    random: np.random.Generator, height: int = 360, width: int = 400, disc_share: float = 0.16, centred: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its labels.

    Args:
        disc_share: disc height over `height`.
        centred: a crop of the disc, without any surround.
    Returns:
        (height, width, 3) uint8 RGB, and (height, width) uint8 of `Label`.
    """
    eye = dataclasses.replace(some_eye(random), cup=float(random.uniform(0.35, 0.7)))
    free = 0.47 - disc_share  # of the height, from the middle of the field of view
    away = np.zeros(2) if centred else random.uniform(-0.45, 0.45, 2) * free
    camera = dataclasses.replace(
        some_camera(random),
        height=height,
        width=width,
        disc_share=disc_share,
        field_share=0.0 if centred else 0.94,
        disc_at=(0.5 + float(away[0]) * height / width, 0.5 + float(away[1])),
        haze=0.0,
        blur=0.8,
        noise=2.0,
        surround=Camera.surround,
    )
    return draw(eye, camera, random)


def write_folder(folder: Path, count: int, seed: int, crops: bool = False, cups: bool = True) -> Path:
    """`count` drawn photographs in the folder layout; returns `folder`."""
    random = np.random.default_rng(seed)
    rows: list[list[object]] = [["id", "split", "glaucoma", "disc", "cup", "view", "width", "height"]]
    for number in range(count):
        image, labels = draw_fundus(random, 200, 200, 0.7, centred=True) if crops else draw_fundus(random)
        name = f"eye{number:03}"
        write_example(folder, name, image, labels if cups else np.minimum(labels, 1))
        height, width = labels.shape
        rows.append([name, "train", "", 1, int(cups), "crop" if crops else "full", width, height])
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder
