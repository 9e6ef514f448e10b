"""Whatever is sent, the answer is a problem with a stable code or `gradable: false`: never a 500, never a guess."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import EYE, draw_eye, encode

URL = "/v1/segmentations"
JPEG = {"content-type": "image/jpeg"}


def problem_of(answer: Any) -> tuple[int, str]:
    """Status and code, after checking the form."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert body["status"] == answer.status_code
    assert body["detail"]
    return answer.status_code, body["code"]


def bitmap_header(width: int, height: int) -> bytes:
    """A PNG that promises pixels and holds none."""
    png = bytearray(encode(np.zeros((64, 64, 3), np.uint8), "PNG"))
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", (400, "empty_photograph"), id="empty"),
        pytest.param(b"hello" * 1000, (415, "unsupported_format"), id="not an image"),
        pytest.param(b"\0" * 1000, (415, "unsupported_format"), id="NUL bytes"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"0" * 999, (415, "unsupported_format"), id="PDF named .jpg"),
        pytest.param(encode(draw_eye(), "GIF"), (415, "unsupported_format"), id="GIF"),
        pytest.param(EYE[: len(EYE) // 2], (422, "unreadable_photograph"), id="truncated JPEG"),
        pytest.param(EYE[:3], (422, "unreadable_photograph"), id="three bytes of a JPEG"),
        pytest.param(encode(np.zeros((1, 1, 3), np.uint8), "PNG"), (422, "too_few_pixels"), id="1 x 1"),
    ],
)
@pytest.mark.parametrize("form", [False, True])
def test_no_photograph(client: TestClient, data: bytes, expected: tuple[int, str], form: bool) -> None:
    if form:
        answer = client.post(URL, files={"image": ("eye.jpg", data, "image/jpeg")})
    else:
        answer = client.post(URL, content=data, headers=JPEG)
    assert problem_of(answer) == expected


def test_20000_by_20000_pixels_are_refused_by_their_header(client: TestClient) -> None:
    answer = client.post(URL, content=bitmap_header(20_000, 20_000), headers=JPEG)
    assert problem_of(answer) == (422, "too_many_pixels")


def test_a_long_strip_of_pixels(client: TestClient) -> None:
    """Few pixels, but a square around them would not fit into any memory."""
    strip = np.full((64, 200_000, 3), 90, np.uint8)
    strip[20:40, 100_000:100_020] = 250
    answer = client.post(URL, content=encode(strip, "PNG"), headers=JPEG)
    assert answer.status_code == 422 or answer.json()["gradable"] is False


@pytest.mark.parametrize("form", [False, True])
def test_60_mb(client: TestClient, form: bool) -> None:
    big = bytes(60 * 2**20)
    sent = {"files": {"image": ("eye.jpg", big)}} if form else {"content": big, "headers": JPEG}
    assert problem_of(client.post(URL, **sent)) == (413, "too_many_bytes")  # type: ignore[arg-type]


def test_60_mb_without_a_length(client: TestClient) -> None:
    answer = client.post(URL, content=(bytes(2**20) for _ in range(60)), headers=JPEG)
    assert problem_of(answer) == (413, "too_many_bytes")


def test_the_limit_itself(start: Callable[..., TestClient]) -> None:
    exact = start(max_photograph_bytes=len(EYE))
    assert exact.post(URL, content=EYE, headers=JPEG).status_code == 200
    assert exact.post(URL, files={"image": ("eye.jpg", EYE)}).status_code == 200
    assert problem_of(exact.post(URL, content=EYE + b"\0", headers=JPEG)) == (413, "too_many_bytes")


@pytest.mark.parametrize(
    "form",
    [
        {"files": {"photo": ("eye.jpg", EYE)}},
        {"files": {"file": ("eye.jpg", EYE), "Image": ("eye.jpg", EYE)}},
        {"files": {"other": ("eye.jpg", EYE)}, "data": {"image": "eye.jpg"}},
        {"files": [("image", ("1.jpg", EYE)), ("image", ("2.jpg", EYE))]},
    ],
)
def test_wrong_field(client: TestClient, form: dict[str, Any]) -> None:
    assert problem_of(client.post(URL, **form)) == (422, "photograph_missing")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/pdf", "image/gif", "x", "/"])
