"""The process that decodes one photograph after the other, and may be killed over any of them.

It is started by `service.decoding` with one end of a socket. A request is a struct and a file of memory with the
encoded photograph; the answer is JSON, and a file of memory with the pixels where there are any. No disk is touched.
"""

import json
import mmap
import os
import resource
import signal
import socket
import struct
from pathlib import Path

import numpy as np

from model import images
from model.errors import PhotographError
from model.images import Limits

REQUEST = struct.Struct("<QQQQQ")  # bytes; the three limits; the smallest side, 0 for none
LONGEST_MESSAGE = 4096
READY = b"ready"  # said once, before the first request
OPEN_FILES = 32
SPARED_S = 2.0  # beyond the time limit, for whoever waits to kill first


def main(descriptor: int, memory_bytes: int, timeout_s: float) -> None:
    """Decode until the other end hangs up."""
    _limit_itself(memory_bytes)
    with socket.socket(fileno=descriptor) as caller:
        caller.send(READY)
        while True:
            request, files, _, _ = socket.recv_fds(caller, REQUEST.size, 1)
            if not request:
                return
            _limit_time(timeout_s)
            answer, pixels = _decoded(request, files[0])
            socket.send_fds(caller, [json.dumps(answer).encode()], [] if pixels is None else [pixels])
            if pixels is not None:
                os.close(pixels)


def _decoded(request: bytes, file: int) -> tuple[dict[str, object], int | None]:
    length, max_bytes, max_pixels, min_side, smallest_side = REQUEST.unpack(request)
    try:
        with mmap.mmap(file, length, prot=mmap.PROT_READ) as mapped:
            data = mapped[:]
    finally:
        os.close(file)
    try:
        found = images.decode(data, Limits(max_bytes, max_pixels, min_side), smallest_side or None)
    except PhotographError as error:
        return {"code": error.code, "detail": str(error)}, None
    pixels = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(pixels, found.pixels.nbytes)
    with mmap.mmap(pixels, found.pixels.nbytes) as mapped:
        np.frombuffer(mapped, np.uint8)[:] = found.pixels.reshape(-1)
    described = {"format": found.format, "reduction": found.reduction, "whole_shape": found.whole_shape}
    return {**described, "shape": found.pixels.shape}, pixels


def _limit_itself(memory_bytes: int) -> None:
    """From now on so much more address space; no further process, no file on a disk, no core dump."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_FSIZE, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        resource.setrlimit(kind, (most, most))


def _limit_time(timeout_s: float) -> None:
    """Of the processor, for the next photograph: who waits kills earlier, unless it was killed itself.

    Not RLIMIT_CPU, which is for the whole life of the process: the kernel holds it against what it has counted at
    its ticks. With short bursts of work that was seen to be half as much again as what any clock tells, and killed
    decoders over good photographs after half an hour.
    """
    signal.setitimer(signal.ITIMER_PROF, timeout_s + SPARED_S)
