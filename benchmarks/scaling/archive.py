"""An archive of so many photographs: what arithmetic says, and a simulation of `cupdisc bulk` beside it.

What the plan takes from measurements, and what it assumes, is in `archive.csv`; put your own numbers there.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.scaling.bundles import Crew, worked

GIVEN = Path(__file__).with_name("archive.csv")
PAGE = 1000  # names
COARSE = 100  # times as many photographs in a bundle, to see what that does
DAY_S = 24 * 3600


def given() -> dict[str, dict[str, str]]:
    """By item."""
    with GIVEN.open(encoding="utf-8") as file:
        return {row["item"]: row for row in csv.DictReader(file)}


def numbers() -> dict[str, float]:
    """What is given, by item."""
    return {item: float(row["value"]) for item, row in given().items()}


def cost_s(of: Mapping[str, float]) -> float:
    """Of a core, for one photograph of the measured run: all of its cores, from the first photograph on."""
    return (of["seconds"] - of["startup_s"]) * of["cores"] / of["photographs"]


def stages(of: Mapping[str, float], photographs: int, spread: Sequence[float], seed: int) -> list[list[float]]:
    """Seconds of a core of each bundle: of the listing, of the photographs, of the tables.

    Args:
        spread: what kinds of photographs cost, of any mean; each photograph is of a kind by lot.
    """
    size = int(of["bundle"])
    sizes = [size] * (photographs // size) + [photographs % size] * bool(photographs % size)
    relative = np.asarray(spread) / np.mean(spread)
    lots = np.random.default_rng(seed)
    kinds = lots.multinomial(sizes, np.full(len(relative), 1 / len(relative)))
    lists, shards = int(of["lists"]), int(of["shards"])
    return [
        [photographs / PAGE / lists * of["page_s"]] * lists,
        (kinds @ relative * cost_s(of)).tolist(),
        [photographs / shards * of["row_s"]] * shards,
    ]


def section(photographs: int, crews: Sequence[int], spread: Sequence[float], core_usd: float, seed: int) -> list[str]:
    """Lines of Markdown.

    Args:
        crews: numbers of cores.
        spread: as `stages`.
        core_usd: of a core with its memory, for a second.
    """
    of = numbers()
    varying = stages(of, photographs, spread, seed)
    alike = stages(of, photographs, [1.0], seed)
    coarse = stages({**of, "bundle": of["bundle"] * COARSE}, photographs, spread, seed)
    lines = [
        f"`cupdisc bulk` took {cost_s(of) * 1000:.0f} ms of a core for each photograph after its start"
        f" ({of['photographs']:,.0f} photographs, {of['seconds']:.1f} s, {of['startup_s']:.0f} s of them the start,"
        f" {of['cores']:.0f} cores): {photographs * cost_s(of) / 3600:,.0f} core hours.",
        "",
        "| cores | what | hours | days | USD for cores and memory | workers lost | core hours in vain |",
        "|---|---|---|---|---|---|---|",
    ]
    for cores in crews:
        plain = Crew(cores, of["startup_s"])
        slow = replace(plain, slow_share=of["slow_share"], slow_times=of["slow_times"])
        spot = replace(slow, lost_per_hour=of["lost_per_hour"], replaced_after_s=of["machine_s"])
        work_s = photographs * cost_s(of)
        lines.append(_row(cores, "arithmetic", work_s / cores, work_s * core_usd, "", ""))
        for what, bundles, crew, share in (
            ("simulated: all alike, nobody is lost", alike, plain, 1.0),
            ("photographs differ, some machines are slow", varying, slow, 1.0),
            ("and one worker is lost in the middle", varying, replace(slow, lives_s=[work_s / cores / 2]), 1.0),
            ("and all are preemptible", varying, spot, of["spot_share"]),
            (f"the same with bundles of {of['bundle'] * COARSE:,.0f}", coarse, spot, of["spot_share"]),
        ):
            found = worked(bundles, crew, seed)
            usd = found.paid_s * core_usd * share
            lines.append(_row(cores, what, found.seconds, usd, f"{found.lost:,}", f"{found.vain_s / 3600:,.1f}"))
    return [
        *lines,
        "",
        "| input | value | what | date | source |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row.values())} |" for row in given().values()),
    ]


def _row(cores: int, what: str, seconds: float, usd: float, lost: str, vain: str) -> str:
    return f"| {cores:,} | {what} | {seconds / 3600:,.2f} | {seconds / DAY_S:,.2f} | {usd:,.0f} | {lost} | {vain} |"
