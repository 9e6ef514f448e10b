"""One photograph's bytes → one answer. Everything slow happens here, outside the event loop."""

import base64
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from fastapi import Response

from model import biomarkers, images
from model.biomarkers import Laterality
from model.images import Decoded, Limits
from model.masks import Label
from model.segmenter import Segmentation, Segmenter
from service import rendering, report
from service.schemas import Mask, PngMask, PolygonMask, RleMask, SegmentationAnswer

MaskEncoding = Literal["png", "rle", "polygon", "none"]
Render = Literal["overlay", "mask", "pdf"]
_PRIVATE = {"Cache-Control": "no-store", "Vary": "Accept"}


@dataclass(frozen=True)
class Wish:
    """What the client asked for."""

    media_type: str  # application/json, image/png or application/pdf
    masks: MaskEncoding = "png"  # for JSON
    render: Render | None = None  # for PNG: the mask, or else the overlay
    laterality: Laterality = "unknown"


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
        return _picture(_png(decoded, segmentation, wish.render), segmentation, segmenter, wish.media_type)
    if wish.media_type == "application/pdf":
        found = describe(decoded, segmentation, segmenter, replace(wish, masks="none"), decode_ms)
        page = report.pdf(decoded.pixels, segmentation.label_mask, found, datetime.now(UTC))
        return _picture(page, segmentation, segmenter, wish.media_type)
    body = describe(decoded, segmentation, segmenter, wish, decode_ms)
    return Response(body.model_dump_json(), headers=_PRIVATE, media_type="application/json")


def describe(
    decoded: Decoded, segmentation: Segmentation, segmenter: Segmenter, wish: Wish, decode_ms: float
) -> SegmentationAnswer:
    """Everything about one photograph as the API tells it."""
    started = time.perf_counter()
    disc_mask = segmentation.label_mask >= Label.RIM
    cup_mask = segmentation.label_mask == Label.CUP
    structures = {
        "disc": _structure(segmentation.disc, disc_mask, segmentation.disc_confidence, wish.masks),
        "cup": _structure(segmentation.cup, cup_mask, segmentation.cup_confidence, wish.masks),
    }
    ratios = segmentation.ratios and {**vars(segmentation.ratios), "vertical_interval": segmentation.vertical_interval}
    sectors = biomarkers.rim_widths(segmentation.label_mask, wish.laterality) if segmentation.gradable else None
    height, width = decoded.pixels.shape[:2]
    return SegmentationAnswer.model_validate(
        {
            "version": {
                "name": segmenter.name,
                "version": segmenter.version,
                "sha256": segmenter.digest,
                "engine": segmenter.engine,
                "precision": segmenter.precision,
            },
            "image": {"width": width, "height": height, "format": decoded.format},
            "laterality": wish.laterality,
            "gradable": segmentation.gradable,
            "reasons": segmentation.reasons,
            **structures,
            "cup_to_disc_ratio": ratios,
            "rim": sectors and {"sectors": sectors},
            "quality": segmentation,
            "timings_ms": {"decode": decode_ms, **segmentation.timings_ms, "encode": _since(started)},
        }
    )


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


def _png(decoded: Decoded, segmentation: Segmentation, render: Render | None) -> bytes:
    if render == "mask":
        return rendering.label_png(segmentation.label_mask)
    drawn = segmentation.label_mask if segmentation.gradable else np.zeros_like(segmentation.label_mask)
    return rendering.overlay_png(decoded.pixels, drawn)


def _picture(content: bytes, segmentation: Segmentation, segmenter: Segmenter, media_type: str) -> Response:
    headers = {
        **_PRIVATE,
        "CupDisc-Version": segmenter.version,
        "CupDisc-Gradable": str(segmentation.gradable).lower(),
        "CupDisc-Reasons": ", ".join(segmentation.reasons),
    }
    if segmentation.ratios:
        headers["CupDisc-Ratio-Vertical"] = f"{segmentation.ratios.vertical:.4f}"
    return Response(content, headers=headers, media_type=media_type)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
