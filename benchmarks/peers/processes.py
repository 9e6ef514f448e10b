"""Processes of a server and all that it starts: their CPU time and memory, and their end."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: who loses its parent becomes ours, so that it is counted and ended
TICKS = os.sysconf("SC_CLK_TCK")
_started: list[int] = []  # servers' own processes, the latest last


def adopt() -> None:
    """Let daemons that a server leaves behind be children of this process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Server:
    """A command in the background, its output in a file."""

    def __init__(self, command: list[str], folder: Path, log: Path, environment: Mapping[str, str]) -> None:
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip
        self.log = log
        _started.append(self.process.pid)

    def pids(self) -> list[int]:
        """The command's process and its descendants; daemons that were adopted belong to the server started last."""
        children = _children()
        roots = [self.process.pid]
        if _started[-1] == self.process.pid:
            roots += [pid for pid in children.get(os.getpid(), []) if pid not in _started]
        found = []
        while roots:
            pid = roots.pop()
            found.append(pid)
            roots += children.get(pid, [])
        return [pid for pid in found if _stat(pid)]

    def cpu_s(self) -> float:
        """Processor time of all of them up to now, including that of children already gone."""
        total = 0
        for pid in self.pids():
            if fields := _stat(pid):
                total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
        return total / TICKS

    def memory_mib(self) -> float:
        """Proportional set size of all of them: what several share counts once."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(text.partition("\nPss:")[2].split()[0])
        return total / 1024

    def stop(self) -> None:
        """Ask it to end; end what is left after ten seconds."""
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.1)
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.1)

    def _bury(self) -> None:
        """Adopted processes that have ended stay in the table until somebody asks for them."""
        self.process.poll()
        for pid in self.pids():
            fields = _stat(pid)
            if fields and fields[0] == "Z" and pid != self.process.pid and int(fields[1]) == os.getpid():
                os.waitpid(pid, os.WNOHANG)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children
