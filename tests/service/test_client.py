"""The Python client, sync and async, against a real server: the same types and errors, patient but not stubborn."""

import asyncio
import contextlib
import email.utils
import functools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from model import errors
from model.errors import CupDiscError
from service import problems
from service.app import create_app
from service.calls import Retries, ServiceUnreachable, UnexpectedAnswer
from service.client import AsyncClient, Client
from service.schemas import Outlines, SegmentationAnswer
from service.settings import Settings
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_uploads import serve

SOON = Retries(times=3, backoff_s=0.01)


class Once:
    """A client that is opened and closed for each call; the async one with the face of the other."""

    def __init__(self, kind: type[Client | AsyncClient], *arguments: Any, **options: Any) -> None:
        self._make = lambda: kind(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def wait(*arguments: Any, **options: Any) -> Any:
            async with self._make() as client:
                found = getattr(client, name)(*arguments, **options)
                return [one async for one in found] if name == "segment_many" else await found

        def call(*arguments: Any, **options: Any) -> Any:
            client = self._make()
            if isinstance(client, AsyncClient):
                return asyncio.run(wait(*arguments, **options))
            with client:
                found = getattr(client, name)(*arguments, **options)
                return list(found) if name == "segment_many" else found

        return call


@pytest.fixture(scope="module")
def url(published: Path) -> Iterator[str]:
    with serve(create_app(Settings(registry=str(published), max_photograph_bytes=2**20))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=[Client, AsyncClient])
def kind(request: pytest.FixtureRequest) -> Any:
    return functools.partial(Once, request.param)


@contextlib.contextmanager
def answering(*answers: Response) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers in turn, and the bodies that it got."""
    left, bodies = list(answers), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(await Request(scope, receive).body())
        await left.pop(0)(scope, receive, send)

    with serve(app) as port:
        yield f"http://127.0.0.1:{port}", bodies


def ok() -> Response:
    return Response('{"default": null, "versions": []}', media_type="application/json")


def busy(**headers: str) -> Response:
    return problems.problem(
        503, "no_version_live", "later", {name.replace("_", "-"): text for name, text in headers.items()}
    )


def test_everything_that_the_api_answers(url: str, kind: Any, tmp_path: Path) -> None:
    client = kind(url)
    file = tmp_path / "eye.jpg"
    file.write_bytes(EYE)
    answer = client.segment(file, laterality="left", masks="polygon")
    assert isinstance(answer, SegmentationAnswer)
    assert answer.cup_to_disc_ratio.vertical == pytest.approx(0.5, abs=0.03)
    assert answer.rim.sectors[0].name == "temporal"
    assert client.segment(EYE, version="2026.1.1", masks="none").version.version == "2026.1.1"
    assert client.render(EYE).startswith(b"\x89PNG")
    assert client.render(EYE, "pdf").startswith(b"%PDF")
    outlines = Outlines(width=640, height=480, disc=answer.disc.mask.rings, cup=answer.cup.mask.rings)
    measured = client.measure(outlines, laterality="left")
    assert measured.disc.area == answer.disc.area
    assert measured == client.measure(client.render(EYE, "mask"), laterality="left")
    assert client.versions().default == "2026.2.1"
    assert client.version("production").card == "# drawn eyes\n"
    assert client.ready() is True


def test_a_prefix_is_kept(published: Path) -> None:
    app = create_app(Settings(registry=str(published)))

    async def behind_a_prefix(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith("/eyes/")
        await app({**scope, "path": scope["path"].removeprefix("/eyes")}, receive, send)

    with serve(behind_a_prefix) as port:
        for prefix in ("eyes", "eyes/"):
            with Client(f"http://127.0.0.1:{port}/{prefix}") as client:
                assert client.segment(EYE).gradable


@pytest.mark.parametrize(
    ("photograph", "choices", "expected"),
    [
        (b"", {}, errors.EmptyPhotograph),
        (b"hello" * 100, {}, errors.UnsupportedFormat),
        (EYE[:2000], {}, errors.UnreadablePhotograph),
        (bytes(3 * 2**20), {}, errors.TooManyBytes),
        (EYE, {"version": "2020.1.1"}, errors.VersionNotFound),
        (EYE, {"masks": "jpeg"}, problems.InvalidParameter),
    ],
)
def test_refusals_are_the_errors_that_the_service_raised(
    url: str, kind: Any, photograph: bytes, choices: dict[str, Any], expected: type[CupDiscError]
) -> None:
    with pytest.raises(expected) as caught:
        kind(url).segment(photograph, **choices)
    assert type(caught.value) is expected
    assert str(caught.value)


@pytest.mark.parametrize("code", [one.code for one in problems.ANSWERS])
def test_every_error_of_the_table_comes_back_as_itself(code: str) -> None:
    (expected,) = (one for one in problems.ANSWERS if one.code == code)
    status, detail = problems.ANSWERS[expected]
    answer = problems.problem(status, code, detail)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=bytes(answer.body)))
    with Client("http://service", retries=Retries(0), transport=transport) as client, pytest.raises(expected) as caught:
        client.versions()
    assert str(caught.value) == detail


@pytest.mark.parametrize("name", ["2020.1.1", "../../health/live", "a/b", "?x", "é"])
def test_names_of_versions_stay_names(url: str, kind: Any, name: str) -> None:
    with pytest.raises((errors.VersionNotFound, UnexpectedAnswer)):
        kind(url).version(name)


def test_many_files_in_order_each_with_its_answer_or_its_error(url: str, kind: Any, tmp_path: Path) -> None:
    contents = [EYE, EYE[:1000], encode(draw_eye(cup=0)), None, EYE] * 2
    files = [tmp_path / f"{number}.jpg" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        if content:
            file.write_bytes(content)
    found = list(kind(url).segment_many(iter(files), concurrency=3, masks="none"))
    assert [file for file, _ in found] == files
    kinds = [type(outcome) for _, outcome in found]
    one_round = [
        SegmentationAnswer,
        errors.UnreadablePhotograph,
        SegmentationAnswer,
        FileNotFoundError,
        SegmentationAnswer,
    ]
    assert kinds == one_round * 2
    assert found[2][1].reasons == ["cup_uncertain"]


def test_no_more_than_so_many_at_a_time(kind: Any) -> None:
    now, most = 0, 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal now, most
        await Request(scope, receive).body()
        now += 1
        most = max(most, now)
        while most < 3:  # for as long as it takes them to come
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)  # for one too many
        now -= 1
        await problems.problem(422, "too_few_pixels", "small")(scope, receive, send)

    with serve(app) as port:
        found = kind(f"http://127.0.0.1:{port}").segment_many((b"x" for _ in range(12)), concurrency=3)
    assert len(found) == 12
    assert most == 3


def test_photographs_are_taken_one_by_one_and_left_early_nothing_more_is_sent(url: str) -> None:
    sent = 0

    def photographs() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield EYE

    async def first() -> Any:
        async with AsyncClient(url) as client, contextlib.aclosing(client.segment_many(photographs(), 2)) as found:
            return await anext(found)

    assert asyncio.run(first())[1].gradable
    with Client(url) as client, contextlib.closing(client.segment_many(photographs(), 2)) as found:
        assert next(found)[1].gradable
    assert sent <= 2 * 3


def test_a_busy_service_is_asked_again_with_the_same_photograph(kind: Any) -> None:
    refusal = problems.problem(422, "too_few_pixels", "small")
    with (
        answering(busy(), Response(status_code=502), busy(Retry_After="0"), refusal) as (url, bodies),
        pytest.raises(errors.TooFewPixels),
    ):
        kind(url, retries=SOON).segment(EYE)
    assert bodies == [EYE] * 4


def test_in_the_end_the_service_is_believed(kind: Any) -> None:
    with answering(busy(), busy(), busy(), busy()) as (url, bodies), pytest.raises(errors.NoVersionLive, match="later"):
        kind(url, retries=SOON).versions()
    assert len(bodies) == 4


def test_ready_asks_once(kind: Any) -> None:
    with answering(busy()) as (url, bodies):
        assert kind(url).ready() is False
    assert len(bodies) == 1


def test_retry_after_is_waited_for(kind: Any) -> None:
    with answering(busy(Retry_After="1"), ok()) as (url, _):
        started = time.monotonic()
        assert kind(url, retries=SOON).versions().versions == []
    assert time.monotonic() - started >= 1


def test_how_long_to_wait() -> None:
    retries = Retries(times=3, backoff_s=1.0)
    response = httpx2.Response
    waits = [retries.wait_s(attempt, response(503)) or 0 for attempt in range(3)]
    for attempt, wait in enumerate(waits):
        assert 2**attempt / 2 <= wait <= 2**attempt
    assert retries.wait_s(3, response(503)) is None
    assert retries.wait_s(0, response(503, headers={"retry-after": "7"})) == 7
    assert retries.wait_s(0, response(503, headers={"retry-after": "3600"})) is None
    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < (retries.wait_s(0, response(429, headers={"retry-after": soon})) or 0) <= 30
    past = email.utils.format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert retries.wait_s(0, response(503, headers={"retry-after": past})) == 0
    assert (retries.wait_s(0, response(503, headers={"retry-after": "soon"})) or 0) >= 0.5
    for status in (200, 404, 422, 500):
        assert retries.wait_s(0, response(status)) is None
    assert (retries.wait_s(0, httpx2.ConnectError("refused")) or 0) >= 0.5
    assert retries.wait_s(0, httpx2.ReadTimeout("slow")) is None


def test_nobody_there(kind: Any) -> None:
    with serve(lambda *_: None) as port:
        pass
    with pytest.raises(ServiceUnreachable):
        kind(f"http://127.0.0.1:{port}", retries=SOON).segment(EYE)
    assert kind(f"http://127.0.0.1:{port}").ready() is False


@pytest.mark.parametrize(
    "answer",
    [
        Response("<html>hello</html>", media_type="text/html"),
        Response('{"default": 7}', media_type="application/json"),
        Response("not found", status_code=404),
        Response("no gzip", headers={"content-encoding": "gzip"}),
        Response(status_code=302, headers={"location": "http://127.0.0.1:9/"}),
        problems.problem(500, "internal_error", "an unexpected error, our fault"),
    ],
)
def test_somebody_else_there(kind: Any, answer: Response) -> None:
    with answering(answer) as (url, _), pytest.raises(UnexpectedAnswer):
        kind(url).versions()


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://host", "http://", "/v1"])
def test_no_address(address: str) -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(errors.InvalidConfiguration, match="address"):
            client(address)
