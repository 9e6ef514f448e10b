"""Two real replicas under load that arrives by chance, kept as JSON for the simulation to be held against.

    python -m benchmarks.scaling.real

The replicas take turns, as a proxy deals photographs out; each has one core, of its own or shared (`--cores 0 1`,
`--cores 1 1`). First one photograph at a time, which tells what each costs; then as many as they can do, which tells
what it costs them to share; then independent arrivals (Poisson) at shares of what the first promises. Best on a machine
at rest.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import load
from benchmarks.machine import cpu_name
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving

RESULTS = Path(__file__).parents[1] / "results"
PARALLEL = 2  # photographs that a replica on one core works on at a time
SHARES = (0.3, 0.5, 0.7, 0.8)  # of what the cores can do
KINDS = 10  # of photographs
SEED = 20261125


@dataclass(frozen=True)
class Arrival:
    """One photograph of the load."""

    at_s: float
    kind: int  # which photograph


@dataclass(frozen=True)
class Run:
    """One rate."""

    share: float
    rate: float  # photographs per second, over all replicas
    seconds: float
    latencies_ms: list[float]  # in the order of arrival
    failed: int


def arrivals(rate: float, seconds: float, seed: int) -> list[Arrival]:
    """Independent of each other; the same ones for a seed."""
    lots, found, now = random.Random(seed), [], 0.0
    while (now := now + lots.expovariate(rate)) < seconds:
        found.append(Arrival(now, lots.randrange(KINDS)))
    return found


async def alone(service: Service, photographs: Sequence[bytes], rounds: int) -> list[list[float]]:
    """Milliseconds of each photograph, one request at a time."""
    took: list[list[float]] = [[] for _ in photographs]
    line = load.Line(service.url, load.PATH, load.HEADERS)
    for _ in range(rounds):
        for kind, photograph in enumerate(photographs):
            sample = await line.send(photograph)
            if sample.outcome == "200":
                took[kind].append(sample.took_s * 1000)
    line.close()
    return took


async def saturated(services: Sequence[Service], photographs: Sequence[bytes], seconds: float) -> float:
    """Photographs per second over all, with as many clients each as there are photographs that a replica works on."""
    reports = await asyncio.gather(*(load.run(each.url, photographs, PARALLEL, seconds) for each in services))
    return sum(report.rate for report in reports)


async def under_load(services: Sequence[Service], photographs: Sequence[bytes], plan: Sequence[Arrival]) -> list[float]:
    """Milliseconds from when each should have been sent to its answer; NaN where that was none."""
    pools: list[list[load.Line]] = [[] for _ in services]
    took = [float("nan")] * len(plan)
    began = time.perf_counter()

    async def one(number: int, arrival: Arrival) -> None:
        which = number % len(services)
        line = pools[which].pop() if pools[which] else load.Line(services[which].url, load.PATH, load.HEADERS)
        sample = await line.send(photographs[arrival.kind])
        pools[which].append(line)
        if sample.outcome == "200":
            took[number] = (time.perf_counter() - began - arrival.at_s) * 1000

    async with asyncio.TaskGroup() as tasks:
        for number, arrival in enumerate(plan):
            await asyncio.sleep(max(0.0, began + arrival.at_s - time.perf_counter()))
            tasks.create_task(one(number, arrival))
    for line in (line for pool in pools for line in pool):
        line.close()
    return took


def measure(seconds: float, rounds: int, cores: Sequence[int]) -> dict[str, object]:
    """As it is kept.

    Args:
        cores: of each replica.
    """
    photographs = list(varied(KINDS))
    with contextlib.ExitStack() as stack:
        services = [stack.enter_context(serving(cores={core}, keep_alive_s=60)) for core in cores]
        for service in services:
            asyncio.run(load.run(service.url, photographs, 2, 3.0))  # warm
        took = asyncio.run(alone(services[0], photographs, rounds))
        mean_s = sum(sum(each) / len(each) for each in took) / len(took) / 1000
        most = asyncio.run(saturated(services, photographs, seconds / 2))
        runs = []
        for share in SHARES:
            rate = share * len(set(cores)) / mean_s
            found = asyncio.run(under_load(services, photographs, arrivals(rate, seconds, SEED)))
            failed = sum(each != each for each in found)
            runs.append(Run(share, rate, seconds, [round(each, 2) for each in found if each == each], failed))
            print(f"{share:.0%}: {rate:.1f} per s, p95 {load.quantile(runs[-1].latencies_ms, 0.95):.0f} ms", flush=True)
    return {
        "taken": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cpu": cpu_name(),
        "replicas_on_cores": list(cores),
        "load_average_at_the_end": round(os.getloadavg()[0], 2),
        "bytes": [len(each) for each in photographs],
        "alone_ms": [[round(each, 2) for each in kind] for kind in took],
        "saturated_per_s": round(most, 3),
        "runs": [asdict(run) for run in runs],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each rate")
    parser.add_argument("--rounds", type=int, default=20, help="of each photograph alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--cores", type=int, nargs="+", default=[0, 1], help="the core of each replica")
    options = parser.parse_args()
    found = measure(options.seconds, options.rounds, options.cores)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{datetime.now(UTC):%Y-%m-%d}-two-replicas.json"
    target.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
