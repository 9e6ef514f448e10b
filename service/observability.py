"""What an operator sees in figures: the Prometheus metrics of one service, and the path that shows them."""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, openapi, problems
from service.replicas import Group

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RATIOS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # of vCDR; the last bucket is 0.95 and above
DISTANCES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)  # 1: a typical training photograph
BATCHES = (1, 2, 4, 8, 16, 32, 64)  # photographs
DICES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
DIFFERENCES = (
    -0.4,
    -0.2,
    -0.1,
    -0.05,
    -0.02,
    -0.01,
    0.0,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
)  # of vCDR, second minus first
UNKNOWN_ROUTE = "other"  # one label for every path that does not exist: clients must not be able to make labels
MOST_CALLERS, OTHER_CALLERS = 200, "others"  # each has three histograms of its own
REQUEST_ID = "X-Request-ID"
QUIET = ("/health/live", "/health/ready", "/metrics")  # asked every few seconds: logged at debug
METHODS = ("GET", "POST", "OPTIONS")  # others are counted together, for the same reason

logger = structlog.get_logger("cupdisc")


class _Ratios(Protocol):
    @property
    def vertical(self) -> float: ...


class _Answered(Protocol):
    """What is read of a `model.segmentation.Segmentation`."""

    @property
    def gradable(self) -> bool: ...
    @property
    def reasons(self) -> Sequence[str]: ...
    @property
    def distance_from_training(self) -> float: ...
    @property
    def ratios(self) -> _Ratios | None: ...


