"""The container images: size by layer, time from `docker run` to the first answer, and what is inside.

Needs Docker and the images and lists of `make sbom`. Writes Markdown to benchmarks/results/, or where it is told to.
"""

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_name
from benchmarks.photographs import EXAMPLE

ROOT = Path(__file__).parents[1]
LOCKED_UP = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108
PATIENCE_S = 120
MEGA = 1e6  # bytes; Docker counts in powers of ten, too


def main() -> None:
    """Measure and write."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--image", default="cupdisc")
    options.add_argument("--sbom", type=Path, default=ROOT / "out" / "sbom")
    options.add_argument("--rounds", type=int, default=5, help="starts of each image; 0: sizes and contents alone")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / f"{today}-image.md")
    given = options.parse_args()
    given.out.write_text("\n".join(report(given.image, given.sbom, given.rounds, today)) + "\n", encoding="utf-8")
    print(given.out)


def report(image: str, sbom: Path, rounds: int, today: str) -> Iterator[str]:
    """The lines of the Markdown."""
    engine = docker("version", "--format", "{{.Server.Version}}")
    yield f"# The container images, {today}\n"
    yield f"Docker {engine}, {os.cpu_count()} cores, {cpu_name()}, load average {os.getloadavg()[0]:.1f}."
    yield "Sizes are those of `docker history`, unpacked, in units of 10^6 bytes."
    for name in (f"{image}:slim", image):
        (found,) = json.loads(docker("image", "inspect", name))
        yield f"\n## {name}: {found['Size'] / MEGA:.0f} MB\n"
        yield f"{base(found)}\n"
        yield "| layer | MB |\n|---|---|"
        for made_by, size in layers(name):
            yield f"| {made_by} | {size / MEGA:.1f} |"
        if not rounds:
            continue
        seconds = [first_answer(name) for _ in range(rounds)]
        yield f"\nFrom `docker run` to the first photograph's answer, {rounds} times: median "
        yield f"{statistics.median(seconds):.1f} s, least {min(seconds):.1f} s, most {max(seconds):.1f} s."
    python = json.loads((sbom / "python.cdx.json").read_text(encoding="utf-8"))["components"]
    with (sbom / "debian.tsv").open(encoding="utf-8") as table:
        debian = list(csv.DictReader(table, delimiter="\t"))
    yield f"\n## What is inside {image}\n"
    yield f"{len(python)} packages of Python, by cyclonedx-bom from inside the image:\n"
    yield ", ".join(f"{one['name']} {one['version']}" for one in sorted(python, key=lambda one: one["name"].lower()))
    yield f"\n{len(debian)} of Debian, by dpkg-query:\n"
    yield ", ".join(f"{one['package']} {one['version']}" for one in debian)


def base(image: Any) -> str:
    """What `docker inspect` tells about the image that this one was built on."""
    name = image["Config"]["Labels"]["org.opencontainers.image.base.name"]
    (found,) = json.loads(docker("image", "inspect", name))
    own, its = image["RootFS"]["Layers"], found["RootFS"]["Layers"]
    if own[: len(its)] != its:
        return f"Built on another {name} than the one that is here now."
    if digests := found["RepoDigests"]:
        return f"Built on the official image: {digests[0]}."
    said = f" ({found['Comment']})" if found["Comment"] else ""
    return f"Built on a stand-in for {name} that came from no registry{said}: {found['Id'][:19]}."


def layers(image: str) -> Iterator[tuple[str, int]]:
    """What made each layer that holds anything, and its bytes; the base image's first."""
    shown = docker("history", "--no-trunc", "--human=false", "--format", "{{json .}}", image)
    for line in reversed(shown.splitlines()):
        layer = json.loads(line)
        size = int(layer["Size"])
        if size:
            made_by = re.sub(r"^/bin/sh -c (#\(nop\) )?|^\|\d+ .*?/bin/sh -c ", "", layer["CreatedBy"]).strip()
            made_by = re.sub(r"\bfile:\S+|\bdir:\S+|--quiet .* -r ", "… ", made_by).replace("|", "\\|")
            yield f"`{made_by[:110]}`" if made_by else "the base image", size


def first_answer(image: str) -> float:
    """Seconds from `docker run` until the example photograph is answered."""
    published = ["--publish", "127.0.0.1::8000", "--env", "CUPDISC_OPEN=true"]
    photograph = EXAMPLE.read_bytes()
    started = time.perf_counter()
    container = docker("run", "--detach", "--rm", *LOCKED_UP, *published, image)
    try:
        address = f"http://{docker('port', container, '8000/tcp')}/v1/segmentations"
        while time.perf_counter() - started < PATIENCE_S:
            request = urllib.request.Request(address, photograph, {"content-type": "image/jpeg"})
            try:
                with urllib.request.urlopen(request) as answer:
                    answer.read()
                return time.perf_counter() - started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
    finally:
        docker("stop", container)
    raise SystemExit(f"{image} does not answer")


def docker(*arguments: str) -> str:
    """What the command prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
