"""TensorFlow Serving's REST API, as its clients and those of KServe's first protocol speak it.

Source: the API's description (tensorflow/serving, api_rest.md). Versions are CupDisc's names; TensorFlow Serving's
labels are aliases.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from model.biomarkers import Laterality
from service import inference, open_inference, protocol_documents, uploads
from service.answers import PRIVATE, MaskEncoding, Wish
from service.problems import InvalidInference
from service.protocol_documents import named_in, naming
from service.protocol_schemas import ModelStatus, Network, PredictRequest, Status, VersionState
from service.versions import LiveVersions


@dataclass(frozen=True)
class Photographs:
    """What a request for the whole answer brings."""

    by_rows: bool
    encoded: list[bytes]


@dataclass(frozen=True)
class Regions:
    """What a request for a network's probabilities brings."""

    by_rows: bool
    network: Network
    images: np.ndarray


_REQUEST = TypeAdapter(PredictRequest)
router = APIRouter()


@router.post("/v1/models/{model}:predict", **protocol_documents.predict("predict"))
@router.post(
    "/v1/models/{model}/versions/{version}:predict", **naming("version", protocol_documents.predict("predict_version"))
)
@router.post(
    "/v1/models/{model}/labels/{label}:predict", **naming("label", protocol_documents.predict("predict_label"))
)
async def predict(
    request: Request,
    model: str,
    masks: Annotated[MaskEncoding, Query(description="How the predictions carry the masks.")] = "none",
    laterality: Annotated[
        Laterality, Query(description="Which eye it is, of all photographs of the request.")
    ] = "unknown",
    convention: Annotated[str | None, Query(description="As that of `/v1/segmentations`.")] = None,
) -> Response:
    """1 to 8 photographs in base64; the predictions are what `/v1/segmentations` says about each.

    The signatures `locator` and `segmenter` take 1 to 8 prepared regions and answer with probabilities.
    """
    segmenter = await inference.version_of(request, named_in(request), model)
    segmenter = await inference.in_convention(request, segmenter, convention, named_in(request))
    body = await uploads.plain_body(request)
    asked = await anyio.to_thread.run_sync(take_apart, body, limiter=request.app.state.workers)
    if isinstance(asked, Photographs):
        wish = Wish("application/json", masks, laterality=laterality)
        found = await inference.photographs(request, segmenter, asked.encoded, wish)
        text = ", ".join(each.answer.decode() for each in found)
        return _answer(f"[{text}]", asked.by_rows)
    result = await inference.probabilities(request, segmenter, asked.network, asked.images)
    text = await anyio.to_thread.run_sync(lambda: json.dumps(result.tolist(), allow_nan=False))
    return _answer(text, asked.by_rows)


@router.get("/v1/models/{model}", **protocol_documents.about("model_status"))
@router.get(
    "/v1/models/{model}/versions/{version}", **naming("version", protocol_documents.about("model_version_status"))
)
@router.get("/v1/models/{model}/labels/{label}", **naming("label", protocol_documents.about("model_label_status")))
def describe_model(request: Request, model: str) -> ModelStatus:
    """The versions that can be asked; of a version or a label that one alone."""
    live: LiveVersions = request.app.state.live
    named = named_in(request)
    one = open_inference.known(live, model, named)
    versions = [one] if named else live.artefacts()
    fine = Status(error_code="OK", error_message="")
    states = [VersionState(version=each.manifest.version, state="AVAILABLE", status=fine) for each in versions]
    return ModelStatus(name=model, ready=True, model_version_status=states)


def take_apart(body: bytes) -> Photographs | Regions:
    """What a request brings, decoded from JSON and base64, which takes its time. Raises InvalidInference."""
    try:
        asked = _REQUEST.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise InvalidInference(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None
    if (asked.instances is None) == (asked.inputs is None):
        raise InvalidInference("either `instances` or `inputs`")
    by_rows = asked.instances is not None
    column = open_inference.PHOTOGRAPH if asked.signature_name == "serving_default" else open_inference.IMAGE
    given = asked.instances if by_rows else _column(asked.inputs, column)
    if not isinstance(given, list) or not 1 <= len(given) <= inference.MOST:
        raise InvalidInference(f"send 1 to {inference.MOST} in one request")
    if by_rows:
        given = [_column(each, column) for each in given]
    if asked.signature_name == "serving_default":
        return Photographs(by_rows, [inference.from_base64(each) for each in _photographs(given)])
    return Regions(by_rows, asked.signature_name, inference.numbers(given))


def _column(given: Any, name: str) -> Any:
    """What stands under a name, where names are given."""
    return given[name] if isinstance(given, dict) and set(given) == {name} else given


def _photographs(given: list[Any]) -> list[Any]:
    if not all(isinstance(each, dict) and set(each) == {"b64"} for each in given):
        raise InvalidInference('a photograph is {"b64": "…"}')
    return [each["b64"] for each in given]


def _answer(predictions: str, by_rows: bool) -> Response:
    text = f'{{"{"predictions" if by_rows else "outputs"}": {predictions}}}'
    return Response(text, headers=PRIVATE, media_type="application/json")
