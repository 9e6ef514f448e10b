"""What OpenAPI says beyond types: tags, names for generated clients, bodies, answers in other forms than JSON."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse

from model import errors
from service import examples, problems, protocol_documents, protocol_schemas, uploads
from service.problems import Problem
from service.schemas import NamedPhotograph, Outlines

TAGS = [
    {"name": "segmentation", "description": "A photograph in; outlines and numbers out."},
    {"name": "measurement", "description": "Outlines in, a person's for instance; the same numbers out."},
    {"name": "versions", "description": "The trained versions that answer."},
    protocol_documents.TAG,
    {"name": "health", "description": "For orchestrators and Prometheus."},
]

SECURITY_SCHEMES: dict[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key that `cupdisc keys` made."},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same key, or an OpenID Connect token of the issuer that the operator has named.",
    },
}
LIMITS = {
    "RateLimit-Policy": "Requests, and in how many seconds, where the operator has set a rate. One of the standard"
    " protocols counts as many as it brings.",
    "RateLimit-Limit": "Requests in one window.",
    "RateLimit-Remaining": "Requests that are left of it.",
    "RateLimit-Reset": "Seconds until there are more.",
}


def _binary(description: str = "") -> dict[str, Any]:
    return {"type": "string", "format": "binary", **({"description": description} if description else {})}


def _form(field: str, description: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    properties = {field: _binary(description)}
    return {
        "schema": {"type": "object", "required": [field], "properties": properties},
        "encoding": {field: {"contentType": ", ".join(kinds)}},
    }


def _picture(media_type: str, what: str) -> dict[str, Any]:
    kind = media_type.rpartition("/")[2].upper()
    return {"schema": _binary(), "examples": {"file": {"summary": what, "value": f"(the bytes of a {kind})"}}}


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {
        "description": f"With `image/png` and `application/pdf`{description}",
        "schema": {"type": "string", **schema},
    }


def _json(of: dict[str, Any], description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {"application/json": {"examples": of}}}}


SEGMENT: dict[str, Any] = {
    "operation_id": "segment",
    "tags": ["segmentation"],
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                uploads.FORM: _form("image", "The photograph.", uploads.IMAGE_TYPES),
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/NamedPhotograph"},
                    "examples": examples.NAMED,
                },
                **{kind: {"schema": _binary()} for kind in uploads.IMAGE_TYPES},
            },
        }
    },
    "responses": {
        200: {
            "description": "The answer; a photograph that cannot be graded is one too.",
            "headers": {
                "CupDisc-Version": _header("."),
                "CupDisc-Convention": _header("; absent where the version goes by looks."),
                "CupDisc-Gradable": _header(".", enum=["true", "false"]),
                "CupDisc-Reasons": _header(": as `reasons`, separated by commas; empty where there are none."),
                "CupDisc-Ratio-Vertical": _header("; absent where not gradable.", type="number"),
            },
            "content": {
                "application/json": {"examples": examples.SEGMENTATIONS},
                "image/png": _picture("image/png", "A picture, see `render`"),
                "application/pdf": _picture("application/pdf", "A report of one page"),
            },
        },
        **problems.responses(
            *problems.ABOUT_A_PHOTOGRAPH,
            problems.InvalidMultipart,
            problems.PhotographMissing,
            problems.InvalidParameter,
            problems.NotAcceptable,
            problems.UriNotAllowed,
            errors.ObjectNotFound,
            errors.ObjectExists,
        ),
    },
}

MEASURE: dict[str, Any] = {
    "operation_id": "measure",
    "tags": ["measurement"],
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Outlines"},
                    "examples": examples.OUTLINES,
                },
                uploads.FORM: _form(
                    "mask",
                    "A grey or palette PNG: 0 background, 1 rim, 2 cup, as `render=mask` gives.",
                    ("image/png",),
                ),
                "image/png": {"schema": _binary("The same PNG as the body itself.")},
            },
        }
    },
    "responses": {
        **_json(examples.MEASUREMENTS, "The numbers of the outlines as sent: nothing is smoothed, filled or repaired."),
        **problems.responses(
            errors.EmptyPhotograph,
            problems.InvalidMultipart,
            problems.UploadTooSlow,
            errors.TooManyBytes,
            errors.UnsupportedFormat,
            problems.UnsupportedMediaType,
            problems.MaskMissing,
            errors.InvalidMask,
            errors.DiscNotFound,
            problems.InvalidParameter,
            errors.TooManyPixels,
            errors.UnreadablePhotograph,
            errors.PhotographTooCostly,
            errors.Overloaded,
            errors.DeadlineExceeded,
        ),
    },
}

LIST_VERSIONS: dict[str, Any] = {
    "operation_id": "list_versions",
    "tags": ["versions"],
    "responses": {**_json(examples.VERSIONS, "The versions, the newest first."), **problems.responses()},
}

GET_VERSION: dict[str, Any] = {
    "operation_id": "get_version",
    "tags": ["versions"],
    "responses": {
        **_json(examples.VERSION, "Manifest and model card."),
        **problems.responses(errors.VersionNotFound),
    },
}

REFRESH: dict[str, Any] = {
    "operation_id": "refresh",
    "tags": ["versions"],
    "responses": {**_json(examples.SERVING, "What serves now."), **problems.responses(problems.OnlyFromHere)},
}

CHECK_LIVE: dict[str, Any] = {
    "operation_id": "check_live",
    "tags": ["health"],
    "responses": {**_json(examples.HEALTH, "The process answers."), **problems.responses()},
}

CHECK_READY: dict[str, Any] = {
    "operation_id": "check_ready",
    "tags": ["health"],
    "responses": {
        **_json(examples.READY, "A version is loaded."),
        **problems.responses(errors.NoVersionLive, problems.Stopping),
    },
}

METRICS: dict[str, Any] = {
    "operation_id": "metrics",
    "tags": ["health"],
    "response_class": PlainTextResponse,
    "responses": {
        200: {"description": "The figures.", "content": {"text/plain": {"examples": examples.METRICS}}},
        **problems.responses(),
    },
}


def install(app: FastAPI, needed_scope: Callable[[str, str], str | None], asks_for_keys: bool) -> None:
    """Let the application describe itself by this file; made when first asked for.

    Args:
        needed_scope: of a method and a path, None where nobody is asked for anything.
        asks_for_keys: whether this service turns strangers away, rather than may where it is set up so.
    """

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _document(app, needed_scope, asks_for_keys)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _refusals() -> dict[int | str, dict[str, Any]]:
    """What every path that needs a key may answer before anything else."""
    found = problems.responses(
        problems.KeyMissing,
        problems.KeyInvalid,
        problems.KeyExpired,
        problems.ScopeMissing,
        problems.RateExceeded,
        problems.TooManyAtOnce,
        problems.HeadTooLarge,
        problems.AmbiguousLength,
        problems.IssuerUnreachable,
    )
    found[401]["headers"] = {"WWW-Authenticate": _told("How to show a key.")}
    for status in (429, 503):
        found[status]["headers"] = {"Retry-After": _told("Seconds to wait.")}
    for name, what in LIMITS.items():
        found[429]["headers"][name] = _told(what)
    return found


def _told(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _add(answers: dict[str, Any], more: dict[int | str, dict[str, Any]]) -> None:
    """Merge answers of the same status."""
    for status, answer in more.items():
        there = answers.setdefault(str(status), answer)
        if there is not answer:
            there["content"][problems.MEDIA_TYPE]["examples"] |= answer["content"][problems.MEDIA_TYPE]["examples"]
            there.setdefault("headers", {}).update(answer.get("headers", {}))


def _document(app: FastAPI, needed_scope: Callable[[str, str], str | None], asks_for_keys: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
    )
    document["components"]["schemas"] |= {
        "Problem": Problem.model_json_schema(),
        "Outlines": Outlines.model_json_schema(),
        "NamedPhotograph": NamedPhotograph.model_json_schema(),
        **protocol_schemas.documented(),
    }
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = needed_scope(method.upper(), path)
            if scope is not None:
                operation["security"] = [*({name: []} for name in SECURITY_SCHEMES), *([] if asks_for_keys else [{}])]
                operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`.".lstrip()
                _add(operation["responses"], _refusals())
            protocol_documents.translate_document(path, operation)
    for path, method, kept in (
        ("/v1/segmentations", "post", examples.SEGMENTATIONS),
        ("/v1/measurements", "post", examples.MEASUREMENTS),
        ("/v1/versions", "get", examples.VERSIONS),
    ):
        answer = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        answer["examples"] = kept  # again: FastAPI drops every null from an example
    return document
