"""A virtual environment for each peer, from its pinned requirements; made once, below `/tmp` unless told otherwise."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
ROOT = Path(os.environ.get("CUPDISC_PEERS", "/tmp/cupdisc-peers"))  # noqa: S108 - packages, nothing of anybody's


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing or its requirements have changed.

    Raises:
        subprocess.CalledProcessError: the packages cannot be installed; `output` says why.
    """
    folder, pins = ROOT / name, REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != digest:
        print(f"installing {name} into {folder}", file=sys.stderr, flush=True)
        began = time.monotonic()
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(
            *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--disable-pip-version-check", "--no-deps", "--require-hashes", "--requirement", str(pins)),
        )
        installed.write_text(digest)
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return folder / "bin" / "python"


def version(name: str, package: str) -> str:
    """Of a package in a peer's environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return _run(str(ROOT / name / "bin" / "python"), "-c", code).strip()


def _run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout
