"""Outlines in, numbers out: the same ones, however the outline is written; and nonsense is refused by name."""

import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model import images
from model.errors import InvalidMask
from service import label_masks, uploads
from service.schemas import MeasurementAnswer
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_bad_input import bitmap_header, problem_of
from tests.service.test_decoding import flat

URL = "/v1/measurements"
SQUARES = {
    "width": 40,
    "height": 30,
    "disc": [[[5, 5], [24, 5], [24, 24], [5, 24]]],  # 20 x 20 pixels
    "cup": [[[10, 12], [19, 12], [19, 16], [10, 16]]],  # 10 x 5
}


def labels() -> np.ndarray:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:25, 5:25] = 1
    mask[12:17, 10:20] = 2
    return mask


def png(values: np.ndarray, palette: bool = False, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(values)
    if palette:
        image.putpalette([0, 0, 0, 9, 200, 9, 9, 9, 200])
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, "PNG", **options)
    return file.getvalue()


def measure(client: TestClient, outlines: dict[str, Any], **query: str) -> Any:
    return client.post(URL, json=outlines, params=query)


def test_numbers_of_squares(client: TestClient) -> None:
    answer = measure(client, SQUARES)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    MeasurementAnswer.model_validate(body)
    assert body["image"] == {"width": 40, "height": 30}
    assert body["disc"]["box"] == {"left": 5, "top": 5, "width": 20, "height": 20}
    assert body["disc"]["centre"] == {"x": 15, "y": 15}
    assert (body["disc"]["area"], body["cup"]["area"]) == (400, 50)
    assert body["cup_to_disc_ratio"] == {"vertical": 0.25, "horizontal": 0.5, "area": 0.125, "vertical_interval": None}
    assert body["cup_outside"] == 0
    assert body["laterality"] == "unknown"
    assert [sector["name"] for sector in body["rim"]["sectors"]] == ["right", "superior", "left", "inferior"]
    assert body["rim"]["sectors"][1]["smallest"] == pytest.approx(12 - 5, abs=0.3)  # rows of rim above the cup


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("form", [False, True])
def test_a_label_picture_gives_the_same(client: TestClient, palette: bool, form: bool) -> None:
    data = png(labels(), palette)
    if form:
        answer = client.post(URL, files={"mask": ("mask.png", data)})
    else:
        answer = client.post(URL, content=data, headers={"content-type": "image/png"})
    assert answer.json() == measure(client, SQUARES).json()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_palette_of_few_bits(client: TestClient, bits: int) -> None:
    answer = client.post(URL, files={"mask": png(labels(), palette=True, bits=bits)})
    assert answer.json()["cup_to_disc_ratio"]["vertical"] == 0.25


@pytest.mark.parametrize("laterality", ["left", "right", "unknown"])
def test_a_segmentation_measured_again_gives_its_numbers(client: TestClient, laterality: str) -> None:
    query = {"laterality": laterality}
    body = client.post("/v1/segmentations", files={"image": EYE}, params={**query, "masks": "polygon"}).json()
    picture = client.post("/v1/segmentations", files={"image": EYE}, params={**query, "render": "mask"}).content
    size = {"width": body["image"]["width"], "height": body["image"]["height"]}
    rings = {name: body[name]["mask"]["rings"] for name in ("disc", "cup")}
    from_rings = measure(client, {**size, **rings}, **query).json()
    assert from_rings == client.post(URL, files={"mask": picture}, params=query).json()
    for name in ("disc", "cup"):
        assert from_rings[name] == {key: body[name][key] for key in ("box", "centre", "area", "ellipse")}
    assert from_rings["rim"] == body["rim"]
    assert from_rings["cup_to_disc_ratio"] == {**body["cup_to_disc_ratio"], "vertical_interval": None}
    assert from_rings["laterality"] == body["laterality"] == laterality


def test_the_cup_outside_the_disc_is_told_and_does_not_count(client: TestClient) -> None:
    moved = {**SQUARES, "cup": [[[20, 12], [29, 12], [29, 16], [20, 16]]]}  # half of it beyond column 24
    body = measure(client, moved).json()
    assert body["cup_outside"] == 0.5
    assert body["cup"]["area"] == 25