def test_wrong_content_type(client: TestClient, content_type: str) -> None:
    answer = client.post(URL, content=EYE, headers={"content-type": content_type})
    assert problem_of(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("level", [0, 255])
def test_all_black_and_all_white(client: TestClient, level: int) -> None:
    answer = client.post(URL, content=encode(np.full((300, 400, 3), level, np.uint8)), headers=JPEG)
    assert answer.status_code == 200
    body = answer.json()
    assert body["gradable"] is False
    assert "disc_not_found" in body["reasons"]
    assert body["cup_to_disc_ratio"] is None


def test_photograph_of_something_else(client: TestClient) -> None:
    """Grass: green noise, as far from a retina as a network that knows brightness alone can tell."""
    grass = np.random.default_rng(0).integers(0, 40, (300, 400, 3), dtype=np.uint8)
    grass[..., 1] += 150
    body = client.post(URL, content=encode(grass), headers=JPEG).json()
    assert body["gradable"] is False
    assert "outside_training_distribution" in body["reasons"]
    assert body["cup_to_disc_ratio"] is None


@pytest.mark.parametrize(
    "name", ["2020.1.1", "candidate", "", "..", "../../etc/passwd", "2026.2.1/..", "\0", "é", "x" * 9999]
)
def test_unknown_version(client: TestClient, name: str) -> None:
    answer = client.post(URL, content=EYE, headers=JPEG, params={"version": name})
    assert problem_of(answer) == (404, "version_not_found")


@pytest.mark.parametrize("query", ["version=%ff%fe", "version=%", "version=%zz", "version=%00", "version=%ED%A0%80"])
def test_broken_percent_encoding(client: TestClient, query: str) -> None:
    assert problem_of(client.post(f"{URL}?{query}", content=EYE, headers=JPEG)) == (404, "version_not_found")


@pytest.mark.parametrize("name", ["2020.1.1", "%00", "%2e%2e", "%ff", "x" * 9999])
def test_unknown_version_in_the_path(client: TestClient, name: str) -> None:
    assert problem_of(client.get(f"/v1/versions/{name}")) == (404, "version_not_found")


@pytest.mark.parametrize(
    "query", ["masks=jpeg", "masks=", "masks=png%00", "render=x", "masks=%ff", "masks[]=x&render=%"]
)
def test_unknown_value_of_a_parameter(client: TestClient, query: str) -> None:
    status, code = problem_of(client.post(f"{URL}?{query}", content=EYE, headers=JPEG))
    assert (status, code) == (422, "invalid_parameter")


def test_the_wrong_parameter_is_named(client: TestClient) -> None:
    detail = client.post(f"{URL}?masks=jpeg", content=EYE, headers=JPEG).json()["detail"]
    assert detail == "masks: Input should be 'png', 'rle', 'polygon' or 'none'"


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "application/json;q=0, image/png;q=0.000"])
def test_unacceptable(client: TestClient, accept: str) -> None:
    answer = client.post(URL, content=EYE, headers={**JPEG, "accept": accept})
    assert problem_of(answer) == (406, "not_acceptable")


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert problem_of(client.get("/nothing")) == (404, "not_found")
    assert problem_of(client.get("/v1/versions/")) == (404, "not_found")
    assert problem_of(client.get("/v1/versions/a/b")) == (404, "not_found")
    answer = client.get(URL)
    assert problem_of(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_head_and_options(client: TestClient) -> None:
    head, get = client.head("/v1/versions"), client.get("/v1/versions")
    assert head.status_code == 200
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.content == b""
    assert client.head(URL).status_code == 405
    options = client.options(URL)
    assert options.status_code == 204
    assert options.headers["allow"] == "POST"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_photographs(client: TestClient, data: st.DataObject) -> None:
    """Bytes of a real file changed, cut out or repeated: an answer or a problem, and the problem is the client's."""
    damaged = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["set", "cut", "repeat"])):
            case "set":
                damaged[at] = data.draw(st.integers(0, 255))
            case "cut":
                del damaged[at : at + data.draw(st.integers(1, 50))]
            case "repeat":
                damaged[at:at] = damaged[at : at + 50]
    answer = client.post(f"{URL}?masks=none", content=bytes(damaged), headers=JPEG)
    if answer.status_code != 200:
        status, _ = problem_of(answer)
        assert status in (400, 415, 422)


SMALL = [encode(draw_eye(96, 80, 20, 10), kind) for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP")]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(["multipart/form-data; boundary=x", "image/png", "multipart/form-data"])
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30),
    accept=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30),
)
def test_noise(client: TestClient, body: bytes, content_type: str, accept: str) -> None:
    headers = {"content-type": content_type.encode("latin-1"), "accept": accept.encode("latin-1")}
    answer = client.post(URL, content=body, headers=headers)  # type: ignore[arg-type]
    assert problem_of(answer)[0] < 500


def test_problems_say_nothing_about_the_machine(client: TestClient) -> None:
    for answer in (
        client.post(URL, content=b"x", headers=JPEG),
        client.post(URL, content=EYE, headers=JPEG, params={"version": "2020.1.1"}),
        client.get("/v1/versions/2020.1.1"),
    ):
        assert "/" not in json.dumps(answer.json()["detail"]).replace("and/or", "")
