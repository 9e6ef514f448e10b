"""What Cloud Run's `containerConcurrency` should be: one container of docker/cloud-run.yaml under 1 to 32 requests.

    python -m benchmarks.concurrency

Needs Docker and the images of `make image`. The container gets the manifest's processors, memory and settings. Cloud
Run tries to keep an instance at 60 % of its `containerConcurrency`, so what is looked for is the number of which 60 %
just keep the instance busy: with less it idles, with more requests wait where another instance could have been started.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from scipy.optimize import isotonic_regression

from benchmarks import load
from benchmarks.growth import enlarged
from benchmarks.image import LOCKED_UP, docker
from benchmarks.machine import cpu_name
from benchmarks.photographs import varied

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "docker" / "cloud-run.yaml"
CLIENTS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 32)
KEPT = 0.6  # of containerConcurrency, by Cloud Run's autoscaler
ENOUGH = 0.95  # of the highest rate: busy
LARGEST = 39.0  # megapixels; the service takes 40
ENCODINGS = ("JPEG", "PNG", "TIFF")  # decoded smaller; whole; whole, by a library of its own
LEFT_OUT = {"CUPDISC_REGISTRY", "CUPDISC_KEYS"}  # need a bucket and keys; the version in the package serves
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Container:
    """One that is ready."""

    name: str
    url: str

    def peak_mib(self) -> float:
        """The most memory that it held, its tmpfs included."""
        read = ["docker", "exec", self.name, "cat", "/sys/fs/cgroup/memory.peak"]
        older = [*read[:-1], "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"]
        for command in (read, older):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return int(done.stdout) / 2**20
        raise SystemExit("the kernel does not tell a container's memory")


@contextmanager
def started(image: str, pod: Any) -> Iterator[Container]:
    """The container of a Cloud Run manifest, by this machine's Docker, for a while."""
    (described,) = pod["containers"]
    limits = described["resources"]["limits"]
    settings = {one["name"]: one["value"] for one in described["env"] if one["name"] not in LEFT_OUT}
    given = [f"--env={name}={value}" for name, value in {**settings, "CUPDISC_OPEN": "true"}.items()]
    given += [f"--cpus={limits['cpu']}", f"--memory={limits['memory'].removesuffix('i').lower()}"]
    name = docker(
        "run", "--detach", "--rm", *LOCKED_UP, "--publish", "127.0.0.1::8000", *given, image, *described["args"]
    )
    try:
        container = Container(name, f"http://{docker('port', name, '8000/tcp')}")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{container.url}/health/ready").close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield container
    finally:
        docker("stop", name)


def main() -> None:
    """Measure, print and keep the report; exit code 1 where an answer was not 200."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--image", default="cupdisc:slim")
    options.add_argument("--seconds", type=float, default=4.0, help="for each number of requests, in each round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / f"{today}-concurrency.md")
    given = options.parse_args()
    template = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["spec"]["template"]["spec"]
    photographs, before = list(varied(8, (2000,))), os.getloadavg()[0]
    reports: dict[int, list[load.Report]] = {clients: [] for clients in CLIENTS}
    with started(given.image, template) as container:
        idle_mib = container.peak_mib()
        asyncio.run(load.run(container.url, photographs, 4, 3.0))  # warm
        for number in range(given.rounds):
            for clients in CLIENTS[:: 1 if number % 2 == 0 else -1]:  # there and back: the machine's mood is shared out
                reports[clients].append(asyncio.run(load.run(container.url, photographs, clients, given.seconds)))
        usual_mib = container.peak_mib()
    wanted, lines = chosen(reports)
    memory = [f"| none yet | | {idle_mib:.0f} | |", f"| {max(CLIENTS)} × 3.5 | JPEG | {usual_mib:.0f} | |"]
    largest: list[load.Report] = []
    for encoding in ENCODINGS:
        with started(given.image, template) as container:
            largest.append(
                asyncio.run(load.run(container.url, [enlarged(LARGEST, encoding)], wanted, 4 * given.seconds))
            )
            p95_s = load.quantile(largest[-1].took_ms(), 0.95) / 1000
            memory.append(f"| {wanted} × {LARGEST:g} | {encoding} | {container.peak_mib():.0f} | {p95_s:.1f} |")
    joined = "\n".join(memory)
    limits = json.dumps(template["containers"][0]["resources"]["limits"])
    text = f"""# One container under concurrent requests, {today}

`{given.image}` as docker/cloud-run.yaml has it ({limits}), on {os.cpu_count()} cores, {cpu_name()},
which the clients share; load average before {before:.1f}. JPEGs of 2000 × 1750 pixels, `masks=rle`;
{given.rounds} rounds of {given.seconds:g} s each, every other one backwards.

| requests at once | photographs per s, median | least | most | smoothed | p50 ms | p95 ms | other than 200 |
|---|---|---|---|---|---|---|---|
{lines}

Smoothed: the least change to the medians by which they never fall (isotonic regression): with more requests at once a
container does no less, but for noise. 60 % of **{wanted}** keep it busy: from there on the smoothed rate is at least
{ENOUGH:.0%} of its highest.

A container's peak memory, a new one for each kind of the largest:

| at once × megapixels | format | MiB | p95 s |
|---|---|---|---|
{joined}
"""
    print(text)
    given.out.write_text(text, encoding="utf-8")
    every = [sample.outcome for each in (*reports.values(), largest) for report in each for sample in report.samples]
    if wrong := [outcome for outcome in every if outcome != "200"]:
        sys.exit(f"{len(wrong)} of {len(every)} requests were not answered with 200: {sorted(set(wrong))}")


def chosen(reports: dict[int, list[load.Report]]) -> tuple[int, str]:
    """The `containerConcurrency` to set, and the rows of the table; numbers of requests in ascending order."""
    rates = {clients: [report.rate for report in rounds] for clients, rounds in reports.items()}
    medians = [statistics.median(each) for each in rates.values()]
    smoothed = dict(zip(rates, isotonic_regression(medians).x, strict=True))
    rows = []
    for clients, rounds in reports.items():
        took = [ms for report in rounds for ms in report.took_ms()]
        other = sum(len(report.samples) - len(report.took_ms()) for report in rounds)
        each = rates[clients]
        cells = [f"{rate:.1f}" for rate in (statistics.median(each), min(each), max(each), smoothed[clients])]
        cells += [f"{load.quantile(took, share):.0f}" for share in (0.5, 0.95)]
        rows.append(f"| {clients} | {' | '.join(cells)} | {other} |")
    busy = min(clients for clients, rate in smoothed.items() if rate >= ENOUGH * max(smoothed.values()))
    return math.ceil(busy / KEPT), "\n".join(rows)


if __name__ == "__main__":
    main()
