"""The Open Inference Protocol: the same answers as the API, binary or in JSON, and errors in its own form."""

import json
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.keys import Key, KeyFile, digest, new_key, write
from tests.service.conftest import EYE, SIZE, encode

INFER = "/v2/models/disc-cup/infer"
JPEG = {"content-type": "image/jpeg"}
BLANK = encode(np.zeros((200, 200, 3), np.uint8))
TEXT = b64encode(EYE).decode()


def photographs(*data: bytes, **more: Any) -> dict[str, Any]:
    listed = [b64encode(each).decode() for each in data]
    return {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [len(data)], "data": listed}], **more}


def binary(head: dict[str, Any], tensor: bytes) -> dict[str, Any]:
    text = json.dumps(head).encode()
    return {"content": text + tensor, "headers": {"Inference-Header-Content-Length": str(len(text))}}


def region(**more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, SIZE, SIZE, 3], **more}]}


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "timings_ms"}


def test_photographs_get_what_the_api_says_of_each(client: TestClient) -> None:
    answer = client.post(INFER, json=photographs(EYE, BLANK, id="seven")).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("seven", "disc-cup", "2026.2.1")
    outputs = {each["name"]: each for each in answer["outputs"]}
    assert {name: (each["datatype"], each["shape"]) for name, each in outputs.items()} == {
        "answer": ("BYTES", [2]),
        "gradable": ("BOOL", [2]),
        "label_mask": ("BYTES", [2]),
    }
    assert outputs["gradable"]["data"] == [True, False]
    told = [json.loads(each) for each in outputs["answer"]["data"]]
    for data, one in zip((EYE, BLANK), told, strict=True):
        alone = client.post("/v1/segmentations?masks=none", content=data, headers=JPEG).json()
        assert without_times(one) == without_times(alone)
    mask = client.post("/v1/segmentations?render=mask", content=EYE, headers=JPEG).content
    assert outputs["label_mask"]["data"][0] == b64encode(mask).decode()


