"""Photographs to measure with, made from the bundled example: other sizes, mirrored, brighter, of other compression."""

import io
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

EXAMPLE = Path(__file__).parents[1] / "examples" / "normal_left_eye.jpg"
WIDTHS = (1000, 1500, 2000, 2500, 3000)  # pixels; fundus cameras and smartphones, 0.9 to 7.9 megapixels
SHAPE = 1750 / 2000  # height over width: top and bottom of the field of view are cut off, as most cameras do


def varied(count: int, widths: tuple[int, ...] = WIDTHS) -> Iterator[bytes]:
    """So many JPEGs, no two alike; the same ones each time."""
    lots = random.Random(20261123)
    whole = Image.open(EXAMPLE).convert("RGB")
    for number in range(count):
        width = widths[number % len(widths)]
        resized = whole.resize((width, width), Image.Resampling.BICUBIC)
        margin = round(width * (1 - SHAPE) / 2)
        picture = resized.crop((0, margin, width, width - margin))
        if lots.random() < 0.5:
            picture = ImageOps.mirror(picture)
        picture = ImageEnhance.Brightness(picture).enhance(lots.uniform(0.9, 1.1))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=lots.choice((85, 90, 95)))
        yield file.getvalue()
