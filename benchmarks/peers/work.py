"""What every server does with one photograph, in two ways; `CUPDISC_PEER_TABLE` says which.

Both go through `model.segmenter`, so that the answers are equal: whoever serves these networks needs its regions, its
normalisation and its tidy masks. That is a gift to the peers in table (a): the geometry comes tuned.
"""

import base64
import io
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from model.registry import open_registry
from model.segmenter import Segmenter

Work = Callable[[bytes], dict[str, Any]]  # an encoded photograph → what the client gets, ready for JSON


def load() -> Work:
    """The networks, loaded once; then one call for each photograph."""
    artefact = open_registry("bundled").open("production")
    if os.environ["CUPDISC_PEER_TABLE"] == "a":
        return _as_taught(Segmenter(artefact, engine="tensorflow"))
    return _as_ours(Segmenter(artefact, threads=int(os.environ["CUPDISC_PEER_THREADS"])))


def _as_taught(segmenter: Segmenter) -> Work:
    """TensorFlow runs the SavedModel; Pillow opens the photograph and writes the masks."""

    def answer(data: bytes) -> dict[str, Any]:
        photograph = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        (found,) = segmenter.segment([photograph])
        masks = {"disc": found.label_mask >= 1, "cup": found.label_mask == 2}
        encoded = {}
        for name, mask in masks.items():
            file = io.BytesIO()
            Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
            encoded[name] = base64.b64encode(file.getvalue()).decode("ascii")
        return {"vertical": found.ratios.vertical if found.ratios else None, **encoded}

    return answer


def _as_ours(segmenter: Segmenter) -> Work:
    """Word for word what the service answers: the same decoding, engine, precision, threads and masks."""
    import cv2

    from model import images
    from model.images import Limits
    from service import answers
    from service.answers import Wish

    cv2.setNumThreads(1)  # as the service does: each worker has its core
    limits, wish = Limits(), Wish("application/json", masks="rle")

    def answer(data: bytes) -> dict[str, Any]:
        answered = answers.answer(data, segmenter, wish, lambda data, side: images.decode(data, limits, side))
        told: dict[str, Any] = json.loads(bytes(answered.response.body))
        return told

    return answer
