"""The paths of the API and how OpenAPI describes them. No work is done here."""

import dataclasses
import functools
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from model.artefact import Artefact
from model.errors import (
    EmptyPhotograph,
    NoVersionLive,
    TooFewPixels,
    TooManyBytes,
    TooManyPixels,
    UnreadablePhotograph,
    UnsupportedFormat,
    VersionNotFound,
)
from model.images import Limits
from service import answers, examples, negotiation, problems, uploads
from service.answers import MaskEncoding, Render, Wish
from service.schemas import Health, SegmentationAnswer, VersionDetail, VersionList, VersionSummary
from service.versions import LiveVersions

OFFERED = ("application/json", "image/png")

router = APIRouter()


async def _live(request: Request) -> LiveVersions:
    live: LiveVersions = request.app.state.live
    return live


Live = Annotated[LiveVersions, Depends(_live)]

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary", "description": "The photograph."}},
            }
        },
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in uploads.IMAGE_TYPES},
    },
}

_SEGMENTATION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; a photograph that cannot be graded is one too.",
        "headers": {
            "CupDisc-Version": {"description": "With `image/png`.", "schema": {"type": "string"}},
            "CupDisc-Gradable": {
                "description": "With `image/png`.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            },
            "CupDisc-Reasons": {
                "description": "With `image/png`: as `reasons`, separated by commas; empty where there are none.",
                "schema": {"type": "string"},
            },
            "CupDisc-Ratio-Vertical": {
                "description": "With `image/png`; absent where not gradable.",
                "schema": {"type": "number"},
            },
        },
        "content": {
            "application/json": {"examples": examples.SEGMENTATIONS},
            "image/png": {
                "schema": {"type": "string", "format": "binary"},
                "examples": {"overlay": {"summary": "A picture, see `render`", "value": "(the bytes of a PNG)"}},
            },
        },
    },
    **problems.responses(
        EmptyPhotograph,
        problems.InvalidMultipart,
        VersionNotFound,
        problems.NotAcceptable,
        problems.UploadTooSlow,
        TooManyBytes,
        UnsupportedFormat,
        problems.UnsupportedMediaType,
        problems.PhotographMissing,
        problems.InvalidParameter,
        TooManyPixels,
        TooFewPixels,
        UnreadablePhotograph,
        NoVersionLive,
    ),
}


@router.post(
    "/v1/segmentations",
    tags=["segmentation"],
    response_model=SegmentationAnswer,
    responses=_SEGMENTATION_RESPONSES,
    openapi_extra={"requestBody": _BODY},
)
async def segment(
    request: Request,
    live: Live,
    masks: Annotated[MaskEncoding, Query(description="How JSON carries the masks.")] = "png",
    render: Annotated[
        Render,
        Query(
            description="What `Accept: image/png` gives: the photograph with outlines, disc green and cup blue (without"
            " where not gradable), or a palette image with 0 background, 1 rim, 2 cup."
        ),
    ] = "overlay",
    version: Annotated[str | None, Query(description="A version or an alias, as in `/v1/versions`.")] = None,
) -> Response:
    """Optic disc, optic cup and cup-to-disc ratio of one fundus photograph.

    Send the photograph as the file `image` of a form, or as the body itself: JPEG, PNG, TIFF, BMP or WebP. It may show
    the whole retina or the disc alone. Nothing of it is stored or logged.
    """
    media_type = negotiation.choose(request.headers.getlist("accept"), OFFERED)
    state = request.app.state
    segmenter = await anyio.to_thread.run_sync(live.get, version)
    data = await uploads.photograph_bytes(request)
    limits: Limits = state.limits
    work = functools.partial(answers.answer, data, segmenter, limits, Wish(media_type, masks, render))
    return await anyio.to_thread.run_sync(work, limiter=state.workers)


@router.get(
    "/v1/versions",
    tags=["versions"],
    responses={200: {"content": {"application/json": {"examples": examples.VERSIONS}}}, **problems.responses()},
)
def versions(live: Live) -> VersionList:
    """The versions that this service can answer with. One whose files are not what its manifest says is left out."""
    aliases = live.aliases()
    found = [VersionSummary(**_summary(artefact, live, aliases)) for artefact in live.artefacts()]
    return VersionList(default=live.default, versions=found)


@router.get(
    "/v1/versions/{version}",
    tags=["versions"],
    responses={
        200: {"content": {"application/json": {"examples": examples.VERSION}}},
        **problems.responses(VersionNotFound),
    },
)
def version_detail(version: str, live: Live) -> VersionDetail:
    """Manifest and model card of a version or alias."""
    artefact = live.artefact(version)
    card = artefact.folder / "card.md"
    return VersionDetail(
        **_summary(artefact, live, live.aliases()),
        manifest=dataclasses.asdict(artefact.manifest),
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None,
    )


def _summary(artefact: Artefact, live: LiveVersions, aliases: dict[str, str]) -> dict[str, Any]:
    manifest = artefact.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": artefact.digest,
        "created": manifest.created,
        "aliases": sorted(alias for alias, version in aliases.items() if version == manifest.version),
        "loaded": live.is_loaded(manifest.version),
    }


_HEALTH: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"examples": examples.HEALTH}}}}


@router.get("/health/live", tags=["health"], responses={**_HEALTH, **problems.responses()})
async def health_live() -> Health:
    """The process answers."""
    return Health()


@router.get("/health/ready", tags=["health"], responses={**_HEALTH, **problems.responses(NoVersionLive)})
async def health_ready(live: Live) -> Health:
    """A version is loaded; segmentations will be answered."""
    if live.default is None:
        raise NoVersionLive("no version could be loaded")
    return Health()
