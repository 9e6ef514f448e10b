"""The Open Inference Protocol, version 2, over HTTP: what clients of KServe and Triton speak.

Source: the protocol's specification (kserve/open-inference-protocol) and Triton's extension for binary tensors, in
which the header `Inference-Header-Content-Length` tells where in a body the JSON ends and the tensors begin.
"""

import functools
import json
import math
import struct
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from model.artefact import Artefact
from model.errors import NoVersionLive
from service import inference, protocol_documents, uploads
from service.answers import PRIVATE, Wish
from service.inference import Found
from service.problems import InvalidInference, ModelNotFound, Stopping
from service.protocol_documents import named_in, naming
from service.protocol_schemas import (
    InferenceRequest,
    InputTensor,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorMetadata,
)
from service.versions import LiveVersions

HEADER_LENGTH = "Inference-Header-Content-Length"
PHOTOGRAPH, IMAGE = "photograph", "image"  # inputs, of which a request has one
OUTPUTS = {PHOTOGRAPH: ("answer", "gradable", "label_mask"), IMAGE: ("probabilities",)}
KINDS = {"answer": "BYTES", "gradable": "BOOL", "label_mask": "BYTES", "probabilities": "FP32"}
SIZE = struct.Struct("<I")  # before each element of a binary BYTES tensor


@dataclass(frozen=True)
class Asked:
    """A request, taken apart."""

    request: InferenceRequest
    photographs: list[bytes] | None  # or else
    images: np.ndarray | None


_REQUEST = TypeAdapter(InferenceRequest)
router = APIRouter()


@router.get("/v2", **protocol_documents.server_metadata())
async def describe_server(request: Request) -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(name="cupdisc", version=request.app.version, extensions=["binary_tensor_data"])


@router.get("/v2/health/live", **protocol_documents.health("v2_live"))
async def check_live() -> Live:
    """The process answers."""
    return Live(live=True)


@router.get("/v2/health/ready", **protocol_documents.health("v2_ready", NoVersionLive, Stopping))
async def check_ready(request: Request) -> Ready:
    """As `/health/ready`."""
    if request.app.state.stopping:
        raise Stopping("the service is being stopped")
    if request.app.state.live.default is None:
        raise NoVersionLive("no version could be loaded")
    return Ready(ready=True)


@router.get("/v2/models/{model}", **protocol_documents.about("v2_model"))
@router.get("/v2/models/{model}/versions/{version}", **naming("version", protocol_documents.about("v2_version")))
def describe_model(request: Request, model: str) -> ModelMetadata:
    """Inputs, outputs and versions. A request has one of the inputs: photographs, or prepared regions."""
    live: LiveVersions = request.app.state.live
    version = named_in(request)
    artefact = known(live, model, version)
    entry = artefact.manifest.segmenter
    side, channels = entry.input_size, len(entry.outputs)
    inputs = [(PHOTOGRAPH, "BYTES", [-1]), (IMAGE, "FP32", [-1, side, side, 3])]
    outputs = [(name, KINDS[name], [-1]) for name in OUTPUTS[PHOTOGRAPH]]
    outputs.append(("probabilities", "FP32", [-1, side, side, channels]))
    return ModelMetadata(
        name=model,
        versions=[artefact.manifest.version] if version else [each.manifest.version for each in live.artefacts()],
        platform="cupdisc",
        inputs=[TensorMetadata(name=name, datatype=kind, shape=shape) for name, kind, shape in inputs],
        outputs=[TensorMetadata(name=name, datatype=kind, shape=shape) for name, kind, shape in outputs],
    )


@router.get("/v2/models/{model}/ready", **protocol_documents.about("v2_model_ready"))
@router.get(
    "/v2/models/{model}/versions/{version}/ready", **naming("version", protocol_documents.about("v2_version_ready"))
)
def check_model(request: Request, model: str) -> ModelReady:
    """Whether this version can be asked; one that is not in memory is loaded when it is."""
    known(request.app.state.live, model, named_in(request))
    return ModelReady(name=model, ready=True)


