"""What Schemathesis sends as a photograph or a mask, so that what the document allows is really accepted.

A PNG is a label mask, which can be sent as a photograph too: a very dark one.
"""

import io

import numpy as np
import schemathesis
from hypothesis import strategies
from PIL import Image

from benchmarks.photographs import EXAMPLE

SIDE = 300  # pixels: thousands are sent
FORMATS = {"image/jpeg": "JPEG", "image/tiff": "TIFF", "image/bmp": "BMP", "image/webp": "WEBP"}


def photograph(kind: str) -> bytes:
    """The example, small."""
    return encoded(Image.open(EXAMPLE).convert("RGB").resize((SIDE, SIDE)), kind)


def label_mask() -> bytes:
    """A round disc with a round cup, in the values of `model.masks.Label`."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    distance = np.hypot(rows - SIDE / 2, columns - SIDE / 2)
    return encoded(Image.fromarray((distance < 60).astype(np.uint8) + (distance < 30)), "PNG")


def encoded(picture: Image.Image, kind: str) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


for media_type, kind in FORMATS.items():
    schemathesis.openapi.media_type(media_type, strategies.just(photograph(kind)))
schemathesis.openapi.media_type("application/octet-stream", strategies.just(photograph("JPEG")))
schemathesis.openapi.media_type("image/png", strategies.just(label_mask()))