@pytest.mark.parametrize("outlines", [{**SQUARES, "cup": []}, {**SQUARES, "cup": [[[30, 1], [31, 2]]]}])
def test_without_a_cup_there_is_no_ratio(client: TestClient, outlines: dict[str, Any]) -> None:
    body = measure(client, outlines).json()
    assert (body["cup"], body["cup_to_disc_ratio"], body["rim"]) == (None, None, None)
    assert body["disc"]["area"] == 400


def test_without_a_disc_there_is_nothing_to_measure(client: TestClient) -> None:
    assert problem_of(measure(client, {**SQUARES, "disc": []})) == (422, "disc_not_found")
    blank = png(np.zeros((30, 40), np.uint8))
    assert problem_of(client.post(URL, files={"mask": blank})) == (422, "disc_not_found")


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"disc": [[[0, 0], [20, 20], [20, 0], [0, 20]]]}, "an outline crosses itself"),
        ({"disc": [[[0, 0], [20, 20], [40, 0]]]}, "the point [40, 0] lies outside the 40 x 30 pixels of the picture"),
        ({"disc": [[[0, 0], [20, "x"]]]}, "disc.0.1.1: Input should be a valid number"),
        ({"disc": [[[0, 0], [20, None]]]}, "disc.0.1.1: Input should be a valid number"),
        ({"disc": [[[0, 0], [20, 1, 2]]]}, "disc.0.1: Tuple should have at most 2 items after validation, not 3"),
        ({"disc": [[]]}, "disc.0: List should have at least 1 item after validation, not 0"),
        ({"width": 0}, "width: Input should be greater than or equal to 1"),
        ({"width": "40"}, "width: Input should be a valid integer"),
        ({"height": 1e400}, None),
        ({"vertical": 0.3}, "vertical: Extra inputs are not permitted"),
    ],
)
def test_outlines_that_mean_nothing(client: TestClient, changes: dict[str, Any], detail: str | None) -> None:
    content = json.dumps({**SQUARES, **changes})
    answer = client.post(URL, content=content, headers={"content-type": "application/json"})
    assert problem_of(answer) == (422, "invalid_mask")
    if detail:
        assert answer.json()["detail"] == detail


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "true", "[]"])
def test_numbers_that_are_none(client: TestClient, value: str) -> None:
    content = json.dumps(SQUARES).replace("[5, 5]", f"[5, {value}]", 1)
    answer = client.post(URL, content=content, headers={"content-type": "application/json"})
    assert problem_of(answer) == (422, "invalid_mask")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"width":1,"height":1,"disc":[[[0,0']
)
def test_what_is_no_json(client: TestClient, content: bytes) -> None:
    answer = client.post(URL, content=content, headers={"content-type": "application/json"})
    assert problem_of(answer) == (422, "invalid_mask")


def test_limits(client: TestClient) -> None:
    points = [[k % 40, 1] for k in range(60_000)]
    assert problem_of(measure(client, {**SQUARES, "disc": [points]})) == (422, "invalid_mask")
    million = {**SQUARES, "disc": [[[k % 40, 1] for k in range(1_000_000)]]}
    assert problem_of(measure(client, million)) == (413, "too_many_bytes")
    whole = json.dumps(SQUARES).encode()
    exact = whole + b" " * (uploads.MAX_JSON_BYTES - len(whole))
    json_type = {"content-type": "application/json"}
    assert client.post(URL, content=exact, headers=json_type).status_code == 200
    assert problem_of(client.post(URL, content=exact + b" ", headers=json_type)) == (413, "too_many_bytes")
    assert problem_of(measure(client, {**SQUARES, "width": 10**5, "height": 10**5})) == (422, "too_many_pixels")
    assert problem_of(measure(client, {**SQUARES, "width": 10**30})) == (422, "too_many_pixels")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", (400, "empty_photograph"), id="empty"),
        pytest.param(EYE, (415, "unsupported_format"), id="JPEG"),
        pytest.param(encode(draw_eye(), "PNG"), (422, "invalid_mask"), id="RGB"),
        pytest.param(png(labels() * 100), (422, "invalid_mask"), id="other values"),
        pytest.param(png(labels() > 0), (422, "invalid_mask"), id="one bit"),
        pytest.param(png(labels().astype(np.uint16)), (422, "invalid_mask"), id="16 bits"),
        pytest.param(png(labels(), mode="LA"), (422, "invalid_mask"), id="alpha"),
        pytest.param(png(labels())[:-20], (422, "unreadable_photograph"), id="truncated"),
        pytest.param(bitmap_header(20_000, 20_000), (422, "too_many_pixels"), id="20,000 x 20,000"),
    ],
)
def test_pictures_that_are_no_label_mask(client: TestClient, data: bytes, expected: tuple[int, str]) -> None:
    assert problem_of(client.post(URL, files={"mask": ("mask.png", data)})) == expected


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA", "I;16"])
def test_a_large_picture_that_is_no_label_mask_is_refused_before_it_is_decoded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    data = flat(8000, 5000, mode)
    monkeypatch.setattr(images.PngImageFile, "load", lambda _: pytest.fail("it was decoded"))
    assert problem_of(client.post(URL, files={"mask": data})) == (422, "invalid_mask")


