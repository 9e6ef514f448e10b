"""What a measurement was taken on."""

import platform
import re
from pathlib import Path


def cpu_name() -> str:
    """As Linux names it."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()
