"""Thousands of photographs on one machine: every core busy, one bad file no matter, a killed run continued.

While a run lasts, `.unfinished` in the folder of results holds a journal with a row for each photograph that is done,
in the order in which they were done. `results.csv` is made of it at the end, in the order of the photographs. Whoever
gives the same command again after a kill, a full disk or Ctrl-C goes on where the journal ends.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from model.errors import CupDiscError, InvalidConfiguration
from service import table
from service.files import UNFINISHED, Photograph
from service.table import PARQUET, TABLE, Row
from service.worker import CannotWrite, Done, Here, Job, Ready, Stop

JOURNAL, MADE_WITH = "journal.jsonl", "made_with.json"  # in UNFINISHED
KINDS = ("overlay", "disc", "cup")  # of pictures
AHEAD = 2  # times as many photographs as a worker works on together are at its hand
LONGEST_S = 120.0  # that a photograph may take on this machine; the largest allowed take a few seconds
START_WORKER = "import sys; from service.worker import main; main(int(sys.argv[1]))"


class WorkerEnded(CupDiscError):
    """The process that worked on the photograph died: of the photograph, or because memory ran out."""

    code = "worker_ended"


class TookTooLong(CupDiscError):
    """The photograph was given up."""

    code = "took_too_long"


@dataclass(frozen=True)
class Progress:
    """What has just been done; `wrong` says in words what was wrong with the file."""

    file: Path
    wrong: str | None


class Run:
    """One run over many photographs into one folder. Iterate over it to its end, or close it.

    Args:
        photographs: with their names as `files.find` gives them.
        workers: processes; more than there are photographs to do are not started.
        overwrite: remove earlier results of the same names, and an unfinished run, first.
        parquet: write `results.parquet` too.
    Attributes:
        total: photographs.
        continued: those that an earlier run had done.
        failed: those that could not be used, so far.
    Raises:
        InvalidConfiguration: the folder holds results, or an unfinished run that was made otherwise, or another run is
            at work in it; or Parquet cannot be written here.
        CannotWrite: as the name says. What is done stays done.
        VersionError, EngineUnavailable, InvalidConfiguration, ServiceFailed: while iterating, from the workers.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        job: Job,
        workers: int,
        *,
        overwrite: bool = False,
        parquet: bool = False,
    ) -> None:
        if parquet:
            table.check_parquet()
        self._photographs, self._job, self._parquet = photographs, job, parquet
        self._unfinished = job.out / UNFINISHED
        with _writing(job.out):
            continues = (self._unfinished / JOURNAL).exists() and not overwrite
            self._unfinished.mkdir(parents=True, exist_ok=True)
            self._journal = open_alone(self._unfinished / JOURNAL)
            self._lines: dict[int, bytes] = {}
            try:
                if not continues:
                    self._make_room(overwrite)
                    os.ftruncate(self._journal, 0)
                for left_behind in self._unfinished.glob("*.png"):
                    left_behind.unlink()
                self._lines = self._read_journal()
            except BaseException:
                self.close()
                raise
        self.total, self.continued, self.failed = len(photographs), len(self._lines), 0
        self._to_do = deque(index for index in range(len(photographs)) if index not in self._lines)
        self._workers = max(1, min(workers, len(self._to_do)))  # one at least, to say what it works with

    @property
    def done(self) -> int:
        """Photographs that need not be worked on again, or could not be used."""
        return len(self._lines)

    def __iter__(self) -> Iterator[Progress]:
        """Each photograph that is done now, in the order in which they are done; at the end, write the table."""
        try:
            for index, done in _crew(self._photographs, self._job, self._to_do, self._workers, self._check_made_with):
                self._keep(index, done.row)
                self.failed += done.wrong is not None
                yield Progress(self._photographs[index].file, done.wrong)
            with _writing(self._job.out):
                self._finish()
        finally:
            self.close()

    def close(self) -> None:
        """Let another run have the folder. Where nothing was done, nothing stays behind."""
        if self._journal < 0:
            return
        if not os.fstat(self._journal).st_size:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            with contextlib.suppress(OSError):  # it holds something else
                self._job.out.rmdir()
        os.close(self._journal)
        self._journal = -1

    def _make_room(self, overwrite: bool) -> None:
        names = {f"{one.name}.{kind}.png" for one in self._photographs for kind in KINDS}
        existing = [name for name in (TABLE, PARQUET, *sorted(names)) if (self._job.out / name).exists()]
        if existing and not overwrite:
            named = ", ".join(existing[:3]) + " ..." * (len(existing) > 3)
            raise InvalidConfiguration(f"{self._job.out} already holds {named}")
        for name in existing:
            (self._job.out / name).unlink()

    def _read_journal(self) -> dict[int, bytes]:
        """The lines of photographs that need not be done again, by index; a torn end of the journal is cut off.

        What could not be used is tried once more: it may have been mended since.
        """
        known, length = {}, 0
        for entry in (self._unfinished / JOURNAL).read_bytes().splitlines(keepends=True):
            try:
                told = json.loads(entry) if entry.endswith(b"\n") else None
            except ValueError:
                told = None
            if told is None:
                break
            known[told["row"]["file"]] = told
            length += len(entry)
        os.ftruncate(self._journal, length)
        lines = {}
        for index, photograph in enumerate(self._photographs):
            told = known.get(str(photograph.file))
            if told and told["row"].get("output") == photograph.name and told["state"] == _state(photograph.file):
                lines[index] = table.line(told["row"])
        return lines

    def _check_made_with(self, made_with: dict[str, str | None]) -> None:
        """Rows of one table come from one version, engine and precision, its pictures from one wish."""
        known = self._unfinished / MADE_WITH
        now = {**made_with, "masks": str(self._job.masks), "overlays": str(self._job.overlays)}
        with _writing(self._job.out):
            if known.exists() and self._lines:
                before = json.loads(known.read_text(encoding="utf-8"))
                differing = [
                    f"{name} {before.get(name)}, now {value}"
                    for name, value in now.items()
                    if before.get(name) != value
                ]
                if differing:
                    raise InvalidConfiguration(
                        f"{self._job.out} holds an unfinished run made with {'; '.join(differing)}: "
                        "go on with the same options, or begin anew with --overwrite"
                    )
            known.write_text(json.dumps(now), encoding="utf-8")

    def _keep(self, index: int, row: Row) -> None:
        self._lines[index] = table.line(row)
        entry = {"row": row, "state": _state(self._photographs[index].file)}
        with _writing(self._job.out):
            _append(self._journal, json.dumps(entry).encode() + b"\n")

    def _finish(self) -> None:
        whole = self._unfinished / TABLE
        with whole.open("wb") as file:
            file.write(table.HEADER.encode())
            file.writelines(self._lines[index] for index in range(len(self._photographs)))
        if self._parquet:
            table.write_parquet(whole, self._unfinished / PARQUET)
            table.flush_to_disk(self._unfinished / PARQUET)
            (self._unfinished / PARQUET).replace(self._job.out / PARQUET)
        table.flush_to_disk(whole)
        whole.replace(self._job.out / TABLE)
        shutil.rmtree(self._unfinished)


