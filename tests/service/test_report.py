"""The report's page: what stands on it, and what must not."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_bad_input import problem_of


def pdf(client: TestClient, data: bytes = EYE, accept: str = "*/*", **query: str) -> Any:
    query = {"render": "pdf", **query}
    return client.post(
        "/v1/segmentations", content=data, headers={"content-type": "image/jpeg", "accept": accept}, params=query
    )


def words(page: bytes) -> str:
    """The text of a page whose streams are not compressed."""
    found = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", page)
    return "\n".join(re.sub(rb"\\(.)", rb"\1", text).decode("cp1252") for text in found)


def test_numbers_version_and_terms_stand_on_one_page(client: TestClient) -> None:
    answer = pdf(client, laterality="left")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cupdisc-gradable"] == "true"
    assert answer.content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", answer.content)) == 1
    text = words(answer.content)
    body = client.post("/v1/segmentations?masks=none&laterality=left", files={"image": EYE}).json()
    ratios = body["cup_to_disc_ratio"]
    interval = ratios["vertical_interval"]
    for expected in (
        *(f"{ratios[name]:.2f}" for name in ("vertical", "horizontal", "area")),
        f"{interval['low']:.2f} to {interval['high']:.2f}",
        *("Left eye", "Gradable", "Superotemporal", "640 x 480"),
        str(body["disc"]["area"]),
        f"{body['rim']['sectors'][0]['smallest_in_disc_diameters']:.2f}",
        body["version"]["version"],
        body["version"]["sha256"],
        *("Not a diagnosis", "UTC"),
    ):
        assert expected in text


def test_not_gradable_says_why_and_names_no_ratio(client: TestClient) -> None:
    answer = pdf(client, encode(draw_eye(cup=0)))
    text = words(answer.content)
    assert answer.headers["cupdisc-gradable"] == "false"
    assert "Not gradable" in text
    assert "The cup's edge cannot be told" in text
    assert "Vertical" not in text
    assert "No optic disc was found." in words(pdf(client, encode(draw_eye(disc=0, cup=0))).content)


def test_an_unknown_eye_has_no_nasal_side(client: TestClient) -> None:
    text = words(pdf(client).content).lower()
    assert "left in the picture" in text
    assert "nasal" not in text
    assert "temporal" not in text


def test_nothing_of_the_file_but_its_picture_is_kept(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    data = encode(draw_eye(), exif=exif)
    answer = client.post("/v1/segmentations?render=pdf", files={"image": ("Jane Doe.jpg", data)})
    assert answer.status_code == 200
    assert b"Jane" in data
    assert b"Jane" not in answer.content
    assert b"Exif" not in answer.content


@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        ("application/pdf", {}, "application/pdf"),
        ("*/*", {"render": "pdf"}, "application/pdf"),
        ("application/json", {"render": "pdf"}, "application/json"),
        ("*/*", {"render": "mask"}, "image/png"),
        ("*/*", {"render": "overlay"}, "image/png"),
        ("application/json", {"render": "mask"}, "application/json"),
        ("*/*", {}, "application/json"),
        ("image/*", {}, "image/png"),
    ],
)
def test_render_and_accept_choose_the_form(
    client: TestClient, accept: str, query: dict[str, str], expected: str
) -> None:
    answer = client.post("/v1/segmentations", files={"image": EYE}, headers={"accept": accept}, params=query)
    assert answer.headers["content-type"] == expected


@pytest.mark.parametrize(
    ("accept", "render"), [("image/png", "pdf"), ("application/pdf", "mask"), ("text/html", "pdf")]
)
def test_what_does_not_go_together_is_refused(client: TestClient, accept: str, render: str) -> None:
    assert problem_of(pdf(client, accept=accept, render=render)) == (406, "not_acceptable")


@pytest.mark.parametrize("shape", [(64, 64), (64, 3000), (3000, 64)])
def test_photographs_of_any_shape(start: Callable[..., TestClient], shape: tuple[int, int]) -> None:
    assert pdf(start(), encode(np.full((*shape, 3), 90, np.uint8))).status_code == 200
