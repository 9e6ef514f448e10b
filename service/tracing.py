"""OpenTelemetry traces, where the operator names a collector: one span for a request, one for each stage of its work.

They hold what the logs hold: the pattern of the path, the status, the request's id. No query, no name, no content.
"""

import time
from typing import TYPE_CHECKING

from opentelemetry import context, propagate, trace
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import InvalidConfiguration
from service.observability import Metrics, route_of
from service.replicas import Group

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

QUIET = ("/health/live", "/health/ready", "/metrics")


def provider(endpoint: str) -> "TracerProvider":
    """What sends spans to a collector by OTLP over HTTP, for instance http://127.0.0.1:4318/v1/traces.

    Raises:
        InvalidConfiguration: the extra `tracing` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise InvalidConfiguration("traces: needs the extra `tracing`, see docs/security.md") from None
    made = TracerProvider(resource=Resource.create({"service.name": "cupdisc"}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    return made


class Traced:
    """ASGI middleware: a span for each request, below the caller's own where it sent one."""

    def __init__(self, app: ASGIApp, tracer: trace.Tracer) -> None:
        self.app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        above = propagate.extract(Headers(scope=scope))
        with self._tracer.start_as_current_span(
            "request", above, trace.SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:

            async def watching_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = Headers(raw=message.get("headers", []))
                    span.set_attribute("http.response.status_code", message["status"])
                    span.set_attribute("cupdisc.request_id", headers.get("x-request-id", ""))
                    if message["status"] >= 500:
                        span.set_status(trace.StatusCode.ERROR)
                await send(message)

            try:
                await self.app(scope, receive, watching_send)
            finally:
                span.update_name(f"{scope['method']} {route_of(scope)}")
                span.set_attribute("http.request.method", scope["method"])
                span.set_attribute("http.route", route_of(scope))


class TracedMetrics(Metrics):
    """Metrics that also make a span of each stage, which has just ended, below the request's."""

    def __init__(self, tracer: trace.Tracer, group: Group | None = None) -> None:
        super().__init__(group)
        self._tracer = tracer

    def stage(self, name: str, seconds: float) -> None:
        """One photograph's time in one stage."""
        super().stage(name, seconds)
        if trace.get_current_span(context.get_current()).get_span_context().is_valid:
            now = time.time_ns()
            self._tracer.start_span(name, start_time=now - round(seconds * 1e9)).end(now)
