"""The documentation's worked examples are true."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model.registry import BUNDLED
from service import examples
from service.problems import ANSWERS
from tests.renew_examples import EYE
from tests.renew_examples import examples as made_anew
from tests.service.conftest import encode
from tests.service.test_bad_input import EYE as PHOTOGRAPH
from tests.service.test_bad_input import URL, bitmap_header

RENEW = "run `python -m tests.renew_examples`"
JPEG = {"content-type": "image/jpeg"}


def test_the_example_of_a_measurement_gives_its_example_of_an_answer(client: TestClient) -> None:
    outlines = examples.OUTLINES["outlines"]["value"]
    answer = client.post("/v1/measurements", json=outlines, params=EYE).json()
    assert answer == examples.MEASUREMENTS["measured"]["value"], RENEW
    disc_alone = client.post("/v1/measurements", json={**outlines, "cup": []}, params=EYE).json()
    assert disc_alone == examples.MEASUREMENTS["disc_alone"]["value"]


@pytest.mark.skipif(not (BUNDLED / "disc-cup").is_dir(), reason="no version is bundled yet")
def test_the_examples_are_what_the_bundled_version_answers(start: Callable[..., TestClient]) -> None:
    now = made_anew(start(registry="bundled", replica="replica-1"))
    assert now["versions"] == examples.ANSWERS["versions"], RENEW
    for name in ("png", "rle", "polygon", "not_gradable"):
        assert shape(now[name]) == shape(examples.ANSWERS[name]), RENEW
    fresh, shown = (one["png"]["cup_to_disc_ratio"] for one in (now, examples.ANSWERS))
    assert fresh["vertical"] == pytest.approx(shown["vertical"], abs=0.01), RENEW  # bf16 and f32 differ a little


def shape(value: Any) -> Any:
    """The keys of an answer, right down."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return type(value).__name__ if not isinstance(value, int | float) else "number"


@pytest.mark.parametrize(
    ("code", "request_of"),
    [
        ("empty_photograph", {"content": b"", "headers": JPEG}),
        ("unsupported_format", {"content": b"hello", "headers": JPEG}),
        ("unreadable_photograph", {"content": PHOTOGRAPH[: len(PHOTOGRAPH) // 2], "headers": JPEG}),
        ("too_many_pixels", {"content": bitmap_header(20_000, 20_000), "headers": JPEG}),
        ("too_few_pixels", {"content": encode(np.zeros((1, 1, 3), np.uint8), "PNG"), "headers": JPEG}),
        ("too_many_bytes", {"content": bytes(40 * 2**20), "headers": JPEG}),
        ("unsupported_media_type", {"content": PHOTOGRAPH, "headers": {"content-type": "text/plain"}}),
        ("not_acceptable", {"content": PHOTOGRAPH, "headers": {**JPEG, "accept": "text/html"}}),
        ("invalid_parameter", {"content": PHOTOGRAPH, "headers": JPEG, "params": {"masks": "jpeg"}}),
        ("version_not_found", {"content": PHOTOGRAPH, "headers": JPEG, "params": {"version": "2020.1.1"}}),
        ("photograph_missing", {"files": {"photo": PHOTOGRAPH}}),
    ],
)
def test_the_examples_of_errors_are_what_the_service_says(
    client: TestClient, code: str, request_of: dict[str, Any]
) -> None:
    answer = client.post(URL, **request_of)
    documented = {kind.code: example for kind, example in ANSWERS.items()}
    assert (answer.status_code, answer.json()["detail"]) == documented[code]
    assert answer.json()["code"] == code
