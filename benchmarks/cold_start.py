"""From nothing to the first answer: the process, its imports by package, its memory; with and without a cache."""

import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.photographs import varied
from benchmarks.serving import environment, serving

SHOWN = 12  # packages
IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)")


def measure(quick: bool = False) -> str:
    """Markdown."""
    rounds = 1 if quick else 5
    (photograph,) = varied(1, (2000,))
    with tempfile.TemporaryDirectory(prefix="cupdisc-compiled-") as folder:
        Path(folder).chmod(0o700)
        _start(photograph, compiled=folder)  # fills it
        plain, cached = [], []
        for _ in range(rounds):
            plain.append(_start(photograph))
            cached.append(_start(photograph, compiled=folder))
    table = "\n".join(
        [
            "| | process start to first answer, median | resident after it | at most |",
            "|---|---|---|---|",
            _row("as it comes", plain),
            _row("with `CUPDISC_COMPILED`, filled before", cached),
        ]
    )
    return f"{table}\n\n{_imports()}"


def _row(name: str, starts: list[tuple[float, float, float]]) -> str:
    seconds, now, most = (statistics.median(values) for values in zip(*starts, strict=True))
    return f"| {name} | {seconds:.2f} s | {now:.0f} MiB | {most:.0f} MiB |"


def _start(photograph: bytes, **settings: object) -> tuple[float, float, float]:
    """Seconds to the first answer; MiB resident then, and at most."""
    started = time.perf_counter()
    with serving(**settings) as service:
        request = urllib.request.Request(
            f"{service.url}/v1/segmentations?masks=rle", photograph, {"content-type": "image/jpeg"}
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()
        return time.perf_counter() - started, service.memory_mib(), service.peak_mib()


def _imports() -> str:
    """Time of importing what `cupdisc serve` needs, each package without those that it imports itself."""
    command = [sys.executable, "-X", "importtime", "-c", "import service.cli; import openvino"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    packages: dict[str, int] = {}
    for own_us, module in IMPORT.findall(done.stderr):
        packages[module.partition(".")[0]] = packages.get(module.partition(".")[0], 0) + int(own_us)
    by_time: Callable[[str], int] = packages.__getitem__
    shown = sorted(packages, key=by_time, reverse=True)[:SHOWN]
    rows = "\n".join(f"| {name} | {packages[name] / 1000:.0f} |" for name in shown)
    total = sum(packages.values()) / 1000
    return f"Imports, {total:.0f} ms in all (measuring makes them slower):\n\n| package | ms |\n|---|---|\n{rows}"


if __name__ == "__main__":
    print(measure())