def _state(file: Path) -> list[int]:
    """Size and time of the last change: a photograph that is another by now is done anew. Empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def open_alone(file: Path) -> int:
    """A descriptor to append to; while it is open, nobody else gets one. A killed process lets go of it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InvalidConfiguration(f"another run is at work in {file.parent.parent}") from None
    return descriptor


def _append(descriptor: int, data: bytes) -> None:
    """All of it, or OSError; without a buffer that would try again when it is closed."""
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{error.filename or out}: {error.strerror or error}") from error


# --- the workers


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    line: Connection
    at_hand: deque[int]  # photographs, in the order in which it works on them
    since: float  # when it was last done with one, or got the first
    ready: bool = False


def _crew(
    photographs: Sequence[Photograph],
    job: Job,
    to_do: deque[int],
    count: int,
    check_made_with: Callable[[dict[str, str | None]], None],
) -> Iterator[tuple[int, Done]]:
    """Each of `to_do` with what came of it, as soon as it is there.

    Where a worker dies or takes too long, one of the photographs that it had at hand is to blame: each of them is tried
    again, alone.
    """
    crew = [_started(job) for _ in range(count)]
    suspects: set[int] = set()
    try:
        while to_do or any(worker.at_hand or not worker.ready for worker in crew):
            speaking = connection.wait([worker.line for worker in crew], _patience_s(crew, job))
            for worker in list(crew):
                if worker.line not in speaking:
                    continue
                try:
                    said = worker.line.recv()
                except (EOFError, ConnectionError):
                    yield from _buried(worker, WorkerEnded(_death(worker.process)), photographs, to_do, suspects)
                    crew.remove(worker)
                    if to_do:
                        crew.append(_started(job))
                    continue
                match said:
                    case Ready():
                        check_made_with(said.made_with)
                        worker.ready = True
                        _hand_out(worker, photographs, to_do, suspects, job.together, len(crew))
                    case Done():
                        index = worker.at_hand.popleft()
                        worker.since = time.monotonic()
                        _hand_out(worker, photographs, to_do, suspects, job.together, len(crew))
                        yield index, said
                    case Stop():
                        raise said.error
            for worker in [one for one in crew if (left := _left_s(one, job)) is not None and left <= 0]:
                error = TookTooLong(f"not done after {LONGEST_S:.0f} s")
                yield from _buried(worker, error, photographs, to_do, suspects)
                crew.remove(worker)
                if to_do:
                    crew.append(_started(job))
    finally:
        for worker in crew:
            _end(worker)