class Metrics:
    """Every figure of one service, in a registry of its own. Safe to call from several threads.

    Of several replicas behind one address, any one shows what all have counted together.

    No label holds what a client may choose freely, so the number of series is bounded by paths and versions.
    """

    def __init__(self, group: Group | None = None) -> None:
        self._group = group
        self._registry = own = CollectorRegistry()
        summed: dict[str, Any] = {"multiprocess_mode": "livesum", "registry": own}  # over the replicas that live
        ProcessCollector(registry=own)
        GCCollector(registry=own)
        self._requests = Counter(
            "cupdisc_requests", "Answers, by path and status.", ["method", "route", "status"], registry=own
        )
        self._request_seconds = Histogram(
            "cupdisc_request_seconds",
            "Head of the request to end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=own,
        )
        self._stage_seconds = Histogram(
            "cupdisc_stage_seconds",
            "One photograph in one stage of the work.",
            ["stage"],
            buckets=SECONDS,
            registry=own,
        )
        self._batch_size = Histogram(
            "cupdisc_batch_size", "Photographs in one call of a network.", ["network"], buckets=BATCHES, registry=own
        )
        self._queue = Gauge("cupdisc_queue_length", "Photographs that wait for a network.", **summed)
        self._refusal_seconds = Histogram(
            "cupdisc_refusal_seconds",
            "Head of the request to beginning of the answer, where that is 503.",
            buckets=SECONDS,
            registry=own,
        )
        self._refused = Counter("cupdisc_refused", "Requests turned away, by reason.", ["reason"], registry=own)
        self._events = Counter(
            "cupdisc_version_events", "Loaded, refused, swapped and so on.", ["event", "version"], registry=own
        )
        self._live = Gauge("cupdisc_live_version", "Replicas with a version in a role.", ["version", "role"], **summed)
        self._engine = Gauge(
            "cupdisc_engine_info", "Replicas that run a version so.", ["version", "engine", "precision"], **summed
        )
        self._answers = Counter("cupdisc_answers", "Photographs answered.", ["version", "gradable"], registry=own)
        self._reasons = Counter(
            "cupdisc_not_gradable", "Why photographs were not gradable.", ["version", "reason"], registry=own
        )
        self._ratio = Histogram(
            "cupdisc_vertical_ratio", "Vertical cup-to-disc ratios given.", ["version"], buckets=RATIOS, registry=own
        )
        self._distance = Histogram(
            "cupdisc_distance_from_training",
            "How foreign photographs are; 1 is typical of training.",
            ["version"],
            buckets=DISTANCES,
            registry=own,
        )
        pair = ["version", "compared_with", "caller"]
        self._disc_dice = Histogram(
            "cupdisc_shadow_disc_dice", "Two versions' discs of one photograph.", pair, buckets=DICES, registry=own
        )
        self._cup_dice = Histogram(
            "cupdisc_shadow_cup_dice", "Two versions' cups of one photograph.", pair, buckets=DICES, registry=own
        )
        self._difference = Histogram(
            "cupdisc_shadow_vertical_ratio_difference",
            "Second version's vertical ratio minus the first's.",
            pair,
            buckets=DIFFERENCES,
            registry=own,
        )
        self._roles: dict[str, str] = {}
        self._callers: set[str] = set()  # that have a label

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answer; `route` is the path's pattern, never the path itself."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """One photograph's time in decode, wait, locate, segment, measure or encode."""
        self._stage_seconds.labels(name).observe(seconds)

    def batch(self, network: str, size: int) -> None:
        """One call of a network."""
        self._batch_size.labels(network).observe(size)

    def queue(self, length: int) -> None:
        """How many photographs wait now."""
        self._queue.set(length)

    def refusal(self, seconds: float) -> None:
        """How soon one 503 was told."""
        self._refusal_seconds.observe(seconds)

    def refused(self, reason: str) -> None:
        """One request turned away: overloaded, deadline, rate, no_key, …"""
        self._refused.labels(reason).inc()

    def version_event(self, event: str, version: str) -> None:
        """Loaded, refused, swapped, rolled_back, unloaded, …"""
        self._events.labels(event, version).inc()

    def live_version(self, version: str, role: str) -> None:
        """The version that fills a role from now on, in place of the one before."""
        before = self._roles.get(role)
        if before is not None and before != version:
            self._end(before, role)
        self._roles[role] = version
        self._live.labels(version, role).set(1)

    def no_longer_live(self, role: str) -> None:
        """Nothing fills the role any more."""
        if (before := self._roles.pop(role, None)) is not None:
            self._end(before, role)

    def _end(self, version: str, role: str) -> None:
        if self._group is None:
            self._live.remove(version, role)
        else:
            self._live.labels(version, role).set(0)  # shared metrics cannot be removed

    def engine(self, version: str, engine: str, precision: str) -> None:
        """What a loaded version runs on."""
        self._engine.labels(version, engine, precision).set(1)

    def no_engine(self, version: str, engine: str, precision: str) -> None:
        """A version runs no longer."""
        if self._group is None:
            self._engine.remove(version, engine, precision)
        else:
            self._engine.labels(version, engine, precision).set(0)  # shared metrics cannot be removed

    def answer(self, version: str, segmentation: _Answered, as_published: bool = True) -> None:
        """What was said about one photograph: distributions whose drift an operator wants to see.

        Args:
            as_published: whether its convention is the version's own; ratios by others are none of its distribution.
        """
        self._answers.labels(version, str(segmentation.gradable).lower()).inc()
        self._distance.labels(version).observe(segmentation.distance_from_training)
        for reason in segmentation.reasons:
            self._reasons.labels(version, reason).inc()
        if segmentation.ratios is not None and as_published:
            self._ratio.labels(version).observe(segmentation.ratios.vertical)

    def comparison(
        self,
        version_a: str,
        version_b: str,
        disc_dice: float | None,
        cup_dice: float | None,
        vcdr_difference: float | None,
        caller: str = "",
    ) -> None:
        """One photograph seen by two versions; None where one of them drew nothing. The difference is b minus a.

        Args:
            caller: who sent it, as the key file names them; empty for anybody.
        """
        if caller not in self._callers:
            caller = OTHER_CALLERS if len(self._callers) >= MOST_CALLERS else caller
            self._callers.add(caller)
        for histogram, value in (
            (self._disc_dice, disc_dice),
            (self._cup_dice, cup_dice),
            (self._difference, vcdr_difference),
        ):
            if value is not None:
                histogram.labels(version_a, version_b, caller).observe(value)

    def render(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry) if self._group is None else self._group.figures()


class Observed:
    """ASGI middleware: gives every request an id, counts and logs every answer, and answers what nobody foresaw."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = logs.request_id(Headers(scope=scope).get(REQUEST_ID))
        logs.bind(request_id=request_id)

        async def watching_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 503:
                    self.metrics.refusal(time.perf_counter() - started)
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, watching_send)
        except Exception:
            if not status:
                await problems.unexpected()(scope, receive, watching_send)
            raise  # to be logged by the server
        finally:
            seconds, route = time.perf_counter() - started, route_of(scope)
            self.metrics.request(scope["method"], route, status, seconds)
            caller = scope.get("state", {}).get("caller")
            log = logger.debug if route in QUIET else logger.info
            log(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                caller=caller,
            )


def route_of(scope: Scope) -> str:
    """The pattern of the path that answered, such as `/v1/versions/{version}`; UNKNOWN_ROUTE where none did."""
    pattern = getattr(scope.get("route"), "path", None)
    if isinstance(pattern, str):
        return pattern
    mounted = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
    return mounted or UNKNOWN_ROUTE


router = APIRouter()


@router.get("/metrics", **openapi.METRICS)
async def metrics(request: Request) -> Response:
    """Figures in Prometheus's text format."""
    shown: Metrics = request.app.state.metrics
    return Response(shown.render(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE_LATEST)
