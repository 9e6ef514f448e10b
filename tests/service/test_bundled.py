"""The service as it comes, with the version that ships: quick to start, small, and not fooled by what is no retina."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from model.registry import BUNDLED
from tests.service.conftest import encode
from tests.service.test_cli import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "normal_left_eye.jpg"

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


def test_first_answer_within_10_s_and_a_photograph_in_half_a_second_below_1500_mib() -> None:
    photograph = encode(np.asarray(Image.open(EXAMPLE).convert("RGB").resize((2000, 1750))))
    started = time.monotonic()
    with serving() as (process, address):
        answered = [started]
        for _ in range(4):
            headers = {"content-type": "image/jpeg"}
            request = urllib.request.Request(f"{address}/v1/segmentations", photograph, headers)
            answer = json.load(urllib.request.urlopen(request))
            answered.append(time.monotonic())
        peak_kib = int(Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
    assert answer["gradable"] is True
    first, *others = np.diff(answered)
    assert first < 10
    assert min(others) < 0.5
    assert peak_kib < 1.5 * 2**20
