"""A client of the API, with the service's own types and errors.

    with Client("http://127.0.0.1:8000") as client:
        answer = client.segment(Path("eye.jpg"), laterality="left")
        for file, outcome in client.segment_many(Path("eyes").glob("*.jpg")):
            ...

`AsyncClient` has the same methods, to be awaited. What the service refuses is raised as the error that the service
raised itself. A busy or unreachable service is asked again, ever more slowly; asking twice does no harm, as it keeps
nothing. No file name leaves this side.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import httpx2

from model.biomarkers import Laterality
from model.errors import CupDiscError, NoVersionLive
from service import calls
from service.answers import Render
from service.calls import Call, Choices, Result, Retries, ServiceUnreachable, UnexpectedAnswer
from service.problems import Stopping
from service.schemas import MeasurementAnswer, Outlines, SegmentationAnswer, VersionDetail, VersionList

Photograph = Path | bytes  # a file, or the encoded image itself
Source = TypeVar("Source", bound=Photograph)
Segmented = SegmentationAnswer | CupDiscError | OSError
CONNECT_TIMEOUT_S = 10.0
ASK_AGAIN = Retries()


class Client:
    """One service. Safe to call from several threads. To be closed, or used in `with`.

    Args:
        url: of the service, with the prefix that it may be behind.
        timeout_s: for the service to answer.
        key: for a service that asks for one: a key, or an OpenID Connect token.
        options: of `httpx2.Client`: headers, proxy, verify and so on.
    Raises:
        InvalidConfiguration: `url` is no http address.

    Each method raises the errors that `service.problems.ANSWERS` lists, ServiceUnreachable and UnexpectedAnswer, and
    OSError where a file cannot be read.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 60.0,
        retries: Retries = ASK_AGAIN,
        key: str | None = None,
        **options: Any,
    ) -> None:
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        options["headers"] = calls.headers(key, options.get("headers"))
        self._http = httpx2.Client(base_url=calls.base_url(url), timeout=timeout, **options)
        self._retries = retries

    def segment(self, photograph: Photograph, **choices: Unpack[Choices]) -> SegmentationAnswer:
        """Disc, cup and ratio of one photograph. Choices: `version`, `masks`, `laterality`, `convention`."""
        return self._send(calls.segment(_bytes(photograph), choices))

    def segment_many(
        self, photographs: Iterable[Source], concurrency: int = 4, **choices: Unpack[Choices]
    ) -> Iterator[tuple[Source, Segmented]]:
        """Each photograph with its answer, or with the error that it met; in the order given.

        No more than `concurrency` are read, sent or waited for at a time: any number of files fits into memory.
        """

        def outcome(photograph: Photograph) -> Segmented:
            try:
                return self.segment(photograph, **choices)
            except (CupDiscError, OSError) as error:
                return error

        pool = ThreadPoolExecutor(concurrency, "cupdisc-client")
        pending: deque[tuple[Source, Future[Segmented]]] = deque()
        try:
            for photograph in photographs:
                pending.append((photograph, pool.submit(outcome, photograph)))
                if len(pending) == concurrency:
                    first, future = pending.popleft()
                    yield first, future.result()
            for photograph, future in pending:
                yield photograph, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def render(self, photograph: Photograph, kind: Render = "overlay", **choices: Unpack[Choices]) -> bytes:
        """A PNG, overlay or label mask, or the report as PDF."""
        return self._send(calls.render(_bytes(photograph), kind, choices))

    def measure(self, outlines: Outlines | bytes, laterality: Laterality = "unknown") -> MeasurementAnswer:
        """The numbers of outlines, or of a label mask as PNG."""
        return self._send(calls.measure(outlines, laterality))

    def versions(self) -> VersionList:
        """What the service can answer with."""
        return self._send(calls.versions())

    def version(self, name: str) -> VersionDetail:
        """Manifest and card of a version or alias."""
        return self._send(calls.version(name))

    def ready(self) -> bool:
        """Whether segmentations will be answered now; asked once."""
        call = calls.ready()
        try:
            call.result(self._attempt(call))
        except (ServiceUnreachable, NoVersionLive, Stopping):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[Result]) -> Result:
        outcome, attempt = self._attempt(call), 0
        while (wait_s := self._retries.wait_s(attempt, outcome)) is not None:
            time.sleep(wait_s)
            outcome, attempt = self._attempt(call), attempt + 1
        return call.result(outcome)

    def _attempt(self, call: Call[Any]) -> calls.Outcome:
        try:
            return self._http.request(**call.request)
        except httpx2.TransportError as error:
            return error
        except httpx2.RequestError as error:  # e.g. encoded otherwise than its head says
            raise UnexpectedAnswer(f"not the answer of a CupDisc service: {error}") from error