@router.post("/v2/models/{model}/infer", **protocol_documents.infer("v2_infer"))
@router.post(
    "/v2/models/{model}/versions/{version}/infer", **naming("version", protocol_documents.infer("v2_infer_version"))
)
async def infer(request: Request, model: str) -> Response:
    """Photographs in, what `/v1/segmentations` says about each out; or prepared regions in, probabilities out.

    The input `photograph` holds 1 to 8 encoded photographs (BYTES; in JSON as base64). `answer` is the JSON of
    `/v1/segmentations` for each, `gradable` its verdict, `label_mask` a PNG with 0 background, 1 rim, 2 cup. The input
    `image` holds 1 to 8 regions as the version's networks see them (FP32, normalised); `probabilities` is what the
    network makes of them. Tensors may be binary, as Triton's extension has it.
    """
    segmenter = await inference.version_of(request, named_in(request), model)
    body = await uploads.plain_body(request)
    length = request.headers.get(HEADER_LENGTH)
    asked = await anyio.to_thread.run_sync(take_apart, body, length, limiter=request.app.state.workers)
    wanted = _wanted(asked)
    chosen = asked.request.parameters
    segmenter = await inference.in_convention(request, segmenter, chosen.convention, named_in(request))
    if asked.photographs is not None:
        wish = Wish("application/json", chosen.masks, laterality=chosen.laterality)
        found = await inference.photographs(request, segmenter, asked.photographs, wish, "label_mask" in wanted)
        tensors = {name: _tensor(name, found) for name in wanted}
        shape = asked.request.inputs[0].shape
        shapes = dict.fromkeys(wanted, shape)
    else:
        assert asked.images is not None  # noqa: S101 - for the type checker
        result = await inference.probabilities(request, segmenter, chosen.network, asked.images)
        tensors, shapes = {"probabilities": result}, {"probabilities": list(result.shape)}
    answer = functools.partial(put_together, asked.request, segmenter.name, segmenter.version, wanted, tensors, shapes)
    return await anyio.to_thread.run_sync(answer, limiter=request.app.state.workers)


def known(live: LiveVersions, model: str, version: str | None) -> Artefact:
    """The files of a version that can be asked for.

    Raises:
        ModelNotFound, VersionNotFound, NoVersionLive; StorageError.
    """
    if live.default is None:
        raise NoVersionLive("no version could be loaded")
    artefact = live.artefact(version or live.default)
    if model != artefact.manifest.name:
        raise ModelNotFound(f"no model {model[:100]}; there is {artefact.manifest.name}")
    return artefact


