"""What Schemathesis sends as a photograph: the example in each format, and its outlines; what it may read from a file."""

import io

import schemathesis
from hypothesis import strategies
from PIL import Image

from benchmarks.photographs import EXAMPLE

SIDE = 300  # pixels: thousands are sent
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/tiff": "TIFF", "image/bmp": "BMP", "image/webp": "WEBP"}


def encoded(kind: str) -> bytes:
    """The example, small."""
    file = io.BytesIO()
    Image.open(EXAMPLE).convert("RGB").resize((SIDE, SIDE)).save(file, kind)
    return file.getvalue()


for media_type, kind in FORMATS.items():
    schemathesis.openapi.media_type(media_type, strategies.just(encoded(kind)))
schemathesis.openapi.media_type("application/octet-stream", strategies.just(encoded("JPEG")))
