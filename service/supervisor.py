"""Several processes behind one address: started, watched, replaced and stopped by uvicorn's own supervisor.

Each is a replica that has everything of its own but the listening socket. The first one starts alone: where nothing can
be served the start ends there, with the reason, and the others find its networks made ready (`CUPDISC_COMPILED`).
"""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from multiprocessing import connection
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, socket

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from model.cores import usable_cores
from model.errors import CupDiscError, InvalidConfiguration, NoVersionLive
from service import logs
from service.app import create_app
from service.replicas import METRICS_FOLDER, Group
from service.server import connections, stop_gently, uvicorn_settings
from service.settings import Settings

HUNG_S = 30  # a replica that does not even say that it lives for so long is killed and replaced
CORES_EACH = 2  # that one process keeps busy; measured on two, not on more
STOPPING = (signal.SIGINT, signal.SIGTERM)


def best_workers(cores: int) -> int:
    """One for every two cores.

    On two, several answered as many photographs as one from 8 clients on, and refused some that one had room for; to
    2 clients they were quicker in one of two runs (docs/speed.md). Beyond two cores it is a guess.
    """
    return max(1, cores // CORES_EACH)


def number_of(workers: str) -> int:
    """Of `auto`, or a number from 1 on.

    Raises:
        InvalidConfiguration: it is neither.
    """
    if workers == "auto":
        return best_workers(usable_cores())
    if not (workers.isascii() and workers.isdigit() and int(workers) >= 1):
        raise InvalidConfiguration(f"workers: {workers!r} is neither auto nor a number from 1 on")
    return int(workers)


def divided(settings: Settings, workers: int) -> Settings:
    """What one replica may take, so that all together take no more than one process would.

    Each may hold one body at least, as `create_app` sees to. What is counted by caller (`rate`, `concurrent`,
    `wrong_keys`) stays as it is: each replica counts for itself.
    """
    cores = settings.threads or max(1, usable_cores() // workers)
    share = {
        "threads": cores,
        "max_parallel": settings.max_parallel or cores + 1,
        "max_queue_length": math.ceil(settings.max_queue_length / workers),
        "max_held_bytes": math.ceil(settings.max_held_bytes / workers),
        "max_connections": math.ceil(settings.max_connections / workers),
    }
    return settings.model_copy(update=share)


class ReplicaConfig(uvicorn.Config):
    """What a replica is started from. It is sent to the new process, so the application is made there, in `load`."""

    def __init__(self, settings: Settings, host: str, port: int, workers: int, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        super().__init__(
            "", host, port, workers=workers, timeout_worker_healthcheck=HUNG_S, **uvicorn_settings(settings)
        )

    def configure_logging(self) -> None:
        """Of every process; the first thing that a new one does."""
        logs.configure(self.settings.log_format, self.settings.log_level)
        super().configure_logging()  # which has no log of its own made of what clients wrote into their paths

    def bind_socket(self) -> socket:
        """The address's. Its connections inherit that nothing waits for an acknowledgement, 40 ms in each answer."""
        listening = super().bind_socket()
        listening.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # asyncio does so only where a socket names its protocol
        return listening

    def load(self) -> None:
        """Everything that answers, in this process."""
        _end_with_the_supervisor()
        settings = divided(self.settings, self.workers)
        try:
            app = create_app(settings, group=Group(self.folder, self.workers))
            if app.state.live.default is None:
                refused = [f"version {name}: {why}" for name, why in app.state.live.refused.items()]
                raise NoVersionLive("nothing to serve; " + ("; ".join(refused) or f"no version in {settings.registry}"))
        except CupDiscError as error:
            print(f"cupdisc: {error}", file=sys.stderr)  # noqa: T201 - as the command itself says it
            sys.exit(1)  # not STARTUP_FAILURE: later, the supervisor shall try again
        self.app, self.http = app, connections(app, settings).protocol()
        stop_gently(app, settings.stop_delay_s)
        super().load()


class Supervisor(Multiprocess):
    """uvicorn's, which starts the first process alone, hands further signals on, and forgets the dead."""

    failed = False  # the first replica did not serve

    def __init__(self, config: ReplicaConfig, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self._group = Group(config.folder, config.workers)

    def init_processes(self) -> None:
        """The first one, and when it serves all others."""
        first = Process(self.config, self.sockets)
        first.start()
        self.processes.append(first)
        while not first.wait_until_ready(1.0):
            self.handle_signals()
            if self.should_exit.is_set():
                return
            if not first.process.is_alive():
                self.failed = True
                self.should_exit.set()
                return
        for _ in range(self.processes_num - 1):
            process = Process(self.config, self.sockets)
            process.start()
            self.processes.append(process)

    def keep_subprocess_alive(self) -> None:
        """Whoever has died is replaced, and is no replica any more."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for gone in before - {process.pid for process in self.processes}:
            if gone is not None:
                self._group.forget(gone)

    def join_all(self) -> None:
        """Until all have ended; a second and a third signal meanwhile are for them."""
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(0.1)
                for number in [each for each in self.signal_queue if each in STOPPING]:
                    self.signal_queue.remove(number)
                    self._tell(number)

    def _tell(self, number: int) -> None:
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)


def run(settings: Settings, host: str, port: int, workers: int) -> bool:
    """Answer by so many processes until told to stop; whether it ever did."""
    with tempfile.TemporaryDirectory(prefix="cupdisc-", ignore_cleanup_errors=True) as folder:
        os.environ[METRICS_FOLDER] = folder  # before any replica is started: prometheus_client looks when imported
        config = ReplicaConfig(settings, host, port, workers, Path(folder))
        supervisor = Supervisor(config, [config.bind_socket()])
        supervisor.run()
    return not supervisor.failed


def _end_with_the_supervisor() -> None:
    """A replica whose supervisor was killed stops as if it had been told to."""
    supervisor = multiprocessing.parent_process()

    def watch() -> None:
        if supervisor is not None:
            connection.wait([supervisor.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
