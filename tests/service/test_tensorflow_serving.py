"""TensorFlow Serving's predict: rows and columns, versions and labels, signatures, errors in its own form."""

import asyncio
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service import inference
from tests.service.conftest import EYE, SIZE, encode

PREDICT = "/v1/models/disc-cup:predict"
INSTANCE = {"b64": b64encode(EYE).decode()}
BLANK = {"b64": b64encode(encode(np.zeros((200, 200, 3), np.uint8))).decode()}


def test_rows(client: TestClient) -> None:
    asked = {"instances": [INSTANCE, {"photograph": BLANK}], "signature_name": "serving_default"}
    first, second = client.post(PREDICT, json=asked).json()["predictions"]
    alone = client.post("/v1/segmentations?masks=none", content=EYE, headers={"content-type": "image/jpeg"}).json()
    for answer in (first, alone):
        del answer["timings_ms"]
    assert first == alone
    assert second["gradable"] is False


@pytest.mark.parametrize("inputs", [[INSTANCE], {"photograph": [INSTANCE]}])
def test_columns(client: TestClient, inputs: Any) -> None:
    (answer,) = client.post(f"{PREDICT}?masks=rle&laterality=right", json={"inputs": inputs}).json()["outputs"]
    assert answer["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.02)
    assert (answer["disc"]["mask"]["encoding"], answer["laterality"]) == ("rle", "right")


@pytest.mark.parametrize("form", ["rows", "named rows", "columns"])
def test_the_networks_own_signatures(client: TestClient, form: str) -> None:
    image = np.zeros((SIZE, SIZE, 3))
    image[: SIZE // 2, :, 1] = 2.0
    asked: dict[str, Any] = {
        "rows": {"instances": [image.tolist()]},
        "named rows": {"instances": [{"image": image.tolist()}]},
        "columns": {"inputs": {"image": [image.tolist()]}},
    }[form]
    answer = client.post(PREDICT, json={**asked, "signature_name": "segmenter"}).json()
    found = np.array(answer["outputs" if form == "columns" else "predictions"])
    assert found.shape == (1, SIZE, SIZE, 2)
    assert found[0] == pytest.approx(1 / (1 + np.exp(-10 * (image[..., 1:2] - np.array([0.4, 2.1])))), abs=5e-3)


def test_versions_and_labels(client: TestClient) -> None:
    for path, version in (("versions/2026.1.1", "2026.1.1"), ("labels/production", "2026.2.1")):
        (answer,) = client.post(f"/v1/models/disc-cup/{path}:predict", json={"instances": [INSTANCE]}).json()[
            "predictions"
        ]
        assert answer["version"]["version"] == version
        (state,) = client.get(f"/v1/models/disc-cup/{path}").json()["model_version_status"]
        assert (state["version"], state["state"]) == (version, "AVAILABLE")
    told = client.get("/v1/models/disc-cup").json()
    assert [each["version"] for each in told["model_version_status"]] == ["2026.2.1", "2026.1.1"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"instances": [{"b64": b64encode(b"no photograph").decode()}]}, 415, "unsupported_format"),
        ({"instances": [{"b64": "!"}]}, 400, "invalid_inference"),
        ({"instances": []}, 400, "invalid_inference"),
        ({"instances": [INSTANCE] * 9}, 400, "invalid_inference"),
        ({"instances": ["text"]}, 400, "invalid_inference"),
        ({"instances": [INSTANCE], "inputs": [INSTANCE]}, 400, "invalid_inference"),
        ({}, 400, "invalid_inference"),
        ({"inputs": {"photo": [INSTANCE]}}, 400, "invalid_inference"),
        ({"instances": [INSTANCE], "signature_name": "classify"}, 400, "invalid_inference"),
        ({"instances": [[1, 2], [3]], "signature_name": "segmenter"}, 400, "invalid_inference"),
        ({"instances": [[["a"]]], "signature_name": "locator"}, 400, "invalid_inference"),
    ],
)
def test_what_cannot_be_is_told_in_the_protocols_form(
    client: TestClient, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(PREDICT, json=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["code"] == code
    assert answer.json()["error"].startswith(f"{code}: ")


def test_a_wrong_query_is_told_in_the_protocols_form_too(client: TestClient) -> None:
    answer = client.post(f"{PREDICT}?masks=jpeg", json={"instances": [INSTANCE]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


def test_base64_is_decoded_where_nobody_else_waits_for_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, in_the_loop = inference.from_base64, []

    def watched(text: object) -> bytes:
        in_the_loop.append(asyncio._get_running_loop() is not None)
        return decode(text)

    monkeypatch.setattr(inference, "from_base64", watched)
    assert client.post(PREDICT, json={"instances": [INSTANCE, BLANK]}).status_code == 200
    assert in_the_loop == [False, False]


@pytest.mark.parametrize("path", ["/v1/models/retina:predict", "/v1/models/disc-cup/versions/2020.1.1:predict"])
def test_what_is_not_there_is_a_404(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"instances": [INSTANCE]})
    assert answer.status_code == 404
    assert answer.json()["code"] in ("model_not_found", "version_not_found")
