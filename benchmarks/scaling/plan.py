"""The plan: the simulation held against the real run, then sizes that no machine here has, and what they cost.

python -m benchmarks.scaling.plan --real benchmarks/results/2026-11-26-two-replicas.json
"""

import argparse
import csv
import itertools
import json
import math
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.scaling import archive
from benchmarks.scaling.real import PARALLEL, SEED, arrivals
from benchmarks.scaling.simulation import Outcome, Scaling, Shape, replayed, scaled

RESULTS = Path(__file__).parents[1] / "results"
PRICES = Path(__file__).with_name("prices.csv")
POD_CORES, POD_PARALLEL, POD_QUEUE, POD_GIB = 2, 3, 32, 2.0  # as docker/kubernetes/deployment.yaml has it
BUSY = 0.6  # share of its cores that a replica is planned to use
SIZES = (10, 1_000, 100_000)  # photographs per minute
STEADY_PART, DOUBLING_PART = 24, 8  # replicas that are simulated at most; of more a part, with its share of the load
ARCHIVE = 100_000_000  # photographs
ARCHIVE_CORES = (100, 1_000)
COLD_STARTS_S = (5.0, 15.0, 90.0)  # a container on a node that has the image; an image to be pulled; a new node first
MONTH_S = 30 * 24 * 3600


@dataclass(frozen=True)
class Check:
    """One rate of the real run beside the same arrivals in the simulation."""

    share: float
    rate: float
    real_ms: dict[float, float]
    simulated_ms: dict[float, float]

    @property
    def error(self) -> float:
        """Of p95."""
        return self.simulated_ms[0.95] / self.real_ms[0.95] - 1


def costs_s(real: dict[str, Any]) -> list[float]:
    """What each kind of photograph costs a core, alone."""
    return [statistics.median(each) / 1000 for each in real["alone_ms"]]


def efficiency(real: dict[str, Any]) -> float:
    """What cores still do when several photographs share each of them, of what they do for one at a time."""
    cores = len(set(real["replicas_on_cores"]))
    return min(1.0, float(real["saturated_per_s"]) * statistics.fmean(costs_s(real)) / cores)


def checks(real: dict[str, Any]) -> list[Check]:
    """Every rate of the real run again, with the very arrivals that it had."""
    on, costs, found = real["replicas_on_cores"], costs_s(real), []
    shape = Shape(1, PARALLEL, POD_QUEUE, efficiency(real))
    for run in real["runs"]:
        plan = [(each.at_s, costs[each.kind]) for each in arrivals(run["rate"], run["seconds"], SEED)]
        outcome = replayed(plan, shape, len(on), shared=len(set(on)) == 1)
        took_ms = [took * 1000 for _, took in outcome.latencies_s]
        quantiles = (0.5, 0.95, 0.99)
        simulated = {share: load.quantile(took_ms, share) for share in quantiles}
        measured = {share: load.quantile(run["latencies_ms"], share) for share in quantiles}
        found.append(Check(run["share"], run["rate"], measured, simulated))
    return found


def replicas_for(per_s: float, cost_s: float) -> int:
    """That leave room, and never fewer than two."""
    return max(2, math.ceil(per_s * cost_s / (BUSY * POD_CORES)))


def steady(per_minute: int, costs: list[float], shared: float) -> tuple[int, Outcome]:
    """The replicas that are planned, and what clients see of them; of very many a part, the rest being the same."""
    per_s, cost_s = per_minute / 60, statistics.fmean(costs)
    replicas = replicas_for(per_s, cost_s)
    part = min(replicas, STEADY_PART)
    rate = per_s * part / replicas
    shape = Shape(POD_CORES, POD_PARALLEL, POD_QUEUE, shared)
    rules = Scaling(least=part, most=part)
    seconds = min(3600.0, max(120.0, 6000 / rate))
    return replicas, scaled(lambda now: rate, costs, shape, rules, seconds, SEED)


def doubling(per_minute: int, costs: list[float], shared: float, cold_start_s: float) -> Outcome:
    """More than twice the load at once, on what was planned, with the autoscaler's help; of very many a part."""
    per_s, cost_s = per_minute / 60, statistics.fmean(costs)
    replicas = replicas_for(per_s, cost_s)
    part = min(replicas, DOUBLING_PART)
    rate = per_s * part / replicas
    rules = Scaling(least=part, most=4 * part, cold_start_s=cold_start_s)
    shape = Shape(POD_CORES, POD_PARALLEL, POD_QUEUE, shared)
    return scaled(lambda now: rate if now < 60 else 2.2 * rate, costs, shape, rules, 300.0, SEED)


def prices() -> dict[str, dict[str, str]]:
    """By item."""
    with PRICES.open(encoding="utf-8") as file:
        return {row["item"]: row for row in csv.DictReader(file)}


