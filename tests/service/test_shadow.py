"""The candidate in the shadow: what is not compared, and that nobody notices."""

import threading
from pathlib import Path

import pytest

from model.images import Decoded
from model.registry import open_registry
from model.segmenter import Segmenter
from service.observability import Metrics
from service.shadow import Shadow
from tests.service.conftest import draw_eye

VERSION = "2026.2.1"
EYE = Decoded(draw_eye(), "PNG")


@pytest.fixture(scope="module")
def segmenter(published: Path) -> Segmenter:
    """In production, and the candidate too."""
    return Segmenter(open_registry(str(published)).open(VERSION))


def events(photograph: Decoded, segmenter: Segmenter, shadow: Shadow, metrics: Metrics) -> set[str]:
    """Those of the candidate so far, when a photograph has been compared or passed over."""
    (answered,) = segmenter.segment([EYE])
    shadow.compare(photograph, answered, VERSION, segmenter)
    with shadow._free:
        return {each for each in ("compared", "not_compared", "failed") if f'"{each}"' in metrics.render().decode()}


def test_where_no_thread_can_be_started_the_answer_is_not_harmed(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    shadow = Shadow(metrics)

    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        assert events(EYE, segmenter, shadow, metrics) == {"not_compared"}
    assert events(EYE, segmenter, shadow, metrics) == {"not_compared", "compared"}


def test_a_photograph_that_is_too_coarse_for_the_candidate_is_not_compared(segmenter: Segmenter) -> None:
    metrics = Metrics()
    reduced = Decoded(EYE.pixels[::8, ::8], EYE.format, 8, EYE.shape)
    assert segmenter.segment([reduced])[0].coarse
    assert events(reduced, segmenter, Shadow(metrics), metrics) == {"not_compared"}