def test_binary_tensors_both_ways(client: TestClient) -> None:
    tensor = struct.pack("<I", len(EYE)) + EYE
    head = photographs(EYE, outputs=[{"name": "gradable"}, {"name": "answer", "parameters": {"binary_data": True}}])
    del head["inputs"][0]["data"]
    head["inputs"][0] |= {"shape": [1, 1], "parameters": {"binary_data_size": len(tensor)}}
    answer = client.post(INFER, **binary(head, tensor))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    gradable, told = json.loads(answer.content[:length])["outputs"]
    assert (gradable["data"], gradable["shape"]) == ([True], [1, 1])
    rest = answer.content[length:]
    assert told["parameters"] == {"binary_data_size": len(rest)}
    assert struct.unpack_from("<I", rest) == (len(rest) - 4,)
    assert json.loads(rest[4:])["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.02)


def test_parameters_choose_masks_and_laterality(client: TestClient) -> None:
    chosen = photographs(EYE, parameters={"masks": "rle", "laterality": "left", "of_somebody_else": 1})
    told = json.loads(client.post(INFER, json=chosen).json()["outputs"][0]["data"][0])
    assert told["disc"]["mask"]["encoding"] == "rle"
    assert told["laterality"] == "left"


@pytest.mark.parametrize("network", ["segmenter", "locator"])
def test_a_prepared_region_gets_the_networks_probabilities(client: TestClient, network: str) -> None:
    """The networks by hand: sigmoid of ten times green less a threshold."""
    image = np.zeros((1, SIZE, SIZE, 3), np.float32)
    image[0, : SIZE // 2, :, 1] = 2.0
    asked = region(parameters={"binary_data_size": image.nbytes})
    asked["parameters"] = {"network": network}
    (output,) = client.post(INFER, **binary(asked, image.tobytes())).json()["outputs"]
    found = np.array(output["data"], np.float32).reshape(output["shape"])
    thresholds = [0.4, 2.1] if network == "segmenter" else [1.5]
    expected = 1 / (1 + np.exp(-10 * (image[..., 1:2] - np.array(thresholds))))
    assert found == pytest.approx(expected, abs=5e-3)
    listed = region(data=image.tolist())
    listed["parameters"] = {"network": network}
    (same,) = client.post(INFER, json=listed).json()["outputs"]
    assert same == output


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"json": photographs(b"")}, 400, "empty_photograph"),
        ({"json": photographs(b"no photograph")}, 415, "unsupported_format"),
        ({"json": photographs(EYE, EYE[:500])}, 422, "unreadable_photograph"),
        ({"json": photographs()}, 400, "invalid_inference"),
        ({"json": photographs(*[EYE] * 9)}, 400, "invalid_inference"),
        ({"json": photographs(EYE, outputs=[{"name": "ratio"}])}, 400, "invalid_inference"),
        ({"json": photographs(EYE, parameters={"masks": "jpeg"})}, 400, "invalid_inference"),
        ({"json": {"inputs": []}}, 400, "invalid_inference"),
        ({"json": {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [2], "data": [TEXT]}]}}, 400, ""),
        ({"json": {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": ["é"]}]}}, 400, ""),
        ({"json": {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [1]}]}}, 400, ""),
        ({"json": {"inputs": [{"name": "photograph", "datatype": "FP32", "shape": [1], "data": [1]}]}}, 400, ""),
        ({"json": {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1]}]}}, 400, ""),
        ({"json": region(data=[1.0])}, 400, ""),
        ({"json": region(data=[[1.0], [1.0, 2.0]])}, 400, ""),
        ({"json": region(data=["1"])}, 400, ""),
        (
            {"json": {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 2, 3], "data": [0] * 12}]}},
            400,
            "",
        ),
        ({"content": b"{"}, 400, ""),
        ({"content": b"\xff\xd8"}, 400, ""),
        ({"content": b"{}", "headers": {"Inference-Header-Content-Length": "3"}}, 400, ""),
        ({"content": b"{}", "headers": {"Inference-Header-Content-Length": "-1"}}, 400, ""),
        ({"content": b"[" * 100_000}, 400, ""),
        (binary(region(parameters={"binary_data_size": 4}), b"12345"), 400, ""),
        (binary(region(parameters={"binary_data_size": 5}), b"12345"), 400, ""),
        (binary(region(parameters={"binary_data_size": 4}), np.float32(np.nan).tobytes()), 400, ""),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, 415, "unsupported_media_type"),
        ({"content": bytes(40 * 2**20)}, 413, "too_many_bytes"),
    ],
)
def test_what_cannot_be_is_told_in_the_protocols_form(
    client: TestClient, request_of: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(INFER, **request_of)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    told = answer.json()
    assert set(told) == {"error", "code"}
    assert told["code"] == (code or "invalid_inference")
    assert told["error"].startswith(f"{told['code']}: ")


@pytest.mark.parametrize("length", ["", "ab", "abcd", "\x05\0\0\0abcd"])
def test_a_binary_tensor_that_is_cut_off_is_refused(client: TestClient, length: str) -> None:
    head = photographs(EYE)
    del head["inputs"][0]["data"]
    head["inputs"][0]["parameters"] = {"binary_data_size": len(length)}
    assert client.post(INFER, **binary(head, length.encode())).json()["code"] == "invalid_inference"


def test_nan_in_a_region_is_refused(client: TestClient) -> None:
    image = np.full((1, SIZE, SIZE, 3), np.nan, np.float32)
    answer = client.post(INFER, **binary(region(parameters={"binary_data_size": image.nbytes}), image.tobytes()))
    assert answer.json()["error"] == "invalid_inference: image: NaN or infinite"


@pytest.mark.parametrize(
    "path", ["/v2/models/retina", "/v2/models/retina/ready", "/v2/models/disc-cup/versions/2020.1.1"]
)
def test_what_is_not_there_is_a_404_in_the_protocols_form(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] in ("model_not_found", "version_not_found")


def test_versions_and_aliases_can_be_asked(client: TestClient) -> None:
    for name in ("2026.1.1", "production"):
        path = f"/v2/models/disc-cup/versions/{name}"
        assert client.get(f"{path}/ready").json() == {"name": "disc-cup", "ready": True}
        version = client.post(f"{path}/infer", json=photographs(EYE)).json()["model_version"]
        assert version == ("2026.1.1" if name == "2026.1.1" else "2026.2.1")
    told = client.get("/v2/models/disc-cup").json()
    assert told["versions"] == ["2026.2.1", "2026.1.1"]
    assert told["inputs"][1] == {"name": "image", "datatype": "FP32", "shape": [-1, SIZE, SIZE, 3]}
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_keys_limits_and_queue_are_those_of_the_api(start: Callable[..., TestClient], tmp_path: Path) -> None:
    key, operators = new_key(), new_key()
    write(
        tmp_path / "keys.json",
        KeyFile(
            keys=(
                Key(name="clinic", scopes=frozenset({"segment"}), sha256=digest(key), rate="2/minute"),
                Key(name="operator", scopes=frozenset({"admin"}), sha256=digest(operators)),
            )
        ),
    )
    client = start(keys=tmp_path / "keys.json")
    for path in (INFER, "/v1/models/disc-cup:predict"):
        missing = client.post(path, content=b"{}")
        assert (missing.status_code, missing.json()["code"]) == (401, "key_missing")
        assert "WWW-Authenticate" in missing.headers
        assert client.post(path, content=b"{}", headers={"X-API-Key": operators}).json()["code"] == "scope_missing"
    mine = {"X-API-Key": key}
    assert client.post(INFER, json=photographs(EYE), headers=mine).status_code == 200
    assert (
        client.post("/v1/models/disc-cup:predict", json={"instances": [{"b64": TEXT}]}, headers=mine).status_code == 200
    )
    late = client.post(INFER, json=photographs(EYE), headers=mine)
    assert (late.status_code, late.json()["code"]) == (429, "rate_exceeded")
    assert "Retry-After" in late.headers
    assert client.get("/v2/health/ready").status_code == 200
    figures = client.get("/metrics", headers={"X-API-Key": operators}).text
    assert 'cupdisc_answers_total{gradable="true",version="2026.2.1"} 2.0' in figures


def regions(count: int) -> dict[str, Any]:
    tensor = region(data=[0.0] * (count * SIZE * SIZE * 3))
    tensor["inputs"][0]["shape"][0] = count
    return tensor


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (INFER, lambda count: photographs(*[BLANK] * count)),
        (INFER, regions),
        ("/v1/models/disc-cup:predict", lambda count: {"instances": [{"b64": b64encode(BLANK).decode()}] * count}),
    ],
    ids=["photographs", "regions", "predict"],
)
def test_a_request_counts_towards_the_rate_as_many_as_it_brings(
    start: Callable[..., TestClient], path: str, asked: Callable[[int], Any]
) -> None:
    client = start(rate="6/day")
    answers = [client.post(path, json=asked(count)) for count in (4, 3, 1, 1)]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[1].json()["error"].startswith("rate_exceeded: 3 in one request, of 6 per 1 day;")
    assert int(answers[1].headers["retry-after"]) > 1


