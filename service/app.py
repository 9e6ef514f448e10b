"""`create_app`: the only place where the service's parts meet."""

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from model.images import Limits
from model.registry import Registry, open_registry
from service import observability, openapi, page, problems, routes, security, uploads
from service.settings import Settings
from service.versions import LiveVersions

API_VERSION = "1.0.0"
DESCRIPTION = """Optic disc, optic cup and cup-to-disc ratio from one colour fundus photograph.

Every error is an RFC 9457 problem with a stable `code`. For research and education; not a medical device."""
SAME_HOST_ONLY = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"


def create_app(settings: Settings, registry: Registry | None = None) -> FastAPI:
    """The service, its default version loaded. Where none can be, it starts all the same and answers 503.

    Args:
        registry: where the versions are; by default the one that the settings name.
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
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},  # it would tell queries
    )
    limits = Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
    app.state.limits = limits
    app.state.metrics = observability.Metrics()
    app.state.live = LiveVersions(registry or open_registry(settings.registry), settings)
    app.state.workers = anyio.CapacityLimiter(settings.max_parallel)
    body_limit = limits.max_bytes + uploads.FORM_OVERHEAD
    admission, sites = security.Admission(settings), security.sites(settings.cors_origins)
    # the innermost first: who is turned away has had nothing of the body read, and every answer is counted
    app.add_middleware(security.Guard, admission=admission, metrics=app.state.metrics)
    app.add_middleware(uploads.BoundedUploads, max_bytes=body_limit, timeout_s=settings.upload_timeout_s)
    if sites:
        app.add_middleware(security.cors, allowed=sites)
    app.add_middleware(security.BrowserHeaders)
    app.add_middleware(observability.Observed, metrics=app.state.metrics)
    app.add_middleware(HeadAsGet)
    app.include_router(routes.router)
    app.include_router(observability.router)
    page.install(app)
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]))
    for path in ("/docs", "/docs/"):
        app.add_route(path, _docs, include_in_schema=False)
    problems.install(app)
    openapi.install(app)
    return app


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
