"""Decoding that costs a hostile photograph its own request only: in processes that are killed when it takes too much.

What the header proves to cost little is decoded in this process, as that is quicker: a baseline JPEG, a still PNG, an
uncompressed BMP, of no more pixels than `cost.LARGEST_HERE`. All else (progressive JPEG, TIFF, WebP, a JPEG or PNG of
40 megapixels that is not reduced, …) goes to a process with limits.
"""

import contextlib
import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model import errors, images
from model.errors import Overloaded, PhotographError, PhotographTooCostly, TooManyPixels, UnreadablePhotograph
from model.images import Decoded, Limits
from service.cost import Cost, cost_of
from service.decoder import LONGEST_MESSAGE, READY, REQUEST

CAN_SEPARATE = hasattr(os, "memfd_create")  # Linux; elsewhere all is decoded in this process
START = "import sys; from service.decoder import main; main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))"
PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")  # of the environment, which may hold secrets
START_S = 20.0  # for a new process to begin, on a machine that is busy
TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PATIENCE = 2  # times the limit may pass where the process hardly had a processor: not the file is slow, but the machine
RAISED = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PhotographError)
}

JPEG_FILL = b"\xff" * 64  # a marker may be preceded by any number of these; no camera writes many


class Decoders:
    """A few processes, started when first needed. Safe to call from several threads. To be closed.

    Args:
        processes: at most; as many photographs are decoded at a time, in whichever process.
        memory_bytes: that decoding one photograph may take.
        timeout_s: that it may take.
    """

    def __init__(self, processes: int, memory_bytes: int, timeout_s: float) -> None:
        self._memory_bytes, self._timeout_s = memory_bytes, timeout_s
        self._turns = threading.BoundedSemaphore(processes)
        self._idle: list[_Process] = []
        self._closed = False
        weakref.finalize(self, _end_all, self._idle)  # whoever forgets to close leaves no process behind

    def decode(self, data: bytes, limits: Limits, smallest_side: int | None = None) -> Decoded:
        """The photograph in an encoded file.

        Raises:
            PhotographError: as `images.decode`.
            PhotographTooCostly: it took too much memory or time.
            Overloaded: no process could be started for it.
        """
        if not CAN_SEPARATE or not 0 < len(data) <= limits.max_bytes:
            return images.decode(data, limits, smallest_side)
        cost = cost_of(data, smallest_side)
        if stays_here(data, cost):
            believed = replace(limits, max_pixels=min(limits.max_pixels, cost.whole))
            try:
                return images.decode(data, believed, smallest_side)
            except TooManyPixels:
                if cost.whole > limits.max_pixels:
                    raise
                # it tells two sizes, and the reader has found the larger one
        with self._turns:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _start(self._memory_bytes, self._timeout_s)
            try:
                answer, pixels = process.ask(data, limits, smallest_side)
            except BaseException:
                process.end()
                raise
            self._idle.append(process)
            if self._closed:
                _end_all(self._idle)
        if "code" in answer:
            raise RAISED[answer["code"]](answer["detail"])
        whole = answer["whole_shape"]
        return Decoded(pixels, answer["format"], answer["reduction"], whole and (whole[0], whole[1]))

    def close(self) -> None:
        """End the processes. One that is at work ends when it has answered."""
        self._closed = True
        _end_all(self._idle)


@dataclass(frozen=True)
class _Process:
    """One process that decodes, and the socket to it."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    timeout_s: float

    def ask(self, data: bytes, limits: Limits, smallest_side: int | None) -> tuple[dict[str, Any], np.ndarray]:
        """What it answers, and the pixels; none where it answers with an error."""
        request = REQUEST.pack(len(data), limits.max_bytes, limits.max_pixels, limits.min_side, smallest_side or 0)
        file = os.memfd_create("photograph")
        try:
            _write(file, data)
            try:
                self.socket.settimeout(self.timeout_s)
                socket.send_fds(self.socket, [request], [file])
                message, files = self._answer()
            except OSError:
                message, files = b"", []
        finally:
            os.close(file)
        try:
            answer: dict[str, Any] = json.loads(message)
            return answer, _pixels(files[0], answer["shape"]) if files else np.empty(0, np.uint8)
        except (ValueError, KeyError, TypeError, OSError) as error:  # it died, or something else speaks in its place
            raise UnreadablePhotograph("the decoder gave up on the file") from error
        finally:
            for file in files:
                os.close(file)

    def _answer(self) -> tuple[bytes, list[int]]:
        """Its message, and the file that came with it.

        Raises:
            PhotographTooCostly: it has not answered in time.
        """
        before = self._processor_s()
        for _ in range(PATIENCE):
            try:
                message, files, _, _ = socket.recv_fds(self.socket, LONGEST_MESSAGE, 1)
                return message, files
            except TimeoutError:
                if self._processor_s() - before > self.timeout_s / 2:
                    break
        raise PhotographTooCostly(f"decoding takes longer than {self.timeout_s:g} s")

    def _processor_s(self) -> float:
        """What it has used of processors so far."""
        after_name = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_S

    def end(self) -> None:
        """Kill it."""
        self.socket.close()
        self.process.kill()
        self.process.wait()


def _end_all(processes: list[_Process]) -> None:
    with contextlib.suppress(IndexError):  # another thread may be ending them too
        while True:
            processes.pop().end()


def _start(memory_bytes: int, timeout_s: float) -> _Process:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno()), str(memory_bytes), str(timeout_s)],
                pass_fds=(theirs.fileno(),),
                env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders write what they find in a file
            )
        except OSError as error:  # no memory, too many files or processes
            ours.close()
            raise Overloaded("the process that decodes photographs cannot be started") from error
    started = _Process(process, ours, timeout_s)
    said = b""
    ours.settimeout(START_S)
    with contextlib.suppress(OSError):
        said = ours.recv(len(READY))
    if said != READY:
        started.end()
        raise Overloaded("the process that decodes photographs does not start")
    return started


def _pixels(file: int, shape: list[int]) -> np.ndarray:
    """The array in a file of memory, which the sender can make no smaller any more."""
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(shape)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def stays_here(data: bytes, cost: Cost) -> bool:
    """Whether a file is decoded in this process, by what its first bytes tell and by what no camera writes anywhere."""
    return cost.is_little and not (data.startswith(b"\xff") and JPEG_FILL in data)
