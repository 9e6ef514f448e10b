"""What OpenAPI says about the standard protocols, and errors in their own form."""

import json
from typing import Any, Literal

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model import errors
from model.errors import CupDiscError
from service import problems
from service.protocol_schemas import ProtocolError

TAG = {"name": "standard protocols", "description": "Open Inference Protocol 2, and TensorFlow Serving's REST API."}
EXAMPLE_PHOTOGRAPH = "/9j/4AAQ…"
EXAMPLES: dict[str, dict[str, Any]] = {
    "v2_server": {"name": "cupdisc", "version": "1.0.0", "extensions": ["binary_tensor_data"]},
    "v2_live": {"live": True},
    "v2_ready": {"ready": True},
    "v2_model": {
        "name": "disc-cup",
        "versions": ["2026.11.8"],
        "platform": "cupdisc",
        "inputs": [
            {"name": "photograph", "datatype": "BYTES", "shape": [-1]},
            {"name": "image", "datatype": "FP32", "shape": [-1, 128, 128, 3]},
        ],
        "outputs": [
            {"name": "answer", "datatype": "BYTES", "shape": [-1]},
            {"name": "gradable", "datatype": "BOOL", "shape": [-1]},
            {"name": "label_mask", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 128, 128, 2]},
        ],
    },
    "v2_model_ready": {"name": "disc-cup", "ready": True},
    "model_status": {
        "name": "disc-cup",
        "ready": True,
        "model_version_status": [
            {"version": "2026.11.8", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ],
    },
    "infer": {
        "model_name": "disc-cup",
        "model_version": "2026.11.8",
        "outputs": [{"name": "gradable", "datatype": "BOOL", "shape": [1], "data": [True]}],
    },
    "predict": {"predictions": [{"gradable": True, "reasons": [], "cup_to_disc_ratio": {"vertical": 0.4882}}]},
}
INFERENCE = (*problems.ABOUT_A_PHOTOGRAPH, problems.InvalidInference, problems.RateTooSmall, problems.ModelNotFound)
ABOUT = (problems.ModelNotFound, errors.VersionNotFound, errors.NoVersionLive, errors.StorageUnavailable)


def speaks(path: str) -> bool:
    """Whether a path belongs to one of these protocols."""
    return path == "/v2" or path.startswith(("/v2/", "/v1/models/"))


class ProtocolErrors:
    """ASGI middleware: on these protocols' paths every problem, whoever found it, is told in their form."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not speaks(path):
            await self.app(scope, receive, send)
            return
        held: Message | None = None
        body = b""

        async def translating_send(message: Message) -> None:
            nonlocal held, body
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type") != problems.MEDIA_TYPE:
                    await send(message)
                    return
                held = message
                return
            if held is None:
                await send(message)
                return
            body += message.get("body", b"")
            start, headers = held, MutableHeaders(scope=held)
            more = message.get("more_body", False)
            # a refused request's answer is complete long before its end, which waits for the rest of the body
            if more and len(body) < int(headers.get("content-length", 2**63)):
                return
            held = None
            told = translated(json.loads(body))
            headers["content-type"], headers["content-length"] = "application/json", str(len(told))
            await send(start)
            await send({"type": "http.response.body", "body": told, "more_body": more})

        await self.app(scope, receive, translating_send)


def translated(problem: dict[str, Any]) -> bytes:
    """A problem in the protocols' form."""
    text = f"{problem['code']}: {problem['detail']}"
    return ProtocolError(error=text, code=problem["code"]).model_dump_json().encode()


def translate_document(path: str, operation: dict[str, Any]) -> None:
    """Let an operation's documented problems be in the form in which they are told."""
    if not speaks(path):
        return
    for answer in operation["responses"].values():
        if told := answer.get("content", {}).pop(problems.MEDIA_TYPE, None):
            examples = {
                code: {**example, "value": json.loads(translated(example["value"]))}
                for code, example in told["examples"].items()
            }
            schema = {"$ref": "#/components/schemas/ProtocolError"}
            answer["content"]["application/json"] = {"schema": schema, "examples": examples}


def server_metadata() -> dict[str, Any]:
    """`GET /v2`."""
    return _answering(_operation("v2_server"), "v2_server")


def health(operation_id: str, *wrong: type[CupDiscError]) -> dict[str, Any]:
    """Of the server."""
    return _answering(_operation(operation_id, *wrong), operation_id)


def about(operation_id: str) -> dict[str, Any]:
    """Of a model or a version."""
    kind = operation_id.replace("version", "model").replace("label_", "").replace("model_model", "model")
    return _answering(_operation(operation_id, *ABOUT), kind)


def naming(what: Literal["version", "label"], operation: dict[str, Any]) -> dict[str, Any]:
    """The operation of a path that names a version or a label too.

    The function that several paths share must not take it as an argument: on paths without it, FastAPI would make it
    one of the query.
    """
    described = {"name": what, "in": "path", "required": True, "schema": {"type": "string", "title": what.capitalize()}}
    return {**operation, "openapi_extra": {**operation.get("openapi_extra", {}), "parameters": [described]}}


def named_in(request: Request) -> str | None:
    """The version, or the label, that a request's path names."""
    named: str | None = request.path_params.get("version") or request.path_params.get("label")
    return named


def infer(operation_id: str) -> dict[str, Any]:
    """`…/infer`."""
    example = {
        "photograph": {
            "summary": "One photograph, its base64 shortened here",
            "value": {
                "inputs": [
                    {"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_PHOTOGRAPH]},
                ],
                "outputs": [{"name": "answer"}],
            },
        }
    }
    operation = _operation(operation_id, *INFERENCE)
    operation["openapi_extra"] = _body("InferenceRequest", example)
    binary = "The JSON, of which the header `Inference-Header-Content-Length` tells the length, and binary tensors."
    answer = {"$ref": "#/components/schemas/InferenceAnswer"}
    follows = {"file": {"summary": "JSON, then the tensors", "value": "(the bytes)"}}
    operation["responses"][200] = {
        "description": "The outputs.",
        "content": {
            "application/json": {"schema": answer, "examples": _shown("infer")},
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary", "description": binary},
                "examples": follows,
            },
        },
    }
    return operation


def predict(operation_id: str) -> dict[str, Any]:
    """`…:predict`."""
    example = {
        "photograph": {
            "summary": "One photograph, its base64 shortened here",
            "value": {"instances": [{"b64": EXAMPLE_PHOTOGRAPH}]},
        }
    }
    operation = _operation(operation_id, *INFERENCE, problems.InvalidParameter)
    operation["openapi_extra"] = _body("PredictRequest", example)
    schema = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {}, "description": "One for each instance."},
            "outputs": {"type": "array", "items": {}, "description": "The same, where `inputs` were sent."},
        },
    }
    operation["responses"][200] = {
        "description": "What `/v1/segmentations` says about each photograph, or a network's probabilities.",
        "content": {"application/json": {"schema": schema, "examples": _shown("predict")}},
    }
    return operation


def _operation(operation_id: str, *wrong: type[CupDiscError]) -> dict[str, Any]:
    responses: dict[int | str, Any] = dict(problems.responses(*wrong))
    return {"operation_id": operation_id, "tags": [TAG["name"]], "responses": responses}


def _shown(name: str) -> dict[str, Any]:
    return {name: {"summary": "What is answered, shortened", "value": EXAMPLES[name]}}


def _answering(operation: dict[str, Any], name: str) -> dict[str, Any]:
    operation["responses"][200] = {"content": {"application/json": {"examples": _shown(name)}}}
    return operation


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