def _started(job: Job) -> _Worker:
    """A new process that looks for modules where this one does, and does not hear Ctrl-C."""
    ours, its = socket.socketpair()
    with its:
        descriptor = str(its.fileno())
        path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", START_WORKER, descriptor],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    line = Connection(ours.detach())
    with contextlib.suppress(ConnectionError):  # if it has died already, the next look at the line will tell
        line.send(job)
    return _Worker(process, line, deque(), time.monotonic())


def _hand_out(
    worker: _Worker,
    photographs: Sequence[Photograph],
    to_do: deque[int],
    suspects: set[int],
    together: int,
    crew: int,
) -> None:
    """Enough to keep a worker busy; towards the end less, so that all of them end together."""
    enough = max(1, min(AHEAD * together, len(to_do) // crew))
    while to_do and len(worker.at_hand) < enough and not suspects.intersection(worker.at_hand):
        if to_do[0] in suspects and worker.at_hand:
            return
        index = to_do.popleft()
        if not worker.at_hand:
            worker.since = time.monotonic()
        worker.at_hand.append(index)
        with contextlib.suppress(ConnectionError):  # it has died, and the next look at the line will tell
            worker.line.send(photographs[index])


def _buried(
    worker: _Worker, error: CupDiscError, photographs: Sequence[Photograph], to_do: deque[int], suspects: set[int]
) -> Iterator[tuple[int, Done]]:
    """Who alone was at hand when a worker died has had its turn; where several were, each gets one of its own."""
    _end(worker)
    if not worker.ready:
        raise error
    if len(worker.at_hand) == 1:
        index = worker.at_hand.popleft()
        yield index, Done({"file": str(photographs[index].file), "error": error.code}, str(error))
    suspects.update(worker.at_hand)
    to_do.extendleft(reversed(worker.at_hand))


def _end(worker: _Worker) -> None:
    worker.line.close()
    worker.process.kill()
    worker.process.wait()


def _death(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"its process ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"


def _left_s(worker: _Worker, job: Job) -> float | None:
    """Until it must be done with the first photograph at hand; a service has a limit of its own."""
    if not worker.at_hand or not isinstance(job.by, Here):
        return None
    return worker.since + LONGEST_S - time.monotonic()


def _patience_s(crew: Sequence[_Worker], job: Job) -> float | None:
    left = [left for worker in crew if (left := _left_s(worker, job)) is not None]
    return max(0.0, min(left)) if left else None
