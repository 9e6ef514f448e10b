"""Every error's answer over HTTP: one table, RFC 9457 `application/problem+json`, a stable `code`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from model import errors
from model.errors import CupDiscError

MEDIA_TYPE = "application/problem+json"


class PhotographMissing(CupDiscError):
    """The form has no file field `image`, or more than one."""

    code = "photograph_missing"


class MaskMissing(CupDiscError):
    """The form has no file field `mask`, or more than one."""

    code = "mask_missing"


class InvalidMultipart(CupDiscError):
    """The body is not the multipart form that its header announces."""

    code = "invalid_multipart"


class UnsupportedMediaType(CupDiscError):
    """The declared content type can hold nothing that this path takes."""

    code = "unsupported_media_type"


class NotAcceptable(CupDiscError):
    """`Accept` allows none of the forms that the answer can take."""

    code = "not_acceptable"


class InvalidParameter(CupDiscError):
    """A parameter of the query has a value that it cannot have."""

    code = "invalid_parameter"


class UploadTooSlow(CupDiscError):
    """The body did not arrive in time."""

    code = "upload_too_slow"


class KeyMissing(CupDiscError):
    """The request shows no key, and this path needs one."""

    code = "key_missing"


class KeyInvalid(CupDiscError):
    """The key or token that the request shows is nobody's."""

    code = "key_invalid"


class KeyExpired(CupDiscError):
    """The key or token is right, but its time is over."""

    code = "key_expired"


class ScopeMissing(CupDiscError):
    """The caller is known, but may not do this."""

    code = "scope_missing"


class RateExceeded(CupDiscError):
    """The caller has asked more often than agreed; `Retry-After` says when to go on."""

    code = "rate_exceeded"


class RateTooSmall(CupDiscError):
    """One request brings more photographs than the caller's rate allows in all its time: it has to be divided."""

    code = "rate_too_small"


class TooManyAtOnce(CupDiscError):
    """The caller has as many requests under way as agreed."""

    code = "too_many_at_once"


class IssuerUnreachable(CupDiscError):
    """Tokens cannot be checked now, as their issuer does not answer."""

    code = "issuer_unreachable"


class HeadTooLarge(CupDiscError):
    """Path, query and headers are longer together than any request needs."""

    code = "head_too_large"


class AmbiguousLength(CupDiscError):
    """The head tells the body's length in two ways: what a proxy in front takes for the body may be another one."""

    code = "ambiguous_length"


class Stopping(CupDiscError):
    """The service is being stopped: it finishes what it has, and is to be sent nothing more."""

    code = "stopping"


class UriNotAllowed(CupDiscError):
    """The operator does not let this service read or write there."""

    code = "uri_not_allowed"


class ModelNotFound(CupDiscError):
    """The standard protocols name the model by its name, and this is another."""

    code = "model_not_found"


class InvalidInference(CupDiscError):
    """A request of a standard protocol that this model does not take: tensors of another name, kind or shape."""

    code = "invalid_inference"


class OnlyFromHere(CupDiscError):
    """Only the operator of the service may ask this, and nothing shows that it is the operator who asks."""

    code = "only_from_here"


