"""Four times what it can do: who is let in is answered in time, who is not is told at once, and nothing grows."""

import asyncio
from dataclasses import dataclass

from benchmarks import load
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving

TIMES = 4  # what it can do
SATURATING = 32  # clients; as many as work and wait without anybody being refused
WIDTH = 1000  # pixels; the generator must be able to send so many on the same cores
LATEST_REFUSAL_S = 0.05


@dataclass(frozen=True)
class Found:
    """Before, during and after."""

    saturated: load.Report
    overloaded: load.Report
    after: list[load.Report]  # second by second
    memory_mib: tuple[float, float, float]  # before; the most during the second half; after
    refused_in_time: float  # share, by the service's own clock


async def _overload(service: Service, photographs: list[bytes], seconds: float) -> Found:
    saturation_s = min(15.0, seconds)
    await load.run(service.url, photographs, SATURATING, min(3.0, seconds))  # warm
    saturated = await load.run(service.url, photographs, SATURATING, saturation_s)
    rate = TIMES * saturated.rate
    before = service.memory_mib()
    figures = service.figures()
    first = await load.run(service.url, photographs, 600, seconds / 2, rate=rate)
    service.forget_peak()
    second = await load.run(service.url, photographs, 600, seconds / 2, rate=rate)
    peak = service.peak_mib()
    after = [await load.run(service.url, photographs, SATURATING, 1.0) for _ in range(3)]
    later = service.figures()
    name = "cupdisc_refusal_seconds"
    refused = later[f"{name}_count"] - figures[f"{name}_count"]
    bucket = f'{name}_bucket{{le="{LATEST_REFUSAL_S}"}}'
    whole = load.Report(
        600, first.seconds + second.seconds, [*first.samples, *second.samples], first.cpu_s + second.cpu_s
    )
    in_time = (later[bucket] - figures[bucket]) / max(1.0, refused)
    return Found(saturated, whole, after, (before, peak, service.memory_mib()), in_time)


def measure(quick: bool = False) -> str:
    """Markdown."""
    photographs = list(varied(8, (WIDTH,)))
    with serving() as service:
        found = asyncio.run(_overload(service, photographs, 2.0 if quick else 120.0))
    saturated, overloaded = found.saturated, found.overloaded
    p99, p99_saturated = (load.quantile(each.took_ms(), 0.99) for each in (overloaded, saturated))
    untold = sum(each.outcome == "503" and not each.retry_after for each in overloaded.samples)
    in_time = f"refused within {LATEST_REFUSAL_S * 1000:.0f} ms, by the service's own clock"
    rows = {
        "p99 of the accepted, over that at saturation": f"{p99 / p99_saturated:.2f}",
        in_time: f"{found.refused_in_time:.2%}",
        "refused, p99 as the clients saw it": f"{load.quantile(overloaded.took_ms('503'), 0.99):.0f} ms",
        "refused without `Retry-After`": f"{untold}",
        "neither answered nor refused": f"{overloaded.errors}",
        "resident memory before, at most in the second half, after": " / ".join(
            f"{mib:.0f}" for mib in found.memory_mib
        )
        + " MiB",
        "rate in the 1st, 2nd and 3rd second after it, of that at saturation": ", ".join(
            f"{each.rate / saturated.rate:.0%}" for each in found.after
        ),
    }
    return "\n".join(
        [
            f"First row: saturation, each client as fast as it is answered. Second: {TIMES} times that rate for"
            f" {overloaded.seconds:.0f} s. Photographs of {WIDTH} pixels.\n",
            *(load.HEAD, saturated.row(), overloaded.row(), ""),
            *("| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())),
        ]
    )


if __name__ == "__main__":
    print(measure())
