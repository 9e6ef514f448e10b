"""How many cores this process may keep busy: of the machine's those that it may run on, and no more than its quota."""

import contextlib
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """At least 1; a part of a core counts as one.

    `taskset` and cpusets say which cores, Docker's `--cpus` and Kubernetes' `limits.cpu` how much of their time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota())))


@functools.cache
def quota(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> float:
    """Cores' worth of time that the control groups of this process allow, infinite without any limit; Linux's.

    Args:
        groups: where control groups are mounted, version 2 or 1.
        membership: the file that names the groups of a process.
    """
    return min((part for folder in _folders(groups, membership) for part in _quotas(folder)), default=math.inf)


def _folders(groups: Path, membership: Path) -> Iterator[Path]:
    """This process's group and all above it; in a container the first of them alone can be seen, at the root."""
    lines = []
    with contextlib.suppress(OSError):
        lines = membership.read_text(encoding="utf-8").splitlines()
    yield from (groups, groups / "cpu")
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            inside = PurePosixPath(group.lstrip("/"))
            for path in (inside, *inside.parents):
                yield groups / ("cpu" if controllers else "") / path


def _quotas(folder: Path) -> Iterator[float]:
    """At most one for each version of control groups. No file, "max" or −1: no limit."""
    with contextlib.suppress(OSError, ValueError):
        share, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        yield int(share) / int(period)
    with contextlib.suppress(OSError, ValueError):
        micros = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        if micros > 0:
            yield micros / int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
