"""One process or several behind one address, at equal cores: `python -m benchmarks.workers`. Best on a machine at rest.

The ways take turns, round by round, so that whatever else happens on the machine meets all of them. Their load comes
from the same cores.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import load
from benchmarks.machine import cpu_name
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving
from model.cores import usable_cores

RESULTS = Path(__file__).parent / "results"
CLIENTS = (1, 2, 8, 32)


def ways(cores: int) -> dict[str, tuple[tuple[str, ...], dict[str, int]]]:
    """Options and settings, by name."""
    several = range(2, 2 * cores + 1, max(1, cores // 2))
    return {
        "1 process": ((), {}),
        "1 process, calls of a network take turns": ((), {"streams": 1}),
        **{f"{count} processes": (("--workers", str(count)), {}) for count in several},
    }


def measure(rounds: int, seconds: float, clients: Sequence[int] = CLIENTS) -> str:
    """Markdown."""
    photographs = list(varied(8, (2000,)))
    found: dict[tuple[str, int], list[load.Report]] = {}
    memory: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        compiled = stack.enter_context(tempfile.TemporaryDirectory())
        services: dict[str, Service] = {}
        for name, (options, settings) in ways(usable_cores()).items():
            services[name] = stack.enter_context(serving(*options, compiled=compiled, **settings))
            asyncio.run(load.run(services[name].url, photographs, 8, min(3.0, 2 * seconds)))  # warm
        for _ in range(rounds):
            for count in clients:
                for name, service in services.items():
                    report = asyncio.run(load.run(service.url, photographs, count, seconds))
                    found.setdefault((name, count), []).append(report)
        for name, service in services.items():
            memory[name] = sum(_memory_mib(pid) for pid in (service.pid, *_children(service.pid)))
    lines = [
        "| what serves | clients | photographs per s | p50 ms | p95 ms | p99 ms | other than 200 |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, count), reports in found.items():
        took = [ms for report in reports for ms in report.took_ms()]
        rate = statistics.median([report.rate for report in reports])
        quantiles = " | ".join(f"{load.quantile(took, share):.0f}" for share in (0.5, 0.95, 0.99))
        others = sum(len(report.samples) - len(report.took_ms()) for report in reports)
        lines.append(f"| {name} | {count} | {rate:.1f} | {quantiles} | {others} |")
    told = "; ".join(f"{name} {mib:.0f}" for name, mib in memory.items())
    return "\n".join(
        [*lines, "", f"Memory that is theirs after that (proportional set size), all processes, MiB: {told}."]
    )


def _children(pid: int) -> list[int]:
    """All processes below one."""
    told = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    own = [int(child) for each in told for child in each.split()]
    return [*own, *(each for child in own for each in _children(child))]


def _memory_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) / 1024


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way with each number of clients, a round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    began = time.perf_counter()
    body = measure(options.rounds, options.seconds)
    now = datetime.now(UTC)
    head = (
        f"# One process or several, {now:%Y-%m-%d %H:%M} UTC\n\n"
        f"{usable_cores()} of {os.cpu_count()} cores, {cpu_name()}; Python {platform.python_version()};"
        f" {options.rounds} rounds of {options.seconds:g} s each, {time.perf_counter() - began:.0f} s."
        f" Photographs of 2000 × 1750 pixels, `masks=rle`; the load generator shares the cores."
        f" Load average at the end {os.getloadavg()[0]:.1f}."
    )
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{now:%Y-%m-%d}-workers.md"
    target.write_text(f"{head}\n\n{body}\n", encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