def test_the_largest_label_mask_is_measured(client: TestClient) -> None:
    mask = np.zeros((5000, 8000), np.uint8)
    mask[:, :4000] = 1
    mask[1000:2000, 1000:3000] = 2
    body = client.post(URL, files={"mask": png(mask, compress_level=1)}).json()
    assert body["cup_to_disc_ratio"] == {"vertical": 0.2, "horizontal": 0.5, "area": 0.1, "vertical_interval": None}


def test_the_border_may_be_long_but_not_without_end() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    alone = np.argwhere(np.ones((499, 499)))[: label_masks.MAX_BORDER // 4] * 2 + 1  # pixels of four sides each
    mask[tuple(alone.T)] = 1
    label_masks.check_border(mask)
    mask[999, 999] = 1
    with pytest.raises(InvalidMask, match="500002"):
        label_masks.check_border(mask)


def test_a_chequerboard_of_few_bytes_is_not_measured(client: TestClient) -> None:
    mask = np.zeros((2000, 2000), np.uint8)
    mask[::2, ::2] = mask[1::2, 1::2] = 1
    data = png(mask)
    assert len(data) < 50_000
    assert problem_of(client.post(URL, files={"mask": data})) == (422, "invalid_mask")
    stripes = [[[0, row], [799, row], [799, row + 0.1]] for row in range(0, 800, 2)]
    assert problem_of(measure(client, {"width": 800, "height": 800, "disc": stripes, "cup": []})) == (
        422,
        "invalid_mask",
    )


def test_the_document_tells_that_it_may_be_too_busy(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"][URL]["post"]["responses"]
    for status, code in (("503", "overloaded"), ("504", "deadline_exceeded")):
        assert code in answers[status]["content"]["application/problem+json"]["examples"]
    assert "Retry-After" in answers["503"]["headers"]


def test_wrong_field_and_wrong_type(client: TestClient) -> None:
    assert problem_of(client.post(URL, files={"image": png(labels())})) == (422, "mask_missing")
    assert problem_of(client.post(URL, files=[("mask", png(labels())), ("mask", png(labels()))])) == (
        422,
        "mask_missing",
    )
    assert problem_of(client.post(URL, content=EYE, headers={"content-type": "image/jpeg"})) == (
        415,
        "unsupported_media_type",
    )
    assert problem_of(client.post(URL)) == (415, "unsupported_media_type")
    assert problem_of(measure(client, SQUARES, laterality="both")) == (422, "invalid_parameter")


POINTS = st.tuples(st.floats(-2, 42), st.floats(-2, 32)) | st.tuples(st.integers(0, 39), st.integers(0, 29))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(POINTS, min_size=1, max_size=8), max_size=3), st.lists(st.lists(POINTS, min_size=1), max_size=2)
)
def test_any_outline_gets_numbers_or_a_refusal(client: TestClient, disc: list[Any], cup: list[Any]) -> None:
    answer = measure(client, {"width": 40, "height": 30, "disc": disc, "cup": cup})
    if answer.status_code != 200:
        assert problem_of(answer) in ((422, "invalid_mask"), (422, "disc_not_found"))
        return
    body = MeasurementAnswer.model_validate(answer.json())
    if body.cup_to_disc_ratio:
        assert 0 < body.cup_to_disc_ratio.vertical <= 1
