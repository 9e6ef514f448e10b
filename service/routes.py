"""The paths of the API. No work is done here."""

import dataclasses
import functools
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from model.artefact import Artefact
from model.biomarkers import Laterality
from model.errors import NoVersionLive
from service import answers, inference, measurements, negotiation, openapi, security, uploads
from service.answers import MaskEncoding, Render, Wish
from service.problems import InvalidParameter, Stopping
from service.schemas import (
    Health,
    MeasurementAnswer,
    Replica,
    SegmentationAnswer,
    StoredAnswer,
    VersionDetail,
    VersionList,
    VersionSummary,
)
from service.versions import LiveVersions

# by `render`: the forms of the answer, the default first
OFFERED: dict[Render | None, tuple[str, ...]] = {
    None: ("application/json", "image/png", "application/pdf"),
    "overlay": ("image/png", "application/json"),
    "mask": ("image/png", "application/json"),
    "pdf": ("application/pdf", "application/json"),
}

router = APIRouter()


async def _live(request: Request) -> LiveVersions:
    live: LiveVersions = request.app.state.live
    return live


Live = Annotated[LiveVersions, Depends(_live)]
Convention = Annotated[
    str | None,
    Query(
        description="Whose experts' annotation to draw: one of the names in `conventions` of `/v1/versions/{version}`."
        " By default the one that the version was published to draw."
    ),
]
Eye = Annotated[Laterality, Query(description="Which eye it is; names the rim's sectors.")]


@router.post("/v1/segmentations", response_model=SegmentationAnswer | StoredAnswer, **openapi.SEGMENT)
async def segment(
    request: Request,
    masks: Annotated[MaskEncoding, Query(description="How JSON carries the masks.")] = "png",
    render: Annotated[
        Render | None,
        Query(
            description="A picture in place of JSON, unless `Accept` excludes it. `overlay`: the photograph with"
            " outlines, disc green and cup blue (without where not gradable), as `Accept: image/png` gives it too."
            " `mask`: a palette PNG with 0 background, 1 rim, 2 cup. `pdf`: a report of one page, as"
            " `Accept: application/pdf` gives it too."
        ),
    ] = None,
    laterality: Eye = "unknown",
    version: Annotated[str | None, Query(description="A version or an alias, as in `/v1/versions`.")] = None,
    convention: Convention = None,
) -> Response:
    """Optic disc, optic cup and cup-to-disc ratio of one fundus photograph.

    Send the photograph as the file `image` of a form, or as the body itself: JPEG, PNG, TIFF, BMP or WebP. It may show
    the whole retina or the disc alone. Nothing of it is stored or logged. Where the operator allows it, JSON may name a
    photograph on Cloud Storage instead, and where to write the results.
    """
    media_type = negotiation.choose(request.headers.getlist("accept"), OFFERED[render])
    state = request.app.state
    segmenter = await inference.version_of(request, version)
    segmenter = await inference.in_convention(request, segmenter, convention, version)
    named = await uploads.named_photograph(request)
    if named is None:
        data = await uploads.photograph_bytes(request)
    else:
        state.cloud.check(named)
        if named.output is not None and media_type != "application/json":
            raise InvalidParameter("output: the answer to this is JSON")
        fetch = functools.partial(state.cloud.fetch, named.uri, state.limits)
        data = await anyio.to_thread.run_sync(fetch, limiter=state.transfers)
    wish = Wish(media_type, masks, render, laterality)
    answered = await inference.segmented(request, segmenter, data, wish)
    if named is None or named.output is None:
        return answered.response
    found = SegmentationAnswer.model_validate_json(bytes(answered.response.body))
    store = functools.partial(state.cloud.store, named.output, found, answered.segmentation)
    stored = await anyio.to_thread.run_sync(store, limiter=state.transfers)
    return Response(stored.model_dump_json(), headers=answers.PRIVATE, media_type="application/json")


@router.post("/v1/measurements", response_model=MeasurementAnswer, **openapi.MEASURE)
async def measure(request: Request, laterality: Eye = "unknown") -> Response:
    """The numbers of a disc and a cup that were outlined elsewhere, by a person for instance.

    Send polygons as JSON, or a label mask as the file `mask` of a form or as the body itself. They are measured as they
    are, in the same way as a segmentation.
    """
    state = request.app.state
    state.queue.check_room()
    upload = await uploads.outlines(request)
    work = functools.partial(measurements.answer, upload, state.limits, laterality)
    heavy = measurements.cost(upload).is_heavy
    answered: Response = await state.queue.run(work, security.caller_of(request), request.receive, heavy)
    return answered


@router.get("/v1/versions", **openapi.LIST_VERSIONS)
def list_versions(request: Request, live: Live) -> VersionList:
    """The versions that this service can answer with. One whose files are not what its manifest says is left out."""
    aliases = live.aliases()
    found = [VersionSummary(**_summary(artefact, live, aliases)) for artefact in live.artefacts()]
    name, group = request.app.state.replica, request.app.state.group
    states = group.states() if group else [live.state(name)]
    replicas = [Replica.model_validate(each) for each in states]
    return VersionList(default=live.default, versions=found, replica=name, replicas=replicas)


@router.get("/v1/versions/{version}", **openapi.GET_VERSION)
def get_version(version: str, live: Live) -> VersionDetail:
    """Manifest and model card of a version or alias."""
    artefact = live.artefact(version)
    card = artefact.folder / "card.md"
    return VersionDetail(
        **_summary(artefact, live, live.aliases()),
        manifest=dataclasses.asdict(artefact.manifest),
        conventions=list(artefact.conventions.each),
        convention=artefact.conventions.drawn,
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


@router.get("/health/live", **openapi.CHECK_LIVE)
async def check_live() -> Health:
    """The process answers."""
    return Health()


@router.get("/health/ready", **openapi.CHECK_READY)
async def check_ready(request: Request, live: Live) -> Health:
    """A version is loaded; segmentations will be answered."""
    if request.app.state.stopping:
        raise Stopping("the service is being stopped")
    if live.default is None:
        raise NoVersionLive("no version could be loaded")
    reasons = sorted(live.troubles)
    return Health(status="degraded", reasons=reasons) if reasons else Health()
