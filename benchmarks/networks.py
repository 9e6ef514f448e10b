"""The two networks alone: which engine, precision, threads, streams and batch are quick, for one caller and many."""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass

import numpy as np

from model import engines
from model.cores import usable_cores
from model.engines import Engine
from model.registry import open_registry

BATCHES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Way:
    """One way to run them."""

    engine: str
    precision: str
    threads: int
    streams: int = 1
    environment: str = ""  # NAME=value
    compiled_by_xla: bool = False


def ways(quick: bool) -> list[Way]:
    """What is worth comparing on this machine."""
    cores = usable_cores()
    found = [Way("openvino", "auto", cores)]
    if quick:
        return found
    for precision in engines.precisions("openvino"):
        for threads, streams in dict.fromkeys([(cores, 1), (1, 1), (cores, cores)]):
            found.append(Way("openvino", precision, threads, streams))
    if engines.is_installed("tensorflow"):
        found.append(Way("tensorflow", "f32", cores))
        found.append(Way("tensorflow", "f32", cores, environment="TF_ENABLE_ONEDNN_OPTS=0"))
        found.append(Way("tensorflow", "f32", cores, compiled_by_xla=True))
    return list(dict.fromkeys(found))


def measure(quick: bool = False) -> str:
    """Markdown; each way in a process of its own, one after the other."""
    lines = [
        "| engine | precision | threads | streams | "
        + " | ".join(f"batch {size}" for size in BATCHES)
        + " | one caller for each core, batch 1, photographs per s |",
        "|---|---|---|---|" + "---|" * (len(BATCHES) + 1),
    ]
    for way in ways(quick):
        name, _, value = way.environment.partition("=")
        environment = {**os.environ, **({name: value} if name else {})}
        command = [sys.executable, "-m", "benchmarks.networks", json.dumps(asdict(way)), "3" if quick else "30"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found = json.loads(done.stdout.splitlines()[-1])
        told = way.engine + (f", {way.environment}" if name else "") + (", XLA" if way.compiled_by_xla else "")
        cells = [
            told,
            " and ".join(dict.fromkeys(found["precisions"])),
            str(way.threads),
            str(way.streams),
            *(f"{ms:.1f}" for ms in found["ms"]),
        ]
        lines.append(f"| {' | '.join(cells)} | {found['rate']:.1f} |")
    return "Locator and segmenter, ms per photograph, medians:\n\n" + "\n".join(lines)


def _networks(way: Way) -> tuple[list[Engine], list[int]]:
    version = open_registry("bundled").open("production")
    loaded = version.load_networks(way.engine, way.precision, way.threads, way.streams)
    if way.compiled_by_xla:
        tensorflow = engines.import_tensorflow()
        for network in loaded:
            network._run = tensorflow.function(network._run, jit_compile=True)  # type: ignore[attr-defined]
    return loaded, [version.manifest.locator.input_size, version.manifest.segmenter.input_size]


def _run(way: Way, rounds: int) -> dict[str, object]:
    loaded, sides = _networks(way)
    random = np.random.default_rng(0)

    def inputs(batch: int) -> list[np.ndarray]:
        return [random.normal(size=(batch, side, side, 3)).astype(np.float32) for side in sides]

    def both(given: list[np.ndarray]) -> None:
        for network, images in zip(loaded, given, strict=True):
            network(images)

    middles = []
    for batch in BATCHES:
        given = inputs(batch)
        both(given)
        took = []
        for _ in range(max(2, rounds // batch)):
            started = time.perf_counter()
            both(given)
            took.append((time.perf_counter() - started) / batch * 1000)
        middles.append(statistics.median(took))
    callers, given = usable_cores(), inputs(1)
    threads = [threading.Thread(target=lambda: [both(given) for _ in range(rounds)]) for _ in range(callers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "ms": middles,
        "rate": callers * rounds / (time.perf_counter() - started),
        "precisions": [network.precision for network in loaded],
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_run(Way(**json.loads(sys.argv[1])), int(sys.argv[2]))))
    else:
        print(measure())
