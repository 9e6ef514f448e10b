"""How photographs and outlines come in: counted and timed while they arrive, held in memory, never on disk."""

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import anyio
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import CupDiscError, Overloaded, TooManyBytes
from service.problems import (
    InvalidMultipart,
    InvalidParameter,
    MaskMissing,
    PhotographMissing,
    UnsupportedMediaType,
    UploadTooSlow,
)
from service.schemas import NamedPhotograph

IMAGE_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/webp", "application/octet-stream")
OUTLINE_TYPES = ("application/json", "image/png")
FORM = "multipart/form-data"
ALSO_READ = ("", "image/jpg")  # no content type at all, and a common misspelling
MAX_JSON_BYTES = 4 * 2**20
MAX_NAME_BYTES = 16 * 2**10  # of JSON that names a photograph
FORM_OVERHEAD = 64 * 2**10  # bytes that a form may add to its photograph
MAX_PARTS = 16  # of each kind; one is needed
BUSY_RETRY_S = 5
LINGER_S = 5.0  # for how long the rest of a refused body is taken in and dropped, so that the client reads the answer


class BoundedUploads:
    """ASGI middleware that ends a body which is too long or too slow, by raising into whoever reads it.

    Starlette spools a form before any handler runs, and uvicorn limits neither size nor time. A body stays in memory
    until its request is answered, so all of them together are limited too: many that never end would fill the memory.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float, max_held_bytes: int = 2**62) -> None:
        self.app, self.max_bytes, self.timeout_s = app, max_bytes, timeout_s
        self.max_held_bytes, self._held = max_held_bytes, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        declared = int(length) if re.fullmatch("[0-9]{1,20}", length) else 0  # not believed: all bytes are counted
        unread = length != "0" or "transfer-encoding" in headers
        received, deadline = 0, time.monotonic() + self.timeout_s

        async def bounded_receive() -> Message:
            nonlocal received, unread
            if not unread:
                return await receive()
            if declared > self.max_bytes:
                raise TooManyBytes(f"a body of {declared} bytes; at most {self.max_bytes} are taken")
            try:
                with anyio.fail_after(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise UploadTooSlow(f"the body did not arrive within {self.timeout_s:g} s") from None
            more = len(message.get("body", b""))
            received += more
            self._held += more
            unread = message.get("more_body", False)
            if received > self.max_bytes:
                raise TooManyBytes(f"a body of more than {self.max_bytes} bytes")
            if self._held > self.max_held_bytes:
                raise Overloaded("the bodies of other requests take the memory there is for them", BUSY_RETRY_S)
            return message

        async def closing_send(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            if not unread or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            with anyio.move_on_after(LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
            await send({"type": "http.response.body"})

        try:
            await self.app(scope, bounded_receive, closing_send)
        finally:
            self._held -= received


@dataclass(frozen=True)
class Upload:
    """What a body holds: the bytes, and the kind of the body that they came in, in lower case; empty for none."""

    media_type: str
    data: bytes


async def photograph_bytes(request: Request) -> bytes:
    """The encoded photograph of a request: its body, or the one file `image` of its form.

    Raises:
        UnsupportedMediaType, InvalidMultipart, PhotographMissing; TooManyBytes and UploadTooSlow from the middleware.
    """
    declared = _media_type(request)
    if declared == FORM:
        return await _form_file(request, "image", PhotographMissing)
    if declared not in IMAGE_TYPES + ALSO_READ:
        raise UnsupportedMediaType(f"send {FORM}, or the image itself as {', '.join(IMAGE_TYPES)}")
    return await request.body()


async def named_photograph(request: Request) -> NamedPhotograph | None:
    """The photograph on Cloud Storage that a JSON body names; None for a body of another kind.

    Raises:
        UnsupportedMediaType: the body is not the JSON object that its header announces.
        InvalidParameter: other fields than there may be.
        TooManyBytes, UploadTooSlow: from the middleware.
    """
    if _media_type(request) != "application/json":
        return None
    try:
        data = await _small_body(request, MAX_NAME_BYTES)
    except TooManyBytes:
        raise UnsupportedMediaType(f"send {FORM}, an image, or JSON that names one") from None
    try:
        return NamedPhotograph.model_validate_json(data)
    except ValidationError as error:
        if any(one["type"] in ("json_invalid", "model_type") for one in error.errors()):
            raise UnsupportedMediaType(f"send {FORM}, an image, or JSON that names one") from None
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise InvalidParameter("; ".join(wrong)) from None


async def outlines(request: Request) -> Upload:
    """The label mask or the polygons of a request: its body, or the one file `mask` of its form.

    Raises:
        UnsupportedMediaType, InvalidMultipart, MaskMissing, TooManyBytes; UploadTooSlow from the middleware.
    """
    declared = _media_type(request)
    if declared == FORM:
        return Upload(declared, await _form_file(request, "mask", MaskMissing))
    if declared not in OUTLINE_TYPES:
        raise UnsupportedMediaType(f"send {FORM}, or the outlines as {' or '.join(OUTLINE_TYPES)}")
    if declared == "image/png":
        return Upload(declared, await request.body())
    return Upload(declared, await _small_body(request, MAX_JSON_BYTES))


async def plain_body(request: Request) -> bytes:
    """The body of a standard protocol's request, whose kind clients declare in several ways.

    Raises:
        UnsupportedMediaType: it is compressed; TooManyBytes, UploadTooSlow: from the middleware.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("send the body without a Content-Encoding")
    return await request.body()


async def _small_body(request: Request, at_most: int) -> bytes:
    data = bytearray()
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            data += chunk
            if len(data) > at_most:
                raise TooManyBytes(f"JSON of more than {at_most} bytes")
    return bytes(data)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class _MemoryParser(MultiPartParser):
    """Starlette's, but never a temporary file, as nothing about a photograph is stored; and never half a form."""

    spool_max_size = 2**62  # the body is bounded already

    def __init__(self, request: Request) -> None:
        super().__init__(request.headers, self._whole(request.stream()), max_files=MAX_PARTS, max_fields=MAX_PARTS)
        self._complete = False

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(stream):
            async for chunk in stream:
                yield chunk
        if not self._complete:
            raise MultiPartException("the body ends before its closing boundary")

    def on_end(self) -> None:
        self._complete = True


async def _form_file(request: Request, field: str, missing: type[CupDiscError]) -> bytes:
    try:
        form = await _MemoryParser(request).parse()
    except MultiPartException as error:
        raise InvalidMultipart(error.message) from None
    try:
        match form.getlist(field):
            case [UploadFile() as file]:
                return await file.read()
            case [str()]:
                raise missing(f"the form field '{field}' is text; send it as a file, with a file name")
            case []:
                raise missing(f"the form has no file in the field '{field}'")
            case several:
                raise missing(f"the form has {len(several)} fields '{field}'; send one per request")
    finally:
        await form.close()
