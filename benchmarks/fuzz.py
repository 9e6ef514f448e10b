"""Hostile input by the thousand, at a service in a process of its own: generated requests, then damaged photographs.

    python -m benchmarks.fuzz

The requests are Schemathesis's, from the OpenAPI document, with all its checks. The photographs are those of
`mutants.py`; some of them, and damaged label masks, are sent to be measured too. Nothing may end in a 5xx but 503 and
504, take longer than 5 s, or make memory grow.
"""

import argparse
import contextlib
import functools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
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
from benchmarks.mutants import Mutant, label_masks, mutants, originals
from benchmarks.serving import Service, serving
from model.cores import usable_cores
from service.keys import Key, KeyFile, digest, new_key, write

RESULTS = Path(__file__).parent / "results"
CONFIG = Path(__file__).with_name("schemathesis.toml")
LONGEST_S = 5.0
MOST_GROWTH_MIB = 32.0  # from the second quarter to the last, median resident memory
EACH_S = 1.0  # memory is read while requests are generated
PATHS = SEGMENT, MEASURE = "/v1/segmentations?masks=none", "/v1/measurements"
MEASURED = 11  # of so many damaged photographs one is measured as a label mask; each format comes in turn
CLIENTS = 4
WARMED = 5  # times each form of a photograph
EXPECTED = (200, 400, 413, 415, 422, 503, 504)


@dataclass
class Requests:
    """What Schemathesis found."""

    generated: int  # test cases, as it counts them
    checks: str  # the last lines of what it says
    failed: bool
    memory_mib: list[float]  # each second


@dataclass
class Photographs:
    """What the damaged photographs did."""

    outcomes: dict[tuple[str, str], Counter[int]] = field(
        default_factory=dict
    )  # by path and format: status → how often
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # mutants by number that did what none may
    times_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)


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
            warm(service, key)
            requests = generated(service, key, options.requests, options.seed, Path(folder), options.longest)
            photographs = damaged(service, key, hostile(options.photographs, options.seed), options.longest)
            alive = urllib.request.urlopen(f"{service.url}/health/ready").status == 200
    report = _report(requests, photographs, options.longest, time.perf_counter() - began)
    print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{datetime.now(UTC):%Y-%m-%d}-fuzz.md").write_text(report, encoding="utf-8")
    if requests.failed or requests.generated < options.requests or photographs.wrong or not alive:
        sys.exit("something did what nothing may: see above")
    for sent, memory_mib in (("requests", requests.memory_mib), ("photographs", photographs.memory_mib)):
        if (grown := growth(memory_mib)) > MOST_GROWTH_MIB:
            sys.exit(f"memory grew by {grown:.0f} MiB while {sent} were sent")


def warm(service: Service, key: str) -> None:
    """Every form of a photograph, and as many at a time as the service works on and more: what it starts with first use
    has started then, and what grows afterwards grows without need."""
    whole = [data for _, data in originals()] * WARMED
    with (
        ThreadPoolExecutor(2 * CLIENTS) as pool,
        httpx2.Client(base_url=service.url, headers={"X-API-Key": key}) as client,
    ):
        for answer in pool.map(lambda data: client.post("/v1/segmentations", content=data, timeout=60.0), whole):
            if answer.status_code not in EXPECTED:
                sys.exit(f"a whole photograph got {answer.status_code}: {answer.text[:200]}")
        for shown in ("application/pdf", "image/png"):
            client.post("/v1/segmentations", content=whole[0], headers={"Accept": shown}, timeout=60.0)


