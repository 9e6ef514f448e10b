"""What a client sees over HTTP: answers, their forms, and the numbers of an eye that was drawn."""

import base64
import concurrent.futures as cf
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from service.schemas import SegmentationAnswer
from tests.service.conftest import EYE, draw_eye, encode

JPEG = {"content-type": "image/jpeg"}
PNG = {**JPEG, "accept": "image/png"}


def post(client: TestClient, data: bytes = EYE, headers: dict[str, str] = JPEG, **query: str) -> Any:
    return client.post("/v1/segmentations", content=data, headers=headers, params=query)


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def expected_mask(radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:480, :640]
    return np.hypot(rows + 0.5 - 240, columns + 0.5 - 320) < radius


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))


def test_numbers_of_a_drawn_eye(client: TestClient) -> None:
    answer = post(client)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["gradable"] is True
    assert body["reasons"] == []
    assert body["image"] == {"width": 640, "height": 480, "format": "JPEG"}
    assert body["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.03)
    assert body["cup_to_disc_ratio"]["area"] == pytest.approx(0.25, abs=0.03)
    assert body["cup_to_disc_ratio"]["vertical_interval"]["coverage"] == 0.9
    assert body["disc"]["box"]["height"] == pytest.approx(120, abs=4)
    assert body["disc"]["centre"] == pytest.approx({"x": 320, "y": 240}, abs=1.5)
    assert body["disc"]["area"] == pytest.approx(np.pi * 60**2, rel=0.05)
    assert body["version"]["version"] == "2026.2.1"
    assert body["version"]["engine"] == "openvino"
    assert len(body["version"]["sha256"]) == 64
    assert set(body["timings_ms"]) == {"decode", "locate", "segment", "measure", "encode"}
    assert min(body["timings_ms"].values()) >= 0


def test_form_and_raw_body_give_the_same(client: TestClient) -> None:
    form = client.post("/v1/segmentations", files={"image": ("eye.jpg", EYE, "image/jpeg")}).json()
    raw = post(client).json()
    assert {**form, "timings_ms": None} == {**raw, "timings_ms": None}


def test_png_masks_are_the_photographs_size_and_agree_with_the_area(client: TestClient) -> None:
    body = post(client).json()
    for name, radius in (("disc", 60), ("cup", 30)):
        mask = read(base64.b64decode(body[name]["mask"]["data"]))
        assert mask.shape == (480, 640)
        assert mask.dtype == bool
        assert np.count_nonzero(mask) == body[name]["area"]
        assert iou(mask > 0, expected_mask(radius)) > 0.93


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder, numpy 2
def test_all_encodings_hold_the_same_mask(client: TestClient) -> None:
    masks = {kind: post(client, masks=kind).json()["cup"]["mask"] for kind in ("png", "rle", "polygon")}
    assert {kind: mask["encoding"] for kind, mask in masks.items()} == {kind: kind for kind in masks}
    expected = read(base64.b64decode(masks["png"]["data"])) > 0
    assert np.array_equal(coco.decode({"size": masks["rle"]["size"], "counts": masks["rle"]["counts"]}) > 0, expected)
    canvas = np.zeros(expected.shape, np.uint8)
    cv2.fillPoly(canvas, [np.array(ring) for ring in masks["polygon"]["rings"]], 1)
    assert np.array_equal(canvas > 0, expected)


def test_masks_none_leaves_them_out(client: TestClient) -> None:
    body = post(client, masks="none").json()
    assert "mask" not in body["disc"]
    assert "mask" not in body["cup"]


def test_masks_are_upright_after_exif_orientation(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side, to be turned by a quarter
    lying = np.rot90(draw_eye(640, 480))
    body = post(client, encode(np.ascontiguousarray(lying), exif=exif)).json()
    assert (body["image"]["width"], body["image"]["height"]) == (640, 480)
    assert iou(read(base64.b64decode(body["disc"]["mask"]["data"])) > 0, expected_mask(60)) > 0.93


def test_overlay(client: TestClient) -> None:
    answer = post(client, headers=PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cupdisc-gradable"] == "true"
    assert answer.headers["cupdisc-reasons"] == ""
    assert answer.headers["cupdisc-version"] == "2026.2.1"
    assert float(answer.headers["cupdisc-ratio-vertical"]) == pytest.approx(0.5, abs=0.03)
    overlay, photograph = read(answer.content), read(EYE)
    assert overlay.shape == photograph.shape
    changed = (overlay != photograph).any(axis=2)
    ring = expected_mask(66) & ~expected_mask(54) | expected_mask(36) & ~expected_mask(24)
    assert changed.any()
    assert not (changed & ~ring).any()


def test_label_picture(client: TestClient) -> None:
    labels = read(post(client, headers=PNG, render="mask").content)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert iou(labels > 0, expected_mask(60)) > 0.93
    assert iou(labels == 2, expected_mask(30)) > 0.9


def test_a_photograph_without_disc_is_an_answer_not_an_error(client: TestClient) -> None:
    nothing = encode(draw_eye(disc=0, cup=0))
    answer = post(client, nothing)
    assert answer.status_code == 200
    body = answer.json()
    assert body["gradable"] is False
    assert "disc_not_found" in body["reasons"]
    assert (body["disc"], body["cup"], body["cup_to_disc_ratio"]) == (None, None, None)
    picture = post(client, nothing, PNG)
    assert picture.headers["cupdisc-gradable"] == "false"
    assert "disc_not_found" in picture.headers["cupdisc-reasons"]
    assert "cupdisc-ratio-vertical" not in picture.headers
    assert np.array_equal(read(picture.content), read(nothing))  # no outlines


def test_a_disc_without_cup_keeps_the_disc_alone(client: TestClient) -> None:
    cupless = encode(draw_eye(cup=0))
    body = post(client, cupless).json()
    assert body["reasons"] == ["cup_uncertain"]
    assert body["disc"]["area"] == pytest.approx(np.pi * 60**2, rel=0.05)
    assert (body["cup"], body["cup_to_disc_ratio"]) == (None, None)
    assert set(np.unique(read(post(client, cupless, PNG, render="mask").content))) == {0, 1}
    assert np.array_equal(read(post(client, cupless, PNG).content), read(cupless))


def test_every_answer_fits_its_schema_and_holds_no_nan(client: TestClient) -> None:
    for data in (EYE, encode(draw_eye(disc=0, cup=0)), encode(np.zeros((100, 100, 3), np.uint8))):
        answer = post(client, data)
        SegmentationAnswer.model_validate_json(answer.content, strict=False)
        assert b"NaN" not in answer.content


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_other_formats(client: TestClient, kind: str) -> None:
    body = post(client, encode(draw_eye(), kind), {"content-type": "application/octet-stream"}, masks="none").json()
    assert body["image"]["format"] == kind
    assert body["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.03)


def test_the_bytes_tell_the_format_not_the_client(client: TestClient) -> None:
    assert post(client, encode(draw_eye(), "PNG"), JPEG).json()["image"]["format"] == "PNG"


@pytest.mark.parametrize("name", ["2026.1.1", "2026.2.1", "production"])
def test_version_or_alias(client: TestClient, name: str) -> None:
    expected = "2026.2.1" if name == "production" else name
    assert post(client, version=name, masks="none").json()["version"]["version"] == expected


def test_versions(client: TestClient) -> None:
    body = client.get("/v1/versions").json()
    assert body["default"] == "2026.2.1"
    assert [one["version"] for one in body["versions"]] == ["2026.2.1", "2026.1.1"]
    assert [one["aliases"] for one in body["versions"]] == [["production"], []]


def test_version_with_manifest_and_card(client: TestClient) -> None:
    body = client.get("/v1/versions/production").json()
    assert body["version"] == "2026.2.1"
    assert body["manifest"]["segmenter"]["outputs"] == ["disc", "cup"]
    assert body["card"] == "# drawn eyes\n"
    assert body["sha256"] == post(client, masks="none").json()["version"]["sha256"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health(client: TestClient, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}


def test_many_at_once(start: Callable[..., TestClient]) -> None:
    client = start(max_parallel=2)
    with cf.ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: post(client, masks="none").json(), range(8)))
    assert len({body["cup_to_disc_ratio"]["vertical"] for body in bodies}) == 1
