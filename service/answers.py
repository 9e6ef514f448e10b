"""One photograph's bytes → one answer. Everything slow happens here, outside the event loop."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from fastapi import Response

from model import biomarkers
from model.biomarkers import Laterality
from model.images import Decoded
from model.masks import Label, Patch
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service import rendering
from service.schemas import Mask, PngMask, PolygonMask, RleMask, SegmentationAnswer

MaskEncoding = Literal["png", "rle", "polygon", "none"]
Render = Literal["overlay", "mask", "pdf"]
PRIVATE = {"Cache-Control": "no-store", "Vary": "Accept"}


@dataclass(frozen=True)
class Wish:
    """What the client asked for."""

    media_type: str  # application/json, image/png or application/pdf
    masks: MaskEncoding = "png"  # for JSON
    render: Render | None = None  # for PNG: the mask, or else the overlay
    laterality: Laterality = "unknown"

    @property
    def shows_the_photograph(self) -> bool:
        """Whether every pixel of it is needed."""
        return self.media_type == "application/pdf" or (self.media_type == "image/png" and self.render != "mask")


@dataclass(frozen=True)
class Answered:
    """The answer, and what it was made from."""

    response: Response
    segmentation: Segmentation
    decoded: Decoded  # perhaps reduced
    timings_ms: dict[str, float]  # by stage


def answer(
    data: bytes,
    segmenter: Segmenter,
    wish: Wish,
    decode: Callable[[bytes, int | None], Decoded],
    between: Callable[[], None] = lambda: None,
) -> Answered:
    """Decode, segment, encode.

    Args:
        decode: bytes → photograph, perhaps reduced to a smallest side.
        between: called between the stages; what it raises ends the work.
    Raises:
        PhotographError: as `images.decode`.
    """
    decoded, segmentation, decode_ms = segmented(data, segmenter, decode, wish.shows_the_photograph, between)
    started = time.perf_counter()
    if wish.media_type == "image/png":
        content = _png(decoded, segmentation, wish.render)
        response = _picture(content, segmentation, segmenter, wish.media_type)
    elif wish.media_type == "application/pdf":
        from service import report  # with a package that a service need not wait for when it starts

        found = describe(decoded, segmentation, segmenter, replace(wish, masks="none"), decode_ms)
        content = report.pdf(decoded.pixels, segmentation.label_mask, found, datetime.now(UTC))
        response = _picture(content, segmentation, segmenter, wish.media_type)
    else:
        body = describe(decoded, segmentation, segmenter, wish, decode_ms)
        response = Response(body.model_dump_json(), headers=PRIVATE, media_type="application/json")
    timings_ms = {"decode": decode_ms, **segmentation.timings_ms, "encode": _since(started)}
    return Answered(response, segmentation, decoded, timings_ms)


def segmented(
    data: bytes,
    segmenter: Segmenter,
    decode: Callable[[bytes, int | None], Decoded],
    whole: bool = False,
    between: Callable[[], None] = lambda: None,
) -> tuple[Decoded, Segmentation, float]:
    """A photograph, decoded no finer than is needed; what was found in it; and how many ms decoding took.

    Args:
        whole: whether every pixel is needed; otherwise as `answer`.
    """
    started = time.perf_counter()
    decoded = decode(data, None if whole else segmenter.smallest_side)
    decode_ms = _since(started)
    (found,) = segmenter.segment([decoded], between)
    if found.coarse:
        decoded, found, more_ms = segmented(data, segmenter, decode, True, between)
        decode_ms += more_ms
    return decoded, found, decode_ms


def describe(
    decoded: Decoded, segmentation: Segmentation, segmenter: Segmenter, wish: Wish, decode_ms: float
) -> SegmentationAnswer:
    """Everything about one photograph as the API tells it."""
    started = time.perf_counter()
    shown = segmentation.shown
    disc, cup = (shown.having(np.asarray(part)) for part in (shown.values >= Label.RIM, shown.values == Label.CUP))
    structures = {
        "disc": _structure(segmentation.disc, disc, segmentation.disc_confidence, wish.masks),
        "cup": _structure(segmentation.cup, cup, segmentation.cup_confidence, wish.masks),
    }
    ratios = segmentation.ratios and {**vars(segmentation.ratios), "vertical_interval": segmentation.vertical_interval}
    sectors = biomarkers.rim_widths(shown.values, wish.laterality) if segmentation.gradable else None
    height, width = decoded.shape
    return SegmentationAnswer.model_validate(
        {
            "version": {
                "name": segmenter.name,
                "version": segmenter.version,
                "sha256": segmenter.digest,
                "engine": segmenter.engine,
                "precision": segmenter.precision,
                "convention": segmenter.convention,
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


def _structure(region: object, mask: Patch, confidence: float | None, masks: MaskEncoding) -> object:
    return region and {**vars(region), "mask": _encode(mask, masks), "confidence": confidence}


def _encode(mask: Patch, encoding: MaskEncoding) -> Mask | None:
    match encoding:
        case "png":
            return PngMask(data=base64.b64encode(rendering.mask_png(mask)).decode("ascii"))
        case "rle":
            return RleMask(size=mask.shape, counts=rendering.mask_rle(mask))
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
        **PRIVATE,
        "CupDisc-Version": segmenter.version,
        "CupDisc-Gradable": str(segmentation.gradable).lower(),
        "CupDisc-Reasons": ", ".join(segmentation.reasons),
    }
    if segmenter.convention:
        headers["CupDisc-Convention"] = segmenter.convention
    if segmentation.ratios:
        headers["CupDisc-Ratio-Vertical"] = f"{segmentation.ratios.vertical:.4f}"
    return Response(content, headers=headers, media_type=media_type)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