def growth(memory_mib: list[float]) -> float:
    """Median of the last quarter of readings over that of the second."""
    quarter = max(1, len(memory_mib) // 4)
    return statistics.median(memory_mib[-quarter:]) - statistics.median(memory_mib[quarter : 2 * quarter])


@contextlib.contextmanager
def watched(service: Service) -> Iterator[list[float]]:
    """What is resident each second, MiB, of the service and one decoder, from now until the end."""
    found, ended = [service.memory_with_one_decoder_mib()], threading.Event()

    def watch() -> None:
        while not ended.wait(EACH_S):
            found.append(service.memory_with_one_decoder_mib())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def generated(service: Service, key: str, wanted: int, seed: int, folder: Path, longest_s: float) -> Requests:
    """Run Schemathesis on every operation, again with another seed until there were so many requests.

    At least twice: what a rare operation starts with its first use has started in the first run, and memory is watched
    from the second one on.
    """
    with urllib.request.urlopen(f"{service.url}/openapi.json") as answer:
        operations = sum(len(methods) for methods in json.load(answer)["paths"].values())
    run = functools.partial(_run, service, key, operations, min(60, max(5, wanted // 40)))
    made, said, failed = run(seed, folder, longest_s)
    with watched(service) as memory:
        while not failed:
            more, said, failed = run(seed := seed + 1, folder, longest_s)
            made += more
            if made >= wanted:
                break
    return Requests(made, said, failed, memory)


def _run(
    service: Service, key: str, operations: int, examples: int, seed: int, folder: Path, longest_s: float
) -> tuple[int, str, bool]:
    """How many test cases one run of Schemathesis generated, what it says, and whether anything failed."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
        *("run", f"{service.url}/openapi.json"),
        *("--checks", "all", "--max-response-time", str(longest_s), "--header", f"X-API-Key:{key}"),
        *("--max-examples", str(examples), "--seed", str(seed), "--report-dir", str(folder)),
        *("--continue-on-failure", "--no-color"),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.schemathesis_hooks", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **hooks}, capture_output=True, text=True, check=False)
    failed = done.returncode != 0
    said = done.stdout[-6000:] + done.stderr[-2000:] if failed else _summary(done.stdout)
    counted = re.search(r"^\s*([\d,]+) generated", done.stdout, re.MULTILINE)
    if counted is None or f"Tested: {operations}\n" not in done.stdout:
        failed, said = True, f"not all {operations} operations were tried\n{said}"
    return int(counted[1].replace(",", "")) if counted else 0, said, failed


def hostile(photographs: int, seed: int) -> Iterator[tuple[Mutant, str]]:
    """Damaged photographs, each with the path that it is sent to; a tenth as many damaged label masks among them."""
    masks = mutants(photographs, seed, label_masks())
    for mutant in mutants(photographs, seed):
        yield mutant, SEGMENT
        if mutant.number % MEASURED == 0:
            yield mutant, MEASURE
            yield next(masks), MEASURE


def damaged(service: Service, key: str, tried: Iterator[tuple[Mutant, str]], longest_s: float) -> Photographs:
    """Send them, a few at a time, and watch."""
    found = Photographs()
    headers = {"X-API-Key": key}
    with httpx2.Client(base_url=service.url, timeout=60.0, headers=headers) as client:

        def send(one: tuple[Mutant, str]) -> None:
            mutant, path = one
            began = time.perf_counter()
            try:
                headers = {"Content-Type": mutant.media_type if path == SEGMENT else "image/png"}
                answer = client.post(path, content=mutant.data, headers=headers)
                status, code = answer.status_code, answer.json().get("code", "answered")
            except (httpx2.HTTPError, json.JSONDecodeError) as error:
                status, code = 0, type(error).__name__
            took = time.perf_counter() - began
            found.times_s.append(took)
            found.outcomes.setdefault((path, mutant.format), Counter())[status] += 1
            found.codes[code] += 1
            if status not in EXPECTED or took > longest_s:
                found.wrong.append(f"{mutant.number} ({mutant.format}) to {path}: {status} {code} after {took:.1f} s")
            if len(found.times_s) % 10 == 0:
                found.memory_mib.append(service.memory_with_one_decoder_mib())

        with ThreadPoolExecutor(CLIENTS) as pool:
            for _ in pool.map(send, tried):
                pass
    return found


def _grown(memory_mib: list[float]) -> str:
    quarter = max(1, len(memory_mib) // 4)
    return f"{statistics.median(memory_mib[quarter : 2 * quarter]):.0f} MiB, {growth(memory_mib):+.0f} MiB"


def _summary(text: str) -> str:
    """The lines from `SUMMARY` on."""
    return text[text.rfind("SUMMARY") :].partition("\n")[2].strip() if "SUMMARY" in text else text[-2000:]


def _report(requests: Requests, photographs: Photographs, longest_s: float, took_s: float) -> str:
    times, told = sorted(photographs.times_s), "see below" if requests.failed else "0"
    sent = {path: sum(by.total() for (to, _), by in photographs.outcomes.items() if to == path) for path in PATHS}
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
        f"| generated requests, all checks of Schemathesis | {requests.generated} |",
        f"| of them against the document, a 5xx, or longer than {longest_s:g} s | {told} |",
        f"| resident with one decoder, second run of them on, second quarter → last | {_grown(requests.memory_mib)} |",
        f"| damaged photographs | {sent[SEGMENT]} |",
        f"| some of them again, and damaged label masks, to be measured | {sent[MEASURE]} |",
        f"| 5xx but 503 and 504, no answer, or longer than {longest_s:g} s | {len(photographs.wrong)} |",
        f"| median and longest answer | {statistics.median(times) * 1000:.0f} ms, {times[-1]:.2f} s |",
        f"| resident with one decoder meanwhile, second quarter → last | {_grown(photographs.memory_mib)} |",
        "",
        "| format | " + " | ".join(map(str, statuses)) + " |",
        "|---" * (len(statuses) + 1) + "|",
    ]
    for (path, kind), counts in sorted(photographs.outcomes.items()):
        name = kind if path == SEGMENT else f"{kind}, to be measured"
        lines.append(f"| {name} | " + " | ".join(str(counts[status]) for status in statuses) + " |")
    codes = ", ".join(f"{count} × {code}" for code, count in photographs.codes.most_common())
    lines += ["", f"By code: {codes}.", "", *(f"- {wrong}" for wrong in photographs.wrong[:50])]
    lines += ["", "Schemathesis:", "", "```text", requests.checks, "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
