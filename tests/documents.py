"""Blocks of README and docs: find them, run them in order, compare what they print with what the page says."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.photographs import REPOSITORY

FENCE = re.compile(r'^( *)```(\w+)(?: title="([^"]*)")?[^\n]*\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
NOT_RUN = ("**Not run here", "**In a container")  # README's is run by tests/docker/test_image.py
PRINTS = "prints"
SERVES = re.compile(r"(make serve|.*\bcupdisc serve\b(?! *\|\|)[^|]*)")
ADDRESS = "127.0.0.1:8000"
STORAGE_PORT = "4443"
ANYTHING = "…"
PATIENCE_S = 240
VARYING = {"timings_ms", "engine", "precision"}  # of an answer: they depend on the machine
TOLERANCE = 0.01  # of a number that an engine computed
# more where a region that is cut one pixel aside, as by a locator in bf16, changes it more
TOLERANCES = {"angle_deg": 0.5, "sharpness": 0.05}  # degrees; a share


@dataclass(frozen=True)
class Block:
    """One fenced block: `title` is a file's name, or PRINTS, or empty; `run` is False where the page says so."""

    page: str
    line: int
    language: str
    title: str
    text: str
    run: bool


def pages() -> list[Path]:
    """README and every page of the site."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    markdown = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(markdown):
        before = markdown[: match.start()].rstrip().rpartition("\n\n")[2].lstrip()
        name = page.relative_to(REPOSITORY).as_posix()
        line = markdown.count("\n", 0, match.start()) + 1
        language, title, text = match[2], match[3] or "", textwrap.dedent(match[4])
        found.append(Block(name, line, language, title, text, not before.startswith(NOT_RUN)))
    return found


class Desk:
    """A folder that shows the repository as a fresh clone does, installed, and one service at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
        tracked = {line.partition("/")[0] for line in listed.splitlines()} or {
            path.name for path in REPOSITORY.iterdir() if path.name not in ("runs", "out", "site")
        }
        for name in tracked:
            (folder / name).symlink_to(REPOSITORY / name)
        environment = folder / ".venv"
        environment.mkdir()
        for path in Path(sys.prefix).iterdir():
            if path.name not in ("installed", "serves"):
                (environment / path.name).symlink_to(path)
        for stamp in ("serves", "installed"):
            (environment / stamp).touch()  # newer than the requirements: `make` installs nothing while tests run
        self.port, self.storage_port = free_port(), free_port()
        self.printed = ""
        self._service: subprocess.Popen[bytes] | None = None

    def run(self, block: Block) -> None:
        """Do what a reader does with a block.

        Raises:
            AssertionError: it failed, or printed something else than the page says.
        """
        place = f"{block.page}, line {block.line}"
        if block.title and block.title != PRINTS:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._adapted(block.text), encoding="utf-8")
        elif block.language == "json" and self.printed:
            differences = list(differ(json.loads(block.text), json.loads(self.printed)))
            assert not differences, f"{place}: {'; '.join(differences)}"
        elif block.title == PRINTS:
            parts = [re.escape(part) for part in _evenly_spaced(block.text).split(ANYTHING)]
            printed = self.printed.strip()
            assert re.fullmatch(".*".join(parts), _evenly_spaced(printed), re.DOTALL), (
                f"{place} promises\n{block.text}\nnot\n{printed}"
            )
        elif block.language == "bash" and SERVES.fullmatch(block.text.strip().splitlines()[-1]):
            self._serve(block.text, place)
        elif block.language in ("bash", "python"):
            command = ["bash", "-euo", "pipefail", "-s"] if block.language == "bash" else [".venv/bin/python", "-"]
            done = subprocess.run(
                command,
                input=self._adapted(block.text),
                capture_output=True,
                cwd=self.folder,
                env=self._environment(),
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            assert done.returncode == 0, f"{place} failed:\n{done.stdout}\n{done.stderr}"
            self.printed = done.stdout.replace(str(self.port), "8000")

    def close(self) -> None:
        """Stop the service."""
        if self._service:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._service.pid, signal.SIGTERM)
            self._service.wait(30)
            self._service = None

    def _serve(self, text: str, place: str) -> None:
        self.close()
        log = self.folder / "service.log"
        with log.open("wb") as file:
            self._service = subprocess.Popen(
                ["bash", "-c", self._adapted(text)],
                cwd=self.folder,
                env=self._environment(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._service.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready").close()
                return
            time.sleep(0.2)
        raise AssertionError(f"{place} does not serve:\n{log.read_text()}")

    def _adapted(self, text: str) -> str:
        """The block for a free port of this machine; nothing else of it is changed."""
        if "--port" not in text:
            text = re.sub(r"\bcupdisc serve\b", f"cupdisc serve --port {self.port}", text)
        return text.replace(ADDRESS, f"127.0.0.1:{self.port}").replace(STORAGE_PORT, str(self.storage_port))

    def _environment(self) -> dict[str, str]:
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "NO_COLOR": "1", "COLUMNS": "160"}
        return {**os.environ, **quiet, "PORT": str(self.port), "PYTHONWARNINGS": "ignore"}


def _evenly_spaced(text: str) -> str:
    """The width of a table's columns is no promise."""
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


@contextlib.contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """A desk that is left tidy."""
    made = Desk(folder)
    try:
        yield made
    finally:
        made.close()
        for file in folder.glob("*.pid"):  # what a page left running
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)


def differ(promised: Any, given: Any, where: str = "") -> Iterator[str]:
    """Where an answer is not what the page shows; times, engine and last digits may differ."""
    if isinstance(promised, dict) and isinstance(given, dict):
        alone = promised.keys() - given.keys() - {ANYTHING} if ANYTHING in promised else promised.keys() ^ given.keys()
        yield from (f"{where}.{key} is on one side only" for key in alone)
        for key in (promised.keys() & given.keys()) - VARYING:
            yield from differ(promised[key], given[key], f"{where}.{key}")
    elif isinstance(promised, list) and isinstance(given, list) and len(promised) == len(given):
        for number, (one, other) in enumerate(zip(promised, given, strict=True)):
            yield from differ(one, other, f"{where}[{number}]")
    elif isinstance(promised, int | float) and isinstance(given, int | float) and not isinstance(promised, bool):
        name = where.rpartition(".")[2]
        tolerance = TOLERANCES.get(name, TOLERANCE) * (1.0 if name == "angle_deg" else max(1.0, abs(promised)))
        if abs(promised - given) > tolerance:
            yield f"{where}: {promised} is {given}"
    elif promised != given and promised != ANYTHING:
        yield f"{where}: {promised!r} is {given!r}"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