def test_a_request_of_more_than_the_rate_ever_allows_is_told_to_send_fewer(start: Callable[..., TestClient]) -> None:
    client = start(rate="7/day")
    answer = client.post(INFER, json=photographs(*[BLANK] * 8))
    assert (answer.status_code, answer.json()["code"]) == (400, "rate_too_small")
    assert "send 7 at most" in answer.json()["error"]
    assert "retry-after" not in answer.headers
    assert 'cupdisc_refused_total{reason="rate_too_small"} 1.0' in client.get("/metrics").text


def test_a_request_of_eight_is_answered_where_fewer_may_wait(start: Callable[..., TestClient]) -> None:
    client = start(max_parallel=1, max_queue_length=1)
    assert client.post(INFER, json=photographs(*[BLANK] * 8)).status_code == 200
    rows = {"instances": [{"b64": b64encode(BLANK).decode()}] * 8}
    assert client.post("/v1/models/disc-cup:predict", json=rows).status_code == 200


def test_a_number_beyond_fp32_is_refused(client: TestClient) -> None:
    values = [1e39, *[0.0] * (SIZE * SIZE * 3 - 1)]
    assert client.post(INFER, json=region(data=values)).json()["error"] == "invalid_inference: image: NaN or infinite"


def test_a_full_queue_is_told_before_the_body_is_read(start: Callable[..., TestClient]) -> None:
    client = start(max_queue_length=1)
    queue = client.app.state.queue  # type: ignore[attr-defined]
    free, queue._free, queue._waiting = queue._free, 0, 1  # every worker at work, and as many waiting as may
    answer = client.post(INFER, json=photographs(EYE))
    queue._free, queue._waiting = free, 0
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "Retry-After" in answer.headers
