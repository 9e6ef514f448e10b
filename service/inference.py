"""A photograph's way through queue and networks, for every protocol that the service speaks."""

import asyncio
import binascii
import functools
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from fastapi import Request

from model.segmenter import Segmenter
from service import answers, rendering, security
from service.answers import Answered, Wish
from service.cost import cost_of
from service.problems import InvalidInference, ModelNotFound
from service.protocol_schemas import Network
from service.queueing import Queue
from service.versions import LiveVersions

MOST = 8  # photographs or prepared tensors in one request of the standard protocols


@dataclass(frozen=True)
class Found:
    """Of one photograph, as the standard protocols tell it."""

    answer: bytes  # JSON, as `/v1/segmentations` gives it
    gradable: bool
    label_mask: bytes | None  # PNG with the values of `Label`; None where nobody wants it


async def version_of(request: Request, version: str | None, model: str | None = None) -> Segmenter:
    """The version for a request, loaded if need be; refused before anything is read where the queue is full.

    Args:
        version: a version or an alias; None for the one that answers by default.
        model: the name that the client calls the model by; None for whatever it is called.
    Raises:
        Overloaded, NoVersionLive, VersionNotFound, ModelNotFound; StorageError where it cannot be fetched.
    """
    live: LiveVersions = request.app.state.live
    queue: Queue = request.app.state.queue
    queue.check_room()
    segmenter = live.ready(version)
    if segmenter is None:
        segmenter = await anyio.to_thread.run_sync(live.get, version, limiter=request.app.state.fetching)
    if model is not None and model != segmenter.name:
        raise ModelNotFound(f"no model {model[:100]}; there is {segmenter.name}")
    return segmenter


async def in_convention(request: Request, segmenter: Segmenter, name: str | None, version: str | None) -> Segmenter:
    """The version, drawing as the annotators of that name do; made ready if need be.

    A candidate that answers a share of the requests and did not learn it leaves the request to production.

    Args:
        segmenter: of `version_of`.
        version: that the request named.
    Raises:
        ConventionNotFound
    """
    production = request.app.state.live.production
    if version is None and production is not None and not segmenter.can_draw(name):
        segmenter = production
    if segmenter.is_ready(name) or not segmenter.can_draw(name):  # who asks for what is not there waits for nobody
        return segmenter.in_convention(name)
    found: Segmenter = await anyio.to_thread.run_sync(segmenter.in_convention, name, limiter=request.app.state.fetching)
    return found


async def segmented(request: Request, segmenter: Segmenter, data: bytes, wish: Wish, let_in: bool = False) -> Answered:
    """One encoded photograph, when its turn has come.

    Args:
        let_in: as `Queue.run`.
    Raises:
        PhotographError, Overloaded, DeadlineExceeded, ClientDisconnect.
    """
    state = request.app.state
    work = functools.partial(answers.answer, data, state.shared.of(segmenter), wish, state.decode)
    heavy, caller = _is_heavy(data, segmenter, wish), security.caller_of(request)
    answered: Answered = await state.queue.run(work, caller, request.receive, heavy, let_in)
    for stage, took_ms in answered.timings_ms.items():
        state.metrics.stage(stage, took_ms / 1000)
    state.metrics.answer(segmenter.version, answered.segmentation, segmenter.as_published)
    if (candidate := state.live.shadow_of(segmenter)) is not None:
        known = getattr(request.state, "caller", "")  # no address: it is nobody's business in metrics
        state.shadow.compare(answered.decoded, answered.segmentation, segmenter.version, candidate, known)
    return answered


async def photographs(
    request: Request, segmenter: Segmenter, encoded: Sequence[bytes], wish: Wish, label_masks: bool = False
) -> list[Found]:
    """Several encoded photographs of one request; where one of them cannot be read there is no answer to any.

    They are let into the queue together or not at all, as one that is shorter than `MOST` would refuse so many every
    time. So some may wait beyond its length.

    Raises:
        InvalidInference: none, or more than `MOST`.
        RateExceeded, RateTooSmall: more than is left of the caller's rate; and as `segmented`.
    """
    if not 1 <= len(encoded) <= MOST:
        raise InvalidInference(f"{len(encoded)} photographs; send 1 to {MOST} in one request")
    request.app.state.queue.check_room(any(_is_heavy(data, segmenter, wish) for data in encoded))
    security.count(request, len(encoded))
    tasks = [asyncio.ensure_future(_found(request, segmenter, data, wish, label_masks)) for data in encoded]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def probabilities(request: Request, segmenter: Segmenter, network: Network, images: np.ndarray) -> np.ndarray:
    """What a network makes of prepared regions, (batch, S, S, 3) float32.

    Raises:
        InvalidInference: another shape, a number that is none, or such large ones that nothing can be made of them.
        RateExceeded, RateTooSmall, Overloaded, DeadlineExceeded, ClientDisconnect.
    """
    side = segmenter.input_size(network)
    if images.ndim != 4 or images.shape[1:] != (side, side, 3) or not 1 <= len(images) <= MOST:
        raise InvalidInference(f"image: the {network} takes the shape [1 to {MOST}, {side}, {side}, 3]")
    if not np.isfinite(images).all():
        raise InvalidInference("image: NaN or infinite")
    security.count(request, len(images))
    state = request.app.state
    shared: Segmenter = state.shared.of(segmenter)
    found: np.ndarray = await state.queue.run(
        lambda check: shared.probabilities(network, images), security.caller_of(request), request.receive
    )
    if not np.isfinite(found).all():  # sums overflow long before their terms do
        raise InvalidInference("image: its numbers are too large")
    return found


def from_base64(text: object) -> bytes:
    """Raises InvalidInference."""
    if not isinstance(text, str):
        raise InvalidInference("a photograph in JSON is a text in base64")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInference("a photograph in JSON is a text in base64; this is none") from None


def numbers(data: list[Any]) -> np.ndarray:
    """A tensor in JSON, flat or in rows of rows, as float32. Raises InvalidInference."""
    try:
        found = np.asarray(data)
    except ValueError:
        found = np.asarray(None)
    if found.dtype.kind not in "fiu":
        raise InvalidInference("image: its data are no numbers, or rows of different lengths")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `probabilities` refuses
        return found.astype(np.float32)


def _is_heavy(data: bytes, segmenter: Segmenter, wish: Wish) -> bool:
    return cost_of(data, None if wish.shows_the_photograph else segmenter.smallest_side).is_heavy


async def _found(request: Request, segmenter: Segmenter, data: bytes, wish: Wish, label_mask: bool) -> Found:
    answered = await segmented(request, segmenter, data, wish, let_in=True)
    drawn = None
    if label_mask:
        draw = functools.partial(rendering.label_png, answered.segmentation.label_mask)
        drawn = await anyio.to_thread.run_sync(draw, limiter=request.app.state.workers)
    return Found(bytes(answered.response.body), answered.segmentation.gradable, drawn)
