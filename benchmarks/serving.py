"""A service to measure: started as an operator starts it, watched from outside, stopped in the end."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STARTS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Service:
    """One that listens."""

    url: str
    pid: int
    ready_s: float  # from the process's start until it listened

    def cpu_s(self) -> float:
        """Processor time so far, of all its threads."""
        return _cpu_s(self.pid)

    def cpu_with_decoders_s(self) -> float:
        """And of the processes that decode for it now."""
        return sum(_cpu_s(pid) for pid in self._processes())

    def memory_mib(self) -> float:
        """What is resident now."""
        return self._status("VmRSS")

    def memory_with_decoders_mib(self) -> float:
        """What is resident now, of the service and of the processes that decode for it."""
        return sum(map(_resident_mib, self._processes()))

    def memory_with_one_decoder_mib(self) -> float:
        """What is resident now, of the service and of the largest process that decodes for it.

        Its decoders are limited in number. One that a photograph has ended is started anew only when several are
        needed at once, so the sum of all steps up and down by a whole process without anything growing.
        """
        service, *decoders = map(_resident_mib, self._processes())
        return service + max(decoders, default=0.0)

    def peak_mib(self) -> float:
        """The most that was resident since the last `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def figures(self) -> dict[str, float]:
        """Its metrics: name with labels → value."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            text: str = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    def _processes(self) -> list[int]:
        """Itself, and those that decode for it."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")  # each under the thread that started it
        return [self.pid, *(int(pid) for path in children for pid in path.read_text().split())]

    def _status(self, field: str) -> float:
        return int(Path(f"/proc/{self.pid}/status").read_text().partition(f"{field}:")[2].split()[0]) / 1024


def _resident_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has just ended
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def environment() -> dict[str, str]:
    """This process's, in which Python keeps what it compiled, as it does for whoever installs CupDisc."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextlib.contextmanager
def serving(*options: str, cores: set[int] | None = None, **settings: object) -> Iterator[Service]:
    """`cupdisc serve` with options and settings, such as `max_parallel=2`, on a free port, maybe on few cores."""
    given = {f"CUPDISC_{name.upper()}": str(value) for name, value in settings.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("cupdisc")), "serve", "--port", str(port), *options]
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**environment(), **given})
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)  # before it has threads
            _await(port, process)
            yield Service(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - started)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            process.wait(60)


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.perf_counter() + STARTS_WITHIN_S
    while time.perf_counter() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise RuntimeError("the service did not start")