# error class: status, and an example of `detail` for the documentation
ANSWERS: dict[type[CupDiscError], tuple[int, str]] = {
    errors.PhotographError: (422, "the bytes are no photograph"),
    errors.EmptyPhotograph: (400, "there are no bytes"),
    errors.TooManyBytes: (413, "a body of 41943040 bytes; at most 33619968 are taken"),
    errors.TooManyPixels: (422, "20000 x 20000 pixels, more than the limit of 40,000,000"),
    errors.TooFewPixels: (422, "1 x 1 pixels, a side is shorter than 64"),
    errors.UnsupportedFormat: (415, "neither JPEG, PNG, TIFF, BMP nor WebP"),
    errors.UnreadablePhotograph: (422, "the JPEG file is truncated: its end marker is missing"),
    errors.PhotographTooCostly: (422, "decoding takes longer than 4 s"),
    errors.InvalidMask: (422, "an outline crosses itself"),
    errors.DiscNotFound: (422, "the mask has no disc, and so no numbers"),
    errors.VersionError: (503, "the version cannot be used"),
    errors.VersionNotFound: (404, "no version 2020.1.1; there is 2026.2.1, 2026.1.1"),
    errors.ConventionNotFound: (404, "version 2026.2.1 learnt no convention 'clinic'; there is refuge, rim-one-dl"),
    errors.VersionExists: (409, "version 2026.11.1 is published already"),
    errors.CorruptVersion: (503, "version 2026.11.1: segmenter/saved_model.pb has changed"),
    errors.UnknownSchema: (503, "version 2026.11.1 is written in a newer schema"),
    errors.AliasConflict: (409, "alias 'production' points elsewhere than expected"),
    errors.IncompleteVersion: (503, "version 2026.11.8 is not whole: it is being uploaded, or that was broken off"),
    errors.UntrustedVersion: (503, "version 2026.11.8 is not signed"),
    errors.ProbeFailed: (503, "version 2026.11.8 is wrong on the probe"),
    errors.NoRoom: (503, "/var/cache/cupdisc: No space left on device"),
    errors.StorageError: (502, "gs://bucket/eye.jpg: 400"),
    errors.StorageUnavailable: (503, "gs://bucket/eye.jpg: 503"),
    errors.StorageDenied: (502, "gs://bucket/eye.jpg: this account is not allowed to"),
    errors.BucketNotFound: (502, "gs://bucket: no such bucket"),
    errors.ObjectNotFound: (404, "gs://bucket/eye.jpg: no such object"),
    errors.ObjectExists: (409, "gs://bucket/results/eye.json exists already"),
    errors.ObjectChanged: (409, "gs://bucket/eye.jpg was changed by somebody else"),
    errors.NoVersionLive: (503, "no version could be loaded"),
    errors.EngineUnavailable: (503, "the engine 'tensorflow' is not installed"),
    errors.InvalidConfiguration: (500, "the service is set up in a way that cannot work"),
    errors.Overloaded: (503, "32 photographs are waiting already"),
    errors.DeadlineExceeded: (504, "no answer within 30 s"),
    PhotographMissing: (422, "the form has no file in the field 'image'"),
    MaskMissing: (422, "the form has no file in the field 'mask'"),
    InvalidMultipart: (400, "the body ends before its closing boundary"),
    UnsupportedMediaType: (
        415,
        "send multipart/form-data, or the image itself as image/jpeg, image/png, image/tiff, image/bmp, image/webp,"
        " application/octet-stream",
    ),
    NotAcceptable: (406, "the answer can be application/json or image/png or application/pdf"),
    InvalidParameter: (422, "masks: Input should be 'png', 'rle', 'polygon' or 'none'"),
    UploadTooSlow: (408, "the body did not arrive within 120 s"),
    KeyMissing: (401, "show a key: Authorization: Bearer …, or X-API-Key: …"),
    KeyInvalid: (401, "the key is nobody's"),
    KeyExpired: (401, "the key has expired"),
    ScopeMissing: (403, "this needs the scope 'segment'"),
    RateExceeded: (429, "more than 600 requests per 1 minute"),
    RateTooSmall: (400, "8 in one request, and the rate is 4 per 1 minute: send 4 at most"),
    TooManyAtOnce: (429, "8 requests are under way already"),
    IssuerUnreachable: (503, "the issuer of the tokens does not answer"),
    HeadTooLarge: (431, "path, query and headers are longer than 16384 bytes"),
    AmbiguousLength: (400, "send Content-Length or Transfer-Encoding, not both"),
    Stopping: (503, "the service is being stopped"),
    UriNotAllowed: (403, "photographs are not read there"),
    ModelNotFound: (404, "no model retina; there is disc-cup"),
    InvalidInference: (400, "9 photographs; send 1 to 8 in one request"),
    OnlyFromHere: (403, "without keys this is answered on the service's own machine alone"),
}
# what a photograph may be answered with, whichever path and protocol it came by
ABOUT_A_PHOTOGRAPH = (
    errors.EmptyPhotograph,
    errors.VersionNotFound,
    errors.ConventionNotFound,
    UploadTooSlow,
    errors.TooManyBytes,
    errors.UnsupportedFormat,
    UnsupportedMediaType,
    errors.TooManyPixels,
    errors.TooFewPixels,
    errors.UnreadablePhotograph,
    errors.PhotographTooCostly,
    errors.StorageDenied,
    errors.BucketNotFound,
    errors.StorageUnavailable,
    errors.NoVersionLive,
    errors.Overloaded,
    errors.DeadlineExceeded,
)
REFUSALS = (errors.Overloaded, errors.DeadlineExceeded)  # counted when answered; who else refuses counts its own
UNEXPECTED = "an unexpected error, our fault"


class Problem(BaseModel):
    """RFC 9457. Test `code`: it is stable. `detail` is for people and may change."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    type: str = Field(default="about:blank", description="Always `about:blank`: `title` then is the status in words.")
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422], ge=400, le=599)
    detail: str = Field(examples=["the JPEG file is truncated: its end marker is missing"])
    code: str = Field(examples=["unreadable_photograph"])


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says what went wrong."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    return Response(body.model_dump_json(), status, headers, MEDIA_TYPE)


def unexpected() -> Response:
    """The answer to a fault of ours. It gives nothing away; the log tells where it happened."""
    return problem(500, "internal_error", UNEXPECTED)


def responses(*kinds: type[CupDiscError]) -> dict[int | str, dict[str, Any]]:
    """The same answers for OpenAPI, an example of each, grouped by status; the last for what is not foreseen."""
    grouped: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, detail = ANSWERS[kind]
        _document(grouped, status, status, kind.code, (kind.__doc__ or "").splitlines()[0], detail)
    _document(grouped, "default", 500, "internal_error", "A fault of ours.", UNEXPECTED)
    return grouped


def _document(
    grouped: dict[int | str, dict[str, Any]], key: int | str, status: int, code: str, summary: str, detail: str
) -> None:
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}
    answer = grouped.setdefault(key, {"description": "Error" if key == "default" else body.title, "content": content})
    answer["content"][MEDIA_TYPE]["examples"][code] = {"summary": summary, "value": body.model_dump()}


def install(app: FastAPI) -> None:
    """Let every error of the application be answered by this file."""
    app.add_exception_handler(CupDiscError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(ClientDisconnect, _client_gone)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, CupDiscError)  # noqa: S101 - for the type checker
    if isinstance(error, REFUSALS):
        request.app.state.metrics.refused(error.code)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, errors.Overloaded) else None
    return problem(ANSWERS[type(error)][0], error.code, str(error), headers)


async def _invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    wrong = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
    return await _ours(request, InvalidParameter("; ".join(wrong)))


async def _routing(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers=error.headers)
    phrase = HTTPStatus(error.status_code).phrase
    return problem(error.status_code, phrase.lower().replace(" ", "_"), str(error.detail), error.headers)


async def _client_gone(request: Request, error: Exception) -> Response:
    return problem(400, "client_disconnected", "the client went away before the body was complete")  # nobody reads it
