"""Hostile input by the thousand, at a service in a process of its own: generated requests, then damaged photographs.

    python -m benchmarks.fuzz

The requests are Schemathesis's, from the OpenAPI document, with all its checks. The photographs are those of
`mutants.py`. Nothing may end in a 5xx but 503 and 504, take longer than 5 s, or make memory grow.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from benchmarks.machine import cpu_name
from benchmarks.mutants import Mutant, mutants
from benchmarks.serving import Service, serving
from model.cores import usable_cores
from service.keys import Key, KeyFile, digest, new_key, write

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).with_name("schemathesis.toml")
LONGEST_S = 5.0
MOST_GROWTH_MIB = 32.0  # from the second quarter to the last, median resident memory
CLIENTS = 4
EXPECTED = (200, 400, 413, 415, 422, 503, 504)


@dataclass
class Requests:
    """What Schemathesis found."""

    sent: int
    checks: str  # the last lines of what it says
    failed: bool
    memory_mib: list[float]  # after each of its runs


@dataclass
class Photographs:
    """What the damaged photographs did."""

    outcomes: dict[str, Counter[int]] = field(default_factory=dict)  # by format: status → how often
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # mutants by number that did what none may
    times_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    @property
    def growth_mib(self) -> float:
        """Median of the last quarter's memory over that of the second."""
        quarter = max(1, len(self.memory_mib) // 4)
        return statistics.median(self.memory_mib[-quarter:]) - statistics.median(self.memory_mib[quarter : 2 * quarter])


def main() -> None:
    """Fuzz, print and keep the report; exit code 1 where something did what nothing may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000, help="generated requests, at least")
    parser.add_argument("--photographs", type=int, default=5000, help="damaged photographs")
    parser.add_argument("--longest", type=float, default=LONGEST_S, help="seconds that an answer may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        key, keys = new_key(), Path(folder) / "keys.json"
        both = frozenset({"segment", "admin"})
        write(keys, KeyFile(keys=(Key(name="fuzz", scopes=both, sha256=digest(key)),)))  # type: ignore[arg-type]
        with serving(keys=keys, wrong_keys="", log_level="error") as service:
            requests = generated(service, key, options.requests, options.seed, Path(folder), options.longest)
            photographs = damaged(service, key, mutants(options.photographs, options.seed), options.longest)
            alive = urllib.request.urlopen(f"{service.url}/health/ready").status == 200
    report = _report(requests, photographs, options.longest, time.perf_counter() - began)
    print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{datetime.now(UTC):%Y-%m-%d}-fuzz.md").write_text(report, encoding="utf-8")
    if requests.failed or requests.sent < options.requests or photographs.wrong or not alive:
        sys.exit("something did what nothing may: see above")
    if photographs.growth_mib > MOST_GROWTH_MIB:
        sys.exit(f"memory grew by {photographs.growth_mib:.0f} MiB")


def generated(service: Service, key: str, wanted: int, seed: int, folder: Path, longest_s: float) -> Requests:
    """Run Schemathesis on every operation, again with another seed until there were so many requests."""
    sent, said, failed = 0, "", False
    memory: list[float] = []
    with urllib.request.urlopen(f"{service.url}/openapi.json") as answer:
        operations = sum(len(methods) for methods in json.load(answer)["paths"].values())
    while sent < wanted and not failed:
        before = _answered(service, key)
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
            *("run", f"{service.url}/openapi.json"),
            *("--checks", "all", "--max-response-time", str(longest_s), "--header", f"X-API-Key:{key}"),
            *("--max-examples", str(min(60, max(5, wanted // 40))), "--seed", str(seed), "--report-dir", str(folder)),
            *("--continue-on-failure", "--no-color"),
        ]
        hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.schemathesis_hooks", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **hooks}, capture_output=True, text=True, check=False
        )
        failed = done.returncode != 0
        said = done.stdout[-6000:] + done.stderr[-2000:] if failed else _summary(done.stdout)
        if f"Tested: {operations}\n" not in done.stdout:
            failed, said = True, f"not all {operations} operations were tried\n{said}"
        memory.append(service.memory_with_decoders_mib())
        sent += _answered(service, key) - before
        seed += 1
    return Requests(sent, said, failed, memory)


def damaged(service: Service, key: str, tried: Iterator[Mutant], longest_s: float) -> Photographs:
    """Send them, a few at a time, and watch."""
    found = Photographs()
    headers = {"X-API-Key": key}
    with httpx2.Client(base_url=service.url, timeout=60.0, headers=headers) as client:

        def send(mutant: Mutant) -> None:
            began = time.perf_counter()
            try:
                headers = {"Content-Type": mutant.media_type}
                answer = client.post("/v1/segmentations?masks=none", content=mutant.data, headers=headers)
                status, code = answer.status_code, answer.json().get("code", "answered")
            except (httpx2.HTTPError, json.JSONDecodeError) as error:
                status, code = 0, type(error).__name__
            took = time.perf_counter() - began
            found.times_s.append(took)
            found.outcomes.setdefault(mutant.format, Counter())[status] += 1
            found.codes[code] += 1
            if status not in EXPECTED or took > longest_s:
                found.wrong.append(f"{mutant.number} ({mutant.format}): {status} {code} after {took:.1f} s")
            if len(found.times_s) % 10 == 0:
                found.memory_mib.append(service.memory_with_decoders_mib())

        with ThreadPoolExecutor(CLIENTS) as pool:
            for _ in pool.map(send, tried):
                pass
    return found


def _answered(service: Service, key: str) -> int:
    """Requests that the service has answered so far, by its own count."""
    request = urllib.request.Request(f"{service.url}/metrics", headers={"X-API-Key": key})
    with urllib.request.urlopen(request) as answer:
        text: str = answer.read().decode()
    return round(sum(float(value) for value in re.findall(r"^cupdisc_requests_total\{.*\} (\S+)$", text, re.MULTILINE)))


def _summary(text: str) -> str:
    """The lines from `SUMMARY` on."""
    return text[text.rfind("SUMMARY") :].partition("\n")[2].strip() if "SUMMARY" in text else text[-2000:]


def _report(requests: Requests, photographs: Photographs, longest_s: float, took_s: float) -> str:
    times, told = sorted(photographs.times_s), "see below" if requests.failed else "0"
    memory = photographs.memory_mib[len(photographs.memory_mib) // 4]
    cores = f"{usable_cores()} of {os.cpu_count()} cores of an {cpu_name()}"
    machine = f"{cores}; load average at the end {os.getloadavg()[0]:.1f}"
    statuses = sorted({status for counts in photographs.outcomes.values() for status in counts})
    lines = [
        f"# Hostile input, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "",
        f"{machine}; {took_s / 60:.0f} minutes.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| generated requests, all checks of Schemathesis | {requests.sent} |",
        f"| of them against the document, a 5xx, or longer than {longest_s:g} s | {told} |",
        f"| resident memory after each of its runs | {' → '.join(f'{mib:.0f}' for mib in requests.memory_mib)} MiB |",
        f"| damaged photographs | {len(times)} |",
        f"| 5xx but 503 and 504, no answer, or longer than {longest_s:g} s | {len(photographs.wrong)} |",
        f"| median and longest answer | {statistics.median(times) * 1000:.0f} ms, {times[-1]:.2f} s |",
        "| resident memory while photographs were sent, second quarter → last |"
        f" {memory:.0f} MiB, {photographs.growth_mib:+.0f} MiB |",
        "",
        "| format | " + " | ".join(map(str, statuses)) + " |",
        "|---" * (len(statuses) + 1) + "|",
    ]
    for name, counts in sorted(photographs.outcomes.items()):
        lines.append(f"| {name} | " + " | ".join(str(counts[status]) for status in statuses) + " |")
    codes = ", ".join(f"{count} × {code}" for code, count in photographs.codes.most_common())
    lines += ["", f"By code: {codes}.", "", *(f"- {wrong}" for wrong in photographs.wrong[:50])]
    lines += ["", "Schemathesis:", "", "```text", requests.checks, "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
