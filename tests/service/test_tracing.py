"""Traces, received by a collector that is made here: a span for a request and for each stage, and no secrets."""

import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import EYE

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """Keeps what is sent to it by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.received = b""
        collector = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.received += body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_request_and_its_stages_are_one_trace_below_the_callers(published: Path, collector: Collector) -> None:
    with TestClient(create_app(Settings(registry=str(published), traces=collector.address))) as client:
        headers = {"Content-Type": "image/jpeg", "traceparent": PARENT, "X-Request-ID": "visit-1"}
        assert client.post("/v1/segmentations?patient=Jane", content=EYE, headers=headers).status_code == 200
        client.get("/nowhere/Jane")
        client.get("/health/ready")
    named = {span.name: span for span in collector.spans}
    request = named["POST /v1/segmentations"]
    assert request.trace_id.hex() == PARENT.split("-")[1]
    assert request.parent_span_id.hex() == PARENT.split("-")[2]
    found = attributes(request)
    assert found["http.route"] == "/v1/segmentations"
    assert found["http.response.status_code"] == 200
    assert found["cupdisc.request_id"] == "visit-1"
    for stage in ("decode", "locate", "segment", "measure", "encode"):
        assert named[stage].parent_span_id == request.span_id
        assert named[stage].end_time_unix_nano > named[stage].start_time_unix_nano
    assert "GET other" in named
    assert not any("health" in name for name in named)
    assert b"Jane" not in collector.received


def test_without_the_setting_nothing_is_traced(published: Path, collector: Collector) -> None:
    with TestClient(create_app(Settings(registry=str(published)))) as client:
        client.get("/v1/versions", headers={"traceparent": PARENT})
    assert collector.spans == []
