"""From `cupdisc serve` to the first answer, then one photograph again and again: what of it is decoding and network.

Prints Markdown. The photograph is the bundled example, enlarged and cut to 2000 × 1750, as JPEG.
"""

import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from model import engines
from model.images import decode
from model.registry import open_registry

EXAMPLE = Path(__file__).parents[1] / "examples" / "normal_left_eye.jpg"
ROUNDS = 40


def main() -> None:
    """Measure and print."""
    photograph = enlarged()
    command = [str(Path(sys.executable).with_name("cupdisc")), "serve", "--port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        address = listening(process)
        first_body = post(address, photograph)
        first = time.perf_counter() - started
        bare = bare_parts(photograph)
        lone, decoding, network = [], [], []
        for _ in range(ROUNDS):  # side by side: the machine's mood is the same for all three
            lone.append(timed(lambda: post(address, photograph)))
            decoding.append(timed(bare[0]))
            network.append(timed(bare[1]))
        peak = int(Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    finally:
        process.terminate()
        process.wait(20)
    answer = json.loads(first_body)
    middle = {name: statistics.median(t) * 1000 for name, t in (("a", lone), ("d", decoding), ("n", network))}
    ratio = statistics.median(a / (d + n) for a, d, n in zip(lone, decoding, network, strict=True))
    print(f"# First answer and one photograph, {datetime.now(UTC):%Y-%m-%d}\n")
    print(f"{os.cpu_count()} cores, {cpu_name()}, Python {platform.python_version()}, OpenVINO {version('openvino')}, ")
    engine = answer["version"]
    print(f"version {engine['version']}, engine {engine['engine']} {engine['precision']}, vCDR "
          f"{answer['cup_to_disc_ratio']['vertical']:.3f}\n")  # fmt: skip
    print("| what | figure |\n|---|---|")
    print(f"| process start to first answer | {first:.2f} s |")
    print(f"| one 2000 × 1750 JPEG over HTTP, masks as PNG, median of {ROUNDS} | {middle['a']:.0f} ms |")
    print(f"| … at most (95th percentile) | {np.quantile(lone, 0.95) * 1000:.0f} ms |")
    print(f"| bare decoding | {middle['d']:.0f} ms |")
    print(f"| bare locator + segmenter, one call each | {middle['n']:.0f} ms |")
    print(f"| over HTTP ÷ (bare decoding + bare networks), median of pairs | {ratio:.2f} |")
    print(f"| peak resident memory | {peak:.0f} MiB |")


def enlarged() -> bytes:
    """The example as a JPEG of 2000 × 1750 pixels, top and bottom cut off."""
    file = io.BytesIO()
    whole = Image.open(EXAMPLE).convert("RGB").resize((2000, 2000), Image.Resampling.BICUBIC)
    whole.crop((0, 125, 2000, 1875)).save(file, "JPEG", quality=90)
    return file.getvalue()


def listening(process: "subprocess.Popen[str]") -> str:
    """The address that the server prints."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise SystemExit("the service did not start")


def post(address: str, photograph: bytes) -> bytes:
    """One request, its answer read whole."""
    request = urllib.request.Request(f"{address}/v1/segmentations", photograph, {"content-type": "image/jpeg"})
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
    return body


def bare_parts(photograph: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """Decoding alone, and the two networks alone on ready inputs, with the service's own engine."""
    artefact = open_registry("bundled").open("production")
    networks = [engines.load(path) for path in (artefact.locator, artefact.segmenter)]
    entries = (artefact.manifest.locator, artefact.manifest.segmenter)
    inputs = [np.zeros((1, entry.input_size, entry.input_size, 3), np.float32) for entry in entries]
    return (
        lambda: decode(photograph),
        lambda: [network(image) for network, image in zip(networks, inputs, strict=True)],
    )


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def cpu_name() -> str:
    """As Linux names it."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


if __name__ == "__main__":
    main()
