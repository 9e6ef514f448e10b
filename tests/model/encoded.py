"""Drawn photographs as files in memory, for the tests of decoding."""

import io
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 72, 96


def draw() -> np.ndarray:
    """(72, 96, 3) uint8: smooth, and no two corners alike."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([2 * columns, 3 * rows, 100 + rows + columns // 2], axis=-1).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, name, **options)
    return file.getvalue()


def photograph_like(width: int, height: int) -> Image.Image:
    """Smooth, as photographs are, with a dark surround."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / 37) + np.cos(columns / (29 + 5 * channel)) for channel in range(3)], axis=2)
    lit = np.hypot(rows - height / 2, columns - width / 2)[..., None] < min(width, height) / 2.2
    return Image.fromarray(np.where(lit, 120 + 50 * waves, 0).astype(np.uint8))
