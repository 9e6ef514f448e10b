"""A service in a process of its own, as an operator runs it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PATIENCE_S = 180


class Running:
    """A started service, its address and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log, self.url = process, log, ""

    def call(self, path: str, body: bytes | None = None, kind: str = "image/jpeg", **query: str) -> tuple[int, Any]:
        """Status, and the JSON of the answer or its text."""
        url = f"{self.url}{path}{'?' if query else ''}{urlencode(query)}"
        request = urllib.request.Request(url, body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()

    def segment(self, photograph: bytes, **query: str) -> Any:
        """The answer to a photograph, which must be one."""
        status, answer = self.call("/v1/segmentations", photograph, **{"masks": "none", **query})
        assert status == 200, answer
        return answer

    def refresh(self) -> Any:
        """Let it look at its registry now."""
        status, answer = self.call("/v1/admin/refresh", b"")
        assert status == 200, answer
        return answer

    @property
    def health(self) -> Any:
        return self.call("/health/ready")[1]

    def wait(self, fact: Callable[[], bool]) -> None:
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not fact():
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            time.sleep(0.02)


@contextlib.contextmanager
def running(folder: Path, *options: str, **settings: Any) -> Iterator[Running]:
    """Start a service with these options and settings, and end it. Its log goes into the folder."""
    given = {f"CUPDISC_{name.upper()}": str(value) for name, value in settings.items()}
    log = folder / "service.log"
    command = [sys.executable, "-m", "service", "serve", "--port", "0", *options]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "bufsize": 0}
    process = subprocess.Popen(command, env={**os.environ, **given}, **pipe)
    log.write_bytes(b"")
    threading.Thread(target=_copy, args=(process, log), daemon=True).start()
    service = Running(process, log)
    try:
        service.wait(lambda: bool(re.search(r"running on http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))))
        (service.url,) = re.findall(r"running on (http://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8"))
        yield service
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def _copy(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """What it prints, into its log; by a pipe, so that limits of its own files do not touch it."""
    with process.stdout as pipe, log.open("ab", buffering=0) as file:
        shutil.copyfileobj(pipe, file)
