"""To the limit: photographs over HTTP, against nothing but decoding them and calling the two networks.

The limit is Pillow's decoding at the same reduced scale and one call of the locator and of the segmenter on ready
inputs, by the same engines with the same precision, threads and streams: alone with all threads, and from two clients
on as the service does then, or as it does for a lone one, whichever is quicker here. On as many threads as there are
clients, at most as many as the service works with. Service and limit take turns, second by second.
"""

import asyncio
import io
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks import load
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving
from model import engines, images
from model.cores import usable_cores
from model.engines import Engine
from model.registry import open_registry
from model.segmenter import Segmenter

CLIENTS = (1, 2, 8, 32)
STAGES = ("wait", "decode", "locate", "segment", "measure", "encode")


@dataclass(frozen=True)
class Turn:
    """Service and limit, one right after the other."""

    limit_rate: float
    limit_ms: float  # median of one photograph
    limit_cpu_ms: float  # per photograph
    served: load.Report
    service_cpu_ms: float  # per photograph


class Limit:
    """Decoding and networks, ready to run."""

    def __init__(self, photographs: Sequence[bytes]) -> None:
        version = open_registry("bundled").open("production")
        self._segmenter = Segmenter(version)
        entries = (version.manifest.locator, version.manifest.segmenter)
        self._alone = (self._segmenter._locator, self._segmenter._segmenter)
        self._many = [engines.for_many(engine, usable_cores()) or engine for engine in self._alone]
        self._for_crowds: Sequence[Engine] = self._alone
        self._inputs = [np.zeros((1, entry.input_size, entry.input_size, 3), np.float32) for entry in entries]
        self._photographs = photographs
        side = self._segmenter.smallest_side
        self._reductions = [images.decode(data, smallest_side=side).reduction for data in photographs]

    def choose(self, seconds: float, rounds: int = 3) -> None:
        """The quicker engines for several threads, from now on."""
        rates: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds):
            for many in rates:
                self._for_crowds = self._many if many else self._alone
                rates[many].append(self.run(usable_cores() + 1, seconds)[0])
        better = statistics.median(rates[True]) > statistics.median(rates[False])
        self._for_crowds = self._many if better else self._alone

    def one(self, number: int, networks: Sequence[Engine]) -> None:
        """One photograph."""
        index = number % len(self._photographs)
        image = Image.open(io.BytesIO(self._photographs[index]))
        reduction = self._reductions[index]
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        np.asarray(image)
        for network, ready in zip(networks, self._inputs, strict=True):
            network(ready)

    def run(self, threads: int, seconds: float) -> tuple[float, float, float]:
        """Photographs per second; the median's milliseconds; processor milliseconds of each."""
        took: list[float] = []
        networks = self._alone if threads == 1 else self._for_crowds
        cpu = time.process_time()
        until = time.perf_counter() + seconds

        def work(number: int) -> None:
            while (started := time.perf_counter()) < until:
                self.one(number, networks)
                took.append(time.perf_counter() - started)
                number += 1

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        cpu_ms = (time.process_time() - cpu) * 1000 / len(took)
        return len(took) / (time.perf_counter() - began), statistics.median(took) * 1000, cpu_ms


def measure(quick: bool = False) -> str:
    """Markdown."""
    rounds, seconds, clients = (1, 1.0, (1, 8)) if quick else (5, 3.0, CLIENTS)
    photographs = list(varied(8, (2000,)))
    limit = Limit(photographs)
    turns: dict[int, list[Turn]] = {count: [] for count in clients}
    with serving() as service:
        asyncio.run(load.run(service.url, photographs, 4, min(2.0, 2 * seconds)))  # warm
        limit.choose(min(1.0, seconds), 1 if quick else 3)
        for _ in range(rounds):
            for count in clients:
                turns[count].append(_turn(service, limit, photographs, count, seconds))
        before = service.figures()
        lone = asyncio.run(load.run(service.url, photographs, 1, seconds))
        after = service.figures()
    return f"{_rates(turns)}\n\n{_lone(turns[1])}\n\n{_budget(before, after, lone)}"


def _turn(service: Service, limit: Limit, photographs: Sequence[bytes], clients: int, seconds: float) -> Turn:
    rate, middle_ms, limit_cpu_ms = limit.run(min(clients, usable_cores() + 1), seconds)
    cpu = service.cpu_s()
    served = asyncio.run(load.run(service.url, photographs, clients, seconds))
    cpu_ms = (service.cpu_s() - cpu) * 1000 / max(1, len(served.samples))
    return Turn(rate, middle_ms, limit_cpu_ms, served, cpu_ms)


def _rates(turns: dict[int, list[Turn]]) -> str:
    lines = [
        "| clients | limit, photographs per s | service, photographs per s | share of the limit | p50 ms | p95 ms"
        " | p99 ms | CPU ms per photograph: limit | service | client | other than 200 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for clients, rounds in turns.items():
        took = [ms for turn in rounds for ms in turn.served.took_ms()]
        middle = statistics.median
        cells = [
            str(clients),
            f"{middle([turn.limit_rate for turn in rounds]):.1f}",
            f"{middle([turn.served.rate for turn in rounds]):.1f}",
            f"{middle([turn.served.rate / turn.limit_rate for turn in rounds]):.0%}",
            *(f"{load.quantile(took, share):.1f}" for share in (0.5, 0.95, 0.99)),
            f"{middle([turn.limit_cpu_ms for turn in rounds]):.1f}",
            f"{middle([turn.service_cpu_ms for turn in rounds]):.1f}",
            f"{middle([turn.served.cpu_s * 1000 / max(1, len(turn.served.samples)) for turn in rounds]):.1f}",
            str(sum(len(turn.served.samples) - len(turn.served.took_ms()) for turn in rounds)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _lone(rounds: list[Turn]) -> str:
    differences = [statistics.median(turn.served.took_ms()) - turn.limit_ms for turn in rounds]
    return (
        f"A lone request, 2000 × 1750 pixels, `masks=rle`: the median over HTTP is"
        f" {statistics.median(differences):.1f} ms above that of bare decoding and networks"
        f" ({statistics.median([turn.limit_ms for turn in rounds]):.1f} ms)."
    )


def _budget(before: dict[str, float], after: dict[str, float], lone: load.Report) -> str:
    def mean_ms(name: str, labels: str) -> float:
        total, count = (
            after[f"{name}_{part}{labels}"] - before.get(f"{name}_{part}{labels}", 0.0) for part in ("sum", "count")
        )
        return total / count * 1000

    stages = {stage: mean_ms("cupdisc_stage_seconds", f'{{stage="{stage}"}}') for stage in STAGES}
    request = mean_ms("cupdisc_request_seconds", '{route="/v1/segmentations"}')
    client = statistics.fmean(lone.took_ms())
    rows = {
        **stages,
        "body, queue's bookkeeping, headers, log": request - sum(stages.values()),
        "reading the head, sending, the client itself": client - request,
        "**the whole request**": client,
    }
    body = "\n".join(f"| {name} | {value:.2f} |" for name, value in rows.items())
    return f"Where a lone request's time goes, means:\n\n| stage | ms |\n|---|---|\n{body}"


if __name__ == "__main__":
    print(measure())
