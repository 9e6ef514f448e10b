"""What Schemathesis sends as a photograph or a mask, so that what the document allows is really accepted.

A PNG is a label mask, which can be sent as a photograph too: a very dark one.
"""

import io
import itertools
from base64 import b64encode

import numpy as np
import schemathesis
from hypothesis import strategies
from PIL import Image
from schemathesis import HookContext

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


TEXT = b64encode(photograph("JPEG")).decode()
WHOLE = {  # by the last word of the path
    "infer": {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [TEXT]}]},
    "predict": {"instances": [{"b64": TEXT}]},
}
NUMBER = itertools.count()


@schemathesis.hook
def before_call(context: HookContext, case: schemathesis.Case, kwargs: dict[str, object]) -> None:
    """Of what fits the document every other request of the standard protocols becomes one that can be answered, as no
    chance writes a photograph in base64 or the name of a version."""
    wanted = WHOLE.get(case.operation.path.rpartition("/")[2].rpartition(":")[2])
    if wanted is None or case.meta is None or not case.meta.generation.mode.is_positive or next(NUMBER) % 2:
        return
    case.body, case.media_type = wanted, "application/json"
    if "version" in case.path_parameters:
        case.path_parameters["version"] = "production"