def report(real: dict[str, Any]) -> str:
    """Markdown."""
    usd = {item: float(row["usd"]) for item, row in prices().items()}
    costs = costs_s(real)
    cost_s, mib = statistics.fmean(costs), statistics.fmean(real["bytes"]) / 2**20
    replica_usd = POD_CORES * usd["vcpu_always"] + POD_GIB * usd["memory"]  # a second
    lines = [
        f"A photograph takes {cost_s * 1000:.0f} ms of one core (`masks=rle`; ten kinds of {mib:.2f} MiB in the mean,"
        f" 0.9 to 7.9 megapixels): {1 / cost_s:.1f} photographs per second per core,"
        f" {1 / cost_s / (replica_usd / POD_CORES):,.0f} per dollar where every core is busy. Shared by several"
        f" photographs, a core does {efficiency(real):.0%} of that.",
        "",
        "## The simulation and the real run",
        "",
        "| load, share of the cores | photographs per s | p50 ms: real | simulated | p95 ms: real | simulated"
        " | error of p95 | p99 ms: real | simulated |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for check in checks(real):
        cells = [f"{check.share:.0%}", f"{check.rate:.1f}"]
        for share in (0.5, 0.95, 0.99):
            cells += [f"{check.real_ms[share]:.0f}", f"{check.simulated_ms[share]:.0f}"]
            cells += [f"{check.error:+.0%}"] if share == 0.95 else []
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Steady load",
        "",
        f"Replicas of {POD_CORES} cores, planned to be busy for {BUSY:.0%}; the better of two by lot. Of more than"
        f" {STEADY_PART} that many are simulated, with their share of the photographs.",
        "",
        "| photographs per minute | replicas | cores | p50 ms | p95 ms | p99 ms | refused | photographs in, GB per hour"
        " | USD per month | USD per million |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for per_minute in SIZES:
        replicas, outcome = steady(per_minute, costs, efficiency(real))
        monthly = replicas * replica_usd * MONTH_S
        per_million = monthly / (per_minute / 60 * MONTH_S) * 1e6
        quantiles = " | ".join(f"{outcome.quantile_s(share) * 1000:.0f}" for share in (0.5, 0.95, 0.99))
        gigabytes = per_minute * 60 * mib * 2**20 / 1e9
        lines.append(
            f"| {per_minute:,} | {replicas:,} | {replicas * POD_CORES:,} | {quantiles} | {outcome.refused}"
            f" | {gigabytes:,.1f} | {monthly:,.0f} | {per_million:,.2f} |"
        )
    request_usd = cost_s / POD_CORES * (POD_CORES * usd["vcpu_service"] + POD_GIB * usd["memory"]) + usd["request"]
    lines += [
        "",
        f"Billed by request, with both cores at work whenever a request is, a million cost"
        f" {request_usd * 1e6:,.2f} USD,"
        " and an idle service nothing.",
        "",
        "## More than twice the load, from one moment to the next",
        "",
        "The rules of the autoscaler of `docker/kubernetes/`, from the steady load's replicas; after a minute 2.2 times"
        " the load. It may have up to four times the replicas that it begins with, whatever `maxReplicas` says. Of more"
        f" than {DOUBLING_PART} replicas that many are simulated, with their share, and what comes of it is scaled up.",
        "",
        "| photographs per minute, before | a new replica answers after | refused | p95 ms, minutes 2 and 3"
        " | p95 ms, minute 5 | replicas, before → after |",
        "|---|---|---|---|---|---|",
    ]
    for per_minute, cold in itertools.product(SIZES[1:], COLD_STARTS_S):
        outcome = doubling(per_minute, costs, efficiency(real), cold)
        early = sorted(took for at, took in outcome.latencies_s if 60 <= at < 180)
        total = len(outcome.latencies_s) + outcome.refused
        grown = outcome.replicas[-1][1] / outcome.replicas[0][1]
        before = replicas_for(per_minute / 60, cost_s)
        lines.append(
            f"| {per_minute:,} | {cold:.0f} s | {outcome.refused / total:.1%}"
            f" | {load.quantile(early, 0.95) * 1000:,.0f} | {outcome.quantile_s(0.95, after_s=240) * 1000:,.0f}"
            f" | {before:,} → {round(before * grown):,} |"
        )
    gigabytes = ARCHIVE * mib * 2**20 / 1e9
    fastest_s = ARCHIVE * archive.cost_s(archive.numbers()) / ARCHIVE_CORES[-1]
    reading, writing = ARCHIVE * usd["read"], 2 * ARCHIVE * usd["write"]
    lines += [
        "",
        f"## An archive of {ARCHIVE:,} photographs",
        "",
        *archive.section(ARCHIVE, ARCHIVE_CORES, costs, replica_usd / POD_CORES, SEED),
        "",
        f"{gigabytes / 1000:,.0f} TB in. To be read by {ARCHIVE_CORES[-1]:,} cores:"
        f" {gigabytes * 8 / fastest_s:,.0f} Gbit/s.",
        "",
        "| beside cores and memory | USD |",
        "|---|---|",
        f"| reading every photograph once | {reading:,.0f} |",
        f"| writing two masks of each; a table alone costs nothing to speak of | {writing:,.0f} |",
        f"| keeping the photographs for a month | {gigabytes * usd['storage']:,.0f} |",
        "",
        "## Prices",
        "",
        "| item | USD | unit | looked up | source |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(each.values())} |" for each in prices().values()),
    ]
    return "\n".join(lines)


def newest() -> Path | None:
    """What the last real run kept, of those without a name of their own, such as `…-epyc-two-replicas.json`."""
    return max(RESULTS.glob("????-??-??-two-replicas.json"), default=None)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", type=Path, default=newest(), required=newest() is None, help="what the real run kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    real = json.loads(options.real.read_text(encoding="utf-8"))
    where = "one core that they share" if len(set(real["replicas_on_cores"])) == 1 else "a core each"
    head = (
        f"# The plan on paper, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n"
        f"From a real run on {real['taken']}: two replicas"
        f" with {where}, {real['cpu']}, load average at the end {real['load_average_at_the_end']}.\n"
    )
    target = options.out / f"{datetime.now(UTC):%Y-%m-%d}-scaling.md"
    target.write_text(f"{head}\n{report(real)}\n", encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
