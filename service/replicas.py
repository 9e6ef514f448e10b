"""What the replicas behind one address know of each other: a folder in which each has a file about itself.

No replica needs it to answer. It is there so that whoever asks one of them, and cannot choose which, hears of all.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name for it
LOOK_AGAIN = "look-again"  # a file that is touched when all shall look at their registry
TICK_S = 0.5
logger = logging.getLogger("cupdisc")


@dataclass(frozen=True)
class State:
    """What one replica runs."""

    name: str
    pid: int
    default: str | None
    candidate: str | None
    loaded: tuple[str, ...]
    degraded: tuple[str, ...]  # reasons, as readiness tells them


@dataclass(frozen=True)
class Group:
    """The replicas of one supervisor."""

    folder: Path  # theirs alone, and gone when they are
    size: int

    def tell(self, state: State) -> None:
        """What this replica runs now."""
        unfinished = self.folder / f"{state.pid}.unfinished"
        unfinished.write_text(json.dumps(asdict(state)), encoding="utf-8")
        unfinished.replace(self.folder / f"{state.pid}.json")

    def states(self) -> list[State]:
        """Of all that live, by name."""
        found = []
        for file in self.folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                told = json.loads(file.read_text(encoding="utf-8"))
                found.append(State(**{**told, "loaded": tuple(told["loaded"]), "degraded": tuple(told["degraded"])}))
        return sorted((each for each in found if _lives(each.pid)), key=lambda each: each.name)

    def forget(self, pid: int) -> None:
        """A replica has died. What it counted is kept: counters must never fall."""
        (self.folder / f"{pid}.json").unlink(missing_ok=True)
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]

    def look_again(self) -> None:
        """All shall look at their registry, soon."""
        (self.folder / LOOK_AGAIN).touch()

    def asked_to_look_at(self) -> int:
        """When that was asked last; 0 for never."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / LOOK_AGAIN).stat().st_mtime_ns
        return 0

    def figures(self) -> bytes:
        """All replicas' metrics in Prometheus's text format: counted together, and each one's processor and memory."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.folder))  # type: ignore[no-untyped-call]
        registry.register(_Processes(self.states()))
        return generate_latest(registry)


class Telling:
    """A thread that keeps the folder up to date, until closed.

    Args:
        look: called when somebody asked all replicas to look at their registry.
    """

    def __init__(self, group: Group, state: Callable[[], State], look: Callable[[], None]) -> None:
        self._group, self._state, self._look = group, state, look
        self._told: State | None = None
        self._looked_at = group.asked_to_look_at()
        self._stopping = threading.Event()
        self._tell()
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """This replica is none any more."""
        self._stopping.set()
        self._thread.join(TICK_S)
        (self._group.folder / f"{os.getpid()}.json").unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            try:
                if (asked := self._group.asked_to_look_at()) != self._looked_at:
                    self._looked_at = asked
                    self._look()
                self._tell()
            except OSError:  # the folder goes when the supervisor does
                continue
            except Exception:
                logger.exception("looking at the registry when asked, or telling of it, failed; going on")

    def _tell(self) -> None:
        state = self._state()
        if state != self._told:
            self._group.tell(state)
            self._told = state


class _Processes:
    """Processor time, memory and open files of each replica, with its name."""

    def __init__(self, states: list[State]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for state in self._states:
            for metric in ProcessCollector(pid=partial(int, state.pid), registry=None).collect():
                kept = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    kept.add_sample(sample.name, {**sample.labels, "replica": state.name}, sample.value)
        yield from merged.values()


def name_of(given: str, group: Group | None) -> str:
    """What this process is called; one of several has its number in its name."""
    return f"{given}-{os.getpid()}" if given and group else given or str(os.getpid())


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() or not Path("/proc/self").exists()
