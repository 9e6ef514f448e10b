"""`create_app`: the only place where the service's parts meet."""

import contextlib
from collections.abc import AsyncIterator

import anyio
import cv2
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from model.cores import usable_cores
from model.images import Limits
from model.registry import Registry
from service import (
    admin,
    batching,
    observability,
    open_inference,
    openapi,
    page,
    problems,
    protocol_documents,
    queueing,
    replicas,
    routes,
    security,
    shadow,
    storage,
    tensorflow_serving,
    tracing,
    uploads,
)
from service.decoding import Decoders
from service.replicas import Group
from service.settings import Settings
from service.versions import Follower, LiveVersions, registry_of

API_VERSION = "1.0.0"
DESCRIPTION = """Optic disc, optic cup and cup-to-disc ratio from one colour fundus photograph.

Every error is an RFC 9457 problem with a stable `code`. For research and education; not a medical device."""
TRANSFERS = 8  # photographs and results at once that travel from and to Cloud Storage
FETCHING = 2  # requests at once for versions that are not loaded; others of them wait
SAME_HOST_ONLY = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"


def create_app(settings: Settings, registry: Registry | None = None, group: Group | None = None) -> FastAPI:
    """The service, its default version loaded. Where none can be, it starts all the same and answers 503.

    Args:
        registry: where the versions are; by default the one that the settings name.
        group: of the replicas that share this one's address.
    Raises:
        VersionNotFound, EngineUnavailable, InvalidConfiguration: the settings ask for what is not there.
    """
    app = FastAPI(
        title="CupDisc",
        version=API_VERSION,
        description=DESCRIPTION,
        docs_url=None,  # the framework's own page loads its scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},  # it would tell queries
    )
    limits = Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
    app.state.limits = limits
    traces = tracing.provider(settings.traces) if settings.traces else None
    app.state.traces = traces
    if traces:
        app.state.metrics = tracing.TracedMetrics(traces.get_tracer("cupdisc"), group)
    else:
        app.state.metrics = observability.Metrics(group)
    app.state.stopping = False  # not ready any more: it has been told to stop
    app.state.live = LiveVersions(registry or registry_of(settings), settings, app.state.metrics)
    app.state.settings = settings
    app.state.group = group
    app.state.replica = replicas.name_of(settings.replica, group)
    app.state.fetching = anyio.CapacityLimiter(FETCHING)
    app.state.cloud = storage.CloudPhotographs(settings)
    app.state.transfers = anyio.CapacityLimiter(TRANSFERS)
    app.state.shadow = shadow.Shadow(app.state.metrics)
    cores = settings.threads or usable_cores()
    parallel = settings.max_parallel or cores + 1
    app.state.decoders = Decoders(parallel, settings.decode_memory_bytes, settings.decode_timeout_s)
    app.state.decode = lambda data, side: app.state.decoders.decode(data, limits, side)
    app.state.workers = anyio.CapacityLimiter(parallel)
    terms = queueing.Terms(parallel, settings.max_queue_length, settings.deadline_s)
    app.state.queue = queueing.Queue(terms, app.state.metrics)
    rules = batching.Rules(settings.max_batch, settings.streams or cores, settings.max_batch_wait_s)
    app.state.shared = batching.SharedSegmenters(
        rules, app.state.metrics.batch, crowded=lambda: app.state.queue.under_way > 1
    )
    cv2.setNumThreads(1)  # the photographs' own threads keep the cores busy
    body_limit = limits.max_bytes + uploads.FORM_OVERHEAD
    admission, sites = security.Admission(settings), security.sites(settings.cors_origins)
    # the innermost first: who is turned away has had nothing of the body read, and every answer is counted
    app.add_middleware(security.Guard, admission=admission, metrics=app.state.metrics)
    app.add_middleware(
        uploads.BoundedUploads,
        max_bytes=body_limit,
        timeout_s=settings.upload_timeout_s,
        max_held_bytes=max(body_limit, settings.max_held_bytes),
    )
    if sites:
        app.add_middleware(security.cors, allowed=sites)
    app.add_middleware(observability.Observed, metrics=app.state.metrics)
    if traces:
        app.add_middleware(tracing.Traced, tracer=traces.get_tracer("cupdisc"))
    app.add_middleware(security.BrowserHeaders)
    app.add_middleware(protocol_documents.ProtocolErrors)
    app.add_middleware(HeadAsGet)
    app.include_router(routes.router)
    app.include_router(open_inference.router)
    app.include_router(tensorflow_serving.router)
    app.include_router(admin.router)
    app.include_router(observability.router)
    page.install(app)
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]))
    for path in ("/docs", "/docs/"):
        app.add_route(path, _docs, include_in_schema=False)
    problems.install(app)
    openapi.install(app, security.needed_scope, admission.asks_for_keys)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """From the first request to the last."""
    follower = Follower(app.state.live, app.state.settings.poll_interval_s)
    live, group, name = app.state.live, app.state.group, app.state.replica
    telling = replicas.Telling(group, lambda: live.state(name), lambda: live.refresh(True)) if group else None
    try:
        yield
    finally:
        if telling:
            telling.close()
        follower.close()
        app.state.shadow.close()
        app.state.queue.close()
        app.state.decoders.close()
        if app.state.traces:
            app.state.traces.shutdown()  # sends what is left


class HeadAsGet:
    """ASGI middleware: HEAD is answered wherever GET is. The server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


async def _docs(request: Request) -> Response:
    """Swagger UI from an installed package."""
    root = request.scope.get("root_path", "").rstrip("/")
    answer = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="CupDisc",
        swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},
    )
    answer.headers["Content-Security-Policy"] = SAME_HOST_ONLY
    return answer