class AsyncClient:
    """`Client` for asyncio, with the same arguments and errors. To be closed, or used in `async with`."""

    def __init__(
        self,
        url: str,
        timeout_s: float = 60.0,
        retries: Retries = ASK_AGAIN,
        key: str | None = None,
        **options: Any,
    ) -> None:
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        options["headers"] = calls.headers(key, options.get("headers"))
        self._http = httpx2.AsyncClient(base_url=calls.base_url(url), timeout=timeout, **options)
        self._retries = retries

    async def segment(self, photograph: Photograph, **choices: Unpack[Choices]) -> SegmentationAnswer:
        """Disc, cup and ratio of one photograph. Choices: `version`, `masks`, `laterality`, `convention`."""
        return await self._send(calls.segment(await asyncio.to_thread(_bytes, photograph), choices))

    async def segment_many(
        self, photographs: Iterable[Source], concurrency: int = 4, **choices: Unpack[Choices]
    ) -> AsyncIterator[tuple[Source, Segmented]]:
        """As `Client.segment_many`; to be closed (`contextlib.aclosing`) where it is left before its end."""

        async def outcome(photograph: Photograph) -> Segmented:
            try:
                return await self.segment(photograph, **choices)
            except (CupDiscError, OSError) as error:
                return error

        pending: deque[tuple[Source, asyncio.Task[Segmented]]] = deque()
        try:
            for photograph in photographs:
                pending.append((photograph, asyncio.create_task(outcome(photograph))))
                if len(pending) == concurrency:
                    first, task = pending[0]
                    yield first, await task
                    pending.popleft()
            for photograph, task in pending:
                yield photograph, await task
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)

    async def render(self, photograph: Photograph, kind: Render = "overlay", **choices: Unpack[Choices]) -> bytes:
        """A PNG, overlay or label mask, or the report as PDF."""
        return await self._send(calls.render(await asyncio.to_thread(_bytes, photograph), kind, choices))

    async def measure(self, outlines: Outlines | bytes, laterality: Laterality = "unknown") -> MeasurementAnswer:
        """The numbers of outlines, or of a label mask as PNG."""
        return await self._send(calls.measure(outlines, laterality))

    async def versions(self) -> VersionList:
        """What the service can answer with."""
        return await self._send(calls.versions())

    async def version(self, name: str) -> VersionDetail:
        """Manifest and card of a version or alias."""
        return await self._send(calls.version(name))

    async def ready(self) -> bool:
        """Whether segmentations will be answered now; asked once."""
        call = calls.ready()
        try:
            call.result(await self._attempt(call))
        except (ServiceUnreachable, NoVersionLive, Stopping):
            return False
        return True

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, call: Call[Result]) -> Result:
        outcome, attempt = await self._attempt(call), 0
        while (wait_s := self._retries.wait_s(attempt, outcome)) is not None:
            await asyncio.sleep(wait_s)
            outcome, attempt = await self._attempt(call), attempt + 1
        return call.result(outcome)

    async def _attempt(self, call: Call[Any]) -> calls.Outcome:
        try:
            return await self._http.request(**call.request)
        except httpx2.TransportError as error:
            return error
        except httpx2.RequestError as error:  # e.g. encoded otherwise than its head says
            raise UnexpectedAnswer(f"not the answer of a CupDisc service: {error}") from error


def _bytes(photograph: Photograph) -> bytes:
    return photograph if isinstance(photograph, bytes) else photograph.read_bytes()
