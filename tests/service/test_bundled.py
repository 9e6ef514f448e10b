"""The service as it comes, with the version that ships: not fooled by what is no retina."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model.registry import BUNDLED
from tests.service.conftest import encode

pytestmark = pytest.mark.skipif(not (BUNDLED / "disc-cup").is_dir(), reason="no version is bundled yet")


def pictures() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:480, :640]
    grass = random.integers(0, 60, (480, 640, 3), dtype=np.uint8) + np.array([20, 120, 10], np.uint8)
    text = np.full((480, 640, 3), 255, np.uint8)
    text[40:440:20, 40:600] = 0
    text[:, ::7] = 255
    return {
        "black": np.zeros((480, 640, 3), np.uint8),
        "white": np.full((480, 640, 3), 255, np.uint8),
        "grey": np.full((480, 640, 3), 128, np.uint8),
        "noise": random.integers(0, 256, (480, 640, 3), dtype=np.uint8),
        "grass": grass,
        "a page of text": text,
        "blue sky": np.dstack([rows // 4, rows // 3, 255 - rows // 5]).astype(np.uint8),
        "chessboard": np.repeat((((rows // 60 + columns // 60) % 2) * 255)[..., None], 3, axis=2).astype(np.uint8),
    }


@pytest.mark.parametrize("name", pictures())
def test_what_is_no_retina_gets_no_ratio(start: Callable[..., TestClient], name: str) -> None:
    body = start(registry="bundled").post("/v1/segmentations", files={"image": encode(pictures()[name])}).json()
    assert body["gradable"] is False
    assert body["reasons"]
    assert body["cup_to_disc_ratio"] is None
    assert body["cup"] is None


@pytest.mark.parametrize("network", ["locator", "segmenter"])
def test_numbers_that_a_network_cannot_add_up_are_no_fault_of_ours(
    start: Callable[..., TestClient], network: str
) -> None:
    client = start(registry="bundled")
    side = client.get("/v2/models/disc-cup").json()["inputs"][1]["shape"][1] if network == "segmenter" else 192
    image = (np.random.default_rng(0).normal(size=(1, side, side, 3)) * 2e37).astype(np.float32)
    tensor = {"name": "image", "datatype": "FP32", "shape": list(image.shape)}
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    for binary in (True, False):
        asked = {"inputs": [tensor], "parameters": {"network": network, "binary_data_output": binary}}
        head = json.dumps(asked).encode()
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = client.post("/v2/models/disc-cup/infer", content=head + image.tobytes(), headers=length)
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "invalid_inference: image: its numbers are too large",
        )
