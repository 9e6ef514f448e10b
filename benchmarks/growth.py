"""How time, rate and memory grow with the photograph's size, and the network's time with the size of a batch."""

import asyncio
import io
import statistics
import time

from PIL import Image

from benchmarks import load
from benchmarks.photographs import EXAMPLE
from benchmarks.serving import serving
from model.images import decode
from model.registry import open_registry
from model.segmenter import Segmenter

MEGAPIXELS = (0.3, 1, 3, 6, 12, 24)
BATCHES = (1, 2, 4, 8, 16)


ENCODED = {  # below 32 MiB
    "JPEG": {"quality": 90},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def enlarged(megapixels: float, encoding: str = "JPEG") -> bytes:
    """The example as a square file."""
    side = round((megapixels * 1e6) ** 0.5)
    file = io.BytesIO()
    large = Image.open(EXAMPLE).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    large.save(file, encoding, **ENCODED.get(encoding, {}))
    return file.getvalue()


def measure(quick: bool = False) -> str:
    """Markdown."""
    sizes, seconds = ((0.3, 12), 0.7) if quick else (MEGAPIXELS, 4.0)
    return f"{_by_size(sizes, seconds)}\n\n{_by_batch(2 if quick else 12)}"


def _by_size(sizes: tuple[float, ...], seconds: float) -> str:
    lines = [
        "| megapixels | JPEG kB | alone, median ms | 4 clients, photographs per s | p95 ms | peak resident MiB |",
        "|---|---|---|---|---|---|",
    ]
    with serving() as service:
        for megapixels in sizes:
            data = enlarged(megapixels)
            asyncio.run(load.run(service.url, [data], 1, seconds / 4))
            service.forget_peak()
            alone = asyncio.run(load.run(service.url, [data], 1, seconds))
            four = asyncio.run(load.run(service.url, [data], 4, seconds))
            median = statistics.median(alone.took_ms() or [float("nan")])
            lines.append(
                f"| {megapixels:g} | {len(data) / 1000:.0f} | {median:.1f} | {four.rate:.1f}"
                f" | {load.quantile(four.took_ms(), 0.95):.0f} | {service.peak_mib():.0f} |"
            )
    return "\n".join(lines)


def _by_batch(rounds: int) -> str:
    segmenter = Segmenter(open_registry("bundled").open("production"))
    photograph = decode(enlarged(1)).pixels
    best: dict[int, float] = {}
    for size in BATCHES:
        segmenter.segment([photograph] * size)  # shapes that come for the first time take longer
    for _ in range(rounds):
        for size in BATCHES:  # in turns: the machine's mood is the same for all
            started = time.perf_counter()
            segmenter.segment([photograph] * size)
            took = (time.perf_counter() - started) / size
            best[size] = min(took, best.get(size, took))
    rows = "\n".join(f"| {size} | {seconds * 1000:.1f} |" for size, seconds in best.items())
    return (
        f"`Segmenter.segment` on decoded photographs of 1 megapixel, {segmenter.engine} {segmenter.precision}, one"
        f" caller, best of {rounds}:\n\n| batch | ms per photograph |\n|---|---|\n{rows}"
    )


if __name__ == "__main__":
    print(measure())
