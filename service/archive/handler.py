"""How Apache Beam's RunInference runs our networks: one engine for each worker process, shared by its threads."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from model import images
from model.errors import CupDiscError
from model.images import Decoded, Limits
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service.archive.pinned import Pinned
from service.archive.places import Found
from service.worker import FILE_ERRORS

NAMESPACE = "cupdisc_networks"  # of what Beam measures here; our own counters have another one
SMALLEST_BATCH, LARGEST_BATCH = 1, 4  # photographs; Beam measures within these, more cost more (benchmarks/results)


@dataclass(frozen=True)
class Taken:
    """A photograph on its way to the networks."""

    found: Found
    data: bytes  # a photograph that turns out to be coarse is decoded once more
    digest: str
    decoded: Decoded
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Answered:
    """What the networks said. `segmentation` is None where they could not, and then `error` says why."""

    segmentation: Segmentation | None
    engine: str
    precision: str
    error: Exception | None = None


class DiscCupHandler(ModelHandler[Taken, PredictionResult, Segmenter]):
    """`Taken` → PredictionResult of `Answered`; `model_id` is the version's name and digest, in every result.

    The version is pinned: an alias that moves while a run lasts changes nothing.
    """

    def __init__(self, pinned: Pinned, limits: Limits) -> None:
        super().__init__()
        self._pinned, self._limits = pinned, limits

    def load_model(self) -> Segmenter:
        return self._pinned.load()

    def run_inference(
        self, batch: Sequence[Taken], model: Segmenter, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        for taken, found in zip(batch, self._answers(batch, model), strict=True):
            yield PredictionResult(
                taken,
                replace(found, segmentation=found.segmentation and _light(found.segmentation)),
                model_id=f"{model.name}/{model.version}@{model.digest}",
            )

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": SMALLEST_BATCH, "max_batch_size": LARGEST_BATCH}

    def get_metrics_namespace(self) -> str:
        return NAMESPACE

    def get_num_bytes(self, batch: Sequence[Taken]) -> int:
        return sum(len(taken.data) for taken in batch)

    def _answers(self, batch: Sequence[Taken], model: Segmenter) -> list[Answered]:
        """Together; where that fails, each alone, so that one photograph costs no other its answer."""
        try:
            found = model.segment([taken.decoded for taken in batch])
        except (*FILE_ERRORS, cv2.error) as error:
            if len(batch) == 1:
                return [Answered(None, model.engine, model.precision, _as_ours(error))]
            return [answer for taken in batch for answer in self._answers([taken], model)]
        return [self._fine(taken, one, model) for taken, one in zip(batch, found, strict=True)]

    def _fine(self, taken: Taken, found: Segmentation, model: Segmenter) -> Answered:
        """With the whole photograph where the reduced one was too small."""
        if found.coarse:
            started = time.perf_counter()
            try:
                (found,) = model.segment([images.decode(taken.data, self._limits)])
            except (*FILE_ERRORS, cv2.error) as error:
                return Answered(None, model.engine, model.precision, _as_ours(error))
            found.timings_ms["again"] = (time.perf_counter() - started) * 1000
        return Answered(found, model.engine, model.precision)


def _light(found: Segmentation) -> Segmentation:
    """Without what only an evaluation needs."""
    return replace(found, probabilities=None, roi=None)


def _as_ours(error: Exception) -> Exception:
    return error if isinstance(error, CupDiscError) else MemoryError(str(error))
