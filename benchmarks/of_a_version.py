"""What the benchmarks of a version's answers are told: which version, and where the photographs are."""

import argparse
import os
from pathlib import Path

SHARED = Path(os.environ.get("CUPDISC_SHARED", Path(__file__).parents[2] / "shared"))


def options(document: str | None) -> argparse.Namespace:
    """`registry`, `version` and `data` of the command line.

    Args:
        document: of the module that is run; its first line describes the command.
    """
    parser = argparse.ArgumentParser(description=(document or "").partition("\n")[0])
    parser.add_argument("--registry", default="bundled")
    parser.add_argument("--version", default="production")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    return parser.parse_args()