def take_apart(body: bytes, header_length: str | None) -> Asked:
    """A request's JSON and its tensors. Raises InvalidInference."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
            raise InvalidInference(f"{HEADER_LENGTH} is no number of bytes")
        length = int(header_length)
        if length > len(body):
            raise InvalidInference(f"{HEADER_LENGTH} is {length}, and the body has {len(body)} bytes")
    try:
        request = _REQUEST.validate_json(body[:length])
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise InvalidInference(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None
    given, rest = request.inputs[0], memoryview(body)[length:]
    size = given.parameters.binary_data_size
    if (size is None) == (given.data is None):
        raise InvalidInference(f"{given.name}: either `data` or `binary_data_size`")
    if size is None and len(rest):
        raise InvalidInference(f"{len(rest)} bytes after the JSON, and no input is binary")
    if size is not None and size != len(rest):
        raise InvalidInference(f"{given.name}: binary_data_size is {size}, and {len(rest)} bytes follow the JSON")
    match given.name, given.datatype:
        case "photograph", "BYTES":
            parts = _elements(rest) if given.data is None else [inference.from_base64(each) for each in given.data]
            _check_count(given, len(parts))
            if len(given.shape) not in (1, 2) or (len(given.shape) == 2 and given.shape[1] != 1):
                raise InvalidInference("photograph: the shape is [count] or [count, 1]")
            return Asked(request, parts, None)
        case "image", "FP32":
            if len(given.shape) != 4:
                raise InvalidInference("image: the shape is [count, height, width, 3]")
            values = _floats(rest) if given.data is None else inference.numbers(given.data).ravel()
            _check_count(given, values.size)
            return Asked(request, None, values.reshape(given.shape))
        case _:
            raise InvalidInference("send the input photograph as BYTES, or image as FP32")


def put_together(
    request: InferenceRequest,
    name: str,
    version: str,
    wanted: dict[str, bool],
    tensors: dict[str, Any],
    shapes: dict[str, list[int]],
) -> Response:
    """The answer; binary tensors after its JSON."""
    told, binary = [], []
    for output, as_binary in wanted.items():
        tensor: dict[str, Any] = {"name": output, "datatype": KINDS[output], "shape": shapes[output]}
        if as_binary:
            binary.append(_binary(tensors[output]))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = _listed(output, tensors[output])
        told.append(tensor)
    answer = {"model_name": name, "model_version": version, "outputs": told}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer, allow_nan=False).encode()
    if not binary:
        return Response(head, headers=PRIVATE, media_type="application/json")
    headers = {**PRIVATE, HEADER_LENGTH: str(len(head))}
    return Response(b"".join([head, *binary]), headers=headers, media_type="application/octet-stream")


def _wanted(asked: Asked) -> dict[str, bool]:
    """Output → whether it shall be binary."""
    offered, all_binary = OUTPUTS[asked.request.inputs[0].name], asked.request.parameters.binary_data_output
    if asked.request.outputs is None:
        return dict.fromkeys(offered, all_binary)
    wrong = [each.name[:100] for each in asked.request.outputs if each.name not in offered]
    if wrong:
        raise InvalidInference(f"no output {wrong[0]}; there is {', '.join(offered)}")
    own = {each.name: each.parameters.binary_data for each in asked.request.outputs}
    return {name: all_binary if choice is None else choice for name, choice in own.items()}


def _tensor(output: str, found: list[Found]) -> list[bytes] | np.ndarray:
    match output:
        case "answer":
            return [each.answer for each in found]
        case "label_mask":
            return [each.label_mask or b"" for each in found]
        case _:
            return np.array([each.gradable for each in found])


def _binary(tensor: list[bytes] | np.ndarray) -> bytes:
    if isinstance(tensor, np.ndarray):
        return tensor.tobytes()
    return b"".join(SIZE.pack(len(each)) + each for each in tensor)


def _listed(output: str, tensor: list[bytes] | np.ndarray) -> list[Any]:
    if isinstance(tensor, np.ndarray):
        listed: list[Any] = tensor.ravel().tolist()
        return listed
    return [each.decode() if output == "answer" else b64encode(each).decode("ascii") for each in tensor]


def _elements(data: memoryview) -> list[bytes]:
    """Of a binary BYTES tensor: each after its length."""
    found: list[bytes] = []
    position = 0
    while position < len(data) and len(found) <= inference.MOST:
        if position + SIZE.size > len(data):
            raise InvalidInference("photograph: the binary tensor ends in the middle of an element's length")
        (length,) = SIZE.unpack_from(data, position)
        position += SIZE.size
        if position + length > len(data):
            raise InvalidInference("photograph: the binary tensor ends in the middle of an element")
        found.append(bytes(data[position : position + length]))
        position += length
    return found


def _floats(data: memoryview) -> np.ndarray:
    if len(data) % 4:
        raise InvalidInference("image: the binary tensor is no row of FP32")
    return np.frombuffer(data, "<f4").astype(np.float32)


def _check_count(given: InputTensor, count: int) -> None:
    if math.prod(given.shape) != count:
        raise InvalidInference(f"{given.name}: the shape {given.shape[:8]} does not fit {count} elements")
