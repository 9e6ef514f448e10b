"""Everything about speed in one go, as one dated Markdown file: `python -m benchmarks`. Best on a machine at rest."""

import argparse
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import cold_start, company, growth, limit, networks, overload
from benchmarks.machine import cpu_name
from model import engines
from model.cores import usable_cores

RESULTS = Path(__file__).parent / "results"
PARTS = {
    "To the limit": limit.measure,
    "Four times too much": overload.measure,
    "In bad company": company.measure,
    "Growth": growth.measure,
    "Cold start": cold_start.measure,
    "The networks alone": networks.measure,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under a minute: does it run? Its figures mean nothing.")
    parser.add_argument(
        "--part", action="append", choices=list(PARTS), help="this one alone; may be given several times"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    began = time.perf_counter()
    parts = []
    for title, measure in PARTS.items():
        if options.part and title not in options.part:
            continue
        print(title, flush=True)
        parts.append(f"## {title}\n\n{measure(options.quick)}")
    now = datetime.now(UTC)
    packages = ", ".join(f"{name} {version(name)}" for name in ("openvino", "pillow", "numpy", "uvicorn", "fastapi"))
    busy = os.getloadavg()[0]
    head = (
        f"# Speed, {now:%Y-%m-%d %H:%M} UTC{' (quick: its figures mean nothing)' if options.quick else ''}\n\n"
        f"{usable_cores()} of {os.cpu_count()} cores, {cpu_name()}, {' and '.join(engines.precisions('openvino'))};"
        f" Python {platform.python_version()}, {packages}. {time.perf_counter() - began:.0f} s; load average at the"
        f" end {busy:.1f}. The load generator shares the cores with the service.\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{now:%Y-%m-%d}-speed.md"
    target.write_text("\n\n".join([head.rstrip("\n"), *parts]) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
