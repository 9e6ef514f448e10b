"""One photograph's bytes → one answer. Everything slow happens here, outside the event loop."""

import base64
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from fastapi import Response

from model import images
from model.images import Decoded, Limits
from model.masks import Label
from model.segmenter import Segmentation, Segmenter
from service import rendering
from service.schemas import Mask, PngMask, PolygonMask, RleMask, SegmentationAnswer

MaskEncoding = Literal["png", "rle", "polygon", "none"]
Render = Literal["overlay", "mask"]
_PRIVATE = {"Cache-Control": "no-store", "Vary": "Accept"}


@dataclass(frozen=True)
class Wish:
    """What the client asked for."""

    media_type: str  # application/json or image/png
    masks: MaskEncoding = "png"  # for JSON
    render: Render = "overlay"  # for PNG


def answer(data: bytes, segmenter: Segmenter, limits: Limits, wish: Wish) -> Response:
    """Decode, segment, encode.

    Raises:
        PhotographError: as `images.decode`.
    """
    started = time.perf_counter()
    decoded = images.decode(data, limits)
    decode_ms = _since(started)
    (segmentation,) = segmenter.segment([decoded.pixels])
    if wish.media_type == "image/png":
        return _png(decoded, segmentation, segmenter, wish.render)
    return _json(decoded, segmentation, segmenter, wish.masks, decode_ms)


def _json(
    decoded: Decoded, segmentation: Segmentation, segmenter: Segmenter, masks: MaskEncoding, decode_ms: float
) -> Response:
    started = time.perf_counter()
    disc_mask = segmentation.label_mask >= Label.RIM
    cup_mask = segmentation.label_mask == Label.CUP
    structures = {
        "disc": _structure(segmentation.disc, disc_mask, segmentation.disc_confidence, masks),
        "cup": _structure(segmentation.cup, cup_mask, segmentation.cup_confidence, masks),
    }
    ratios = segmentation.ratios and {**vars(segmentation.ratios), "vertical_interval": segmentation.vertical_interval}
    height, width = decoded.pixels.shape[:2]
    body = SegmentationAnswer.model_validate(
        {
            "version": {
                "name": segmenter.name,
                "version": segmenter.version,
                "sha256": segmenter.digest,
                "engine": segmenter.engine,
                "precision": segmenter.precision,
            },
            "image": {"width": width, "height": height, "format": decoded.format},
            "gradable": segmentation.gradable,
            "reasons": segmentation.reasons,
            **structures,
            "cup_to_disc_ratio": ratios,
            "quality": segmentation,
            "timings_ms": {"decode": decode_ms, **segmentation.timings_ms, "encode": _since(started)},
        }
    )
    return Response(body.model_dump_json(), headers=_PRIVATE, media_type="application/json")


def _structure(region: object, mask: np.ndarray, confidence: float | None, masks: MaskEncoding) -> object:
    return region and {**vars(region), "mask": _encode(mask, masks), "confidence": confidence}


def _encode(mask: np.ndarray, encoding: MaskEncoding) -> Mask | None:
    match encoding:
        case "png":
            return PngMask(data=base64.b64encode(rendering.mask_png(mask)).decode("ascii"))
        case "rle":
            return RleMask(size=(mask.shape[0], mask.shape[1]), counts=rendering.mask_rle(mask))
        case "polygon":
            return PolygonMask(rings=rendering.mask_rings(mask))
        case "none":
            return None


def _png(decoded: Decoded, segmentation: Segmentation, segmenter: Segmenter, render: Render) -> Response:
    headers = {
        **_PRIVATE,
        "CupDisc-Version": segmenter.version,
        "CupDisc-Gradable": str(segmentation.gradable).lower(),
        "CupDisc-Reasons": ", ".join(segmentation.reasons),
    }
    if segmentation.ratios:
        headers["CupDisc-Ratio-Vertical"] = f"{segmentation.ratios.vertical:.4f}"
    if render == "mask":
        picture = rendering.label_png(segmentation.label_mask)
    else:
        drawn = segmentation.label_mask if segmentation.gradable else np.zeros_like(segmentation.label_mask)
        picture = rendering.overlay_png(decoded.pixels, drawn)
    return Response(picture, headers=headers, media_type="image/png")


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
