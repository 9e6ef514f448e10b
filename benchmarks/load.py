"""Load: many clients that send photographs to a running service, each as soon as its last answer came, or at a rate.

    python -m benchmarks.load http://127.0.0.1:8000 examples/normal_left_eye.jpg --clients 8 --seconds 10

A client of its own on bare sockets, because a comfortable one costs as much of a shared core as the service does. What
it costs all the same is reported.
"""

import argparse
import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PATH = "/v1/segmentations?masks=rle"
GIVES_UP_S = 60.0  # on one answer
HEADERS = {"Content-Type": "application/octet-stream"}
LONGEST_TOLD = 500  # characters of an answer that was not expected
READ_AHEAD = 2**20  # bytes that a connection may hold unread


@dataclass(frozen=True)
class Sample:
    """One request: when it began, on the clock of `time.perf_counter`; how long it took; and what came of it."""

    began_s: float
    took_s: float
    outcome: str  # the status, or the name of the exception
    retry_after: str | None
    told: str | None = None  # what was answered where that is neither the result nor 503


@dataclass
class Report:
    """What one run of load showed."""

    clients: int
    seconds: float
    samples: list[Sample] = field(repr=False)
    cpu_s: float  # of this process; it shares the cores with the service

    def took_ms(self, outcome: str = "200") -> list[float]:
        """The latencies of requests that ended so, as the clients saw them, in the order of their beginning."""
        return [each.took_s * 1000 for each in self.samples if each.outcome == outcome]

    @property
    def rate(self) -> float:
        """Photographs answered per second."""
        return len(self.took_ms()) / self.seconds

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each status or exception came."""
        return dict(Counter(each.outcome for each in self.samples))

    @property
    def errors(self) -> int:
        """Requests that ended otherwise than with 200 or 503."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in ("200", "503"))

    def row(self) -> str:
        """A row of the table whose head is `HEAD`."""
        cells = [
            str(self.clients),
            f"{self.rate:.1f}",
            *(f"{quantile(self.took_ms(), q):.0f}" for q in (0.5, 0.95, 0.99)),
        ]
        each = self.cpu_s / max(1, len(self.samples)) * 1000
        outcomes = ", ".join(f"{count} × {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"| {' | '.join(cells)} | {outcomes} | {each:.1f} |"


HEAD = (
    "| clients | photographs per s | p50 ms | p95 ms | p99 ms | outcomes | client CPU ms per request |\n"
    "|---|---|---|---|---|---|---|"
)


def quantile(values: Sequence[float], share: float) -> float:
    """NaN where there are no values."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Line:
    """One connection to the service, opened anew where it broke."""

    def __init__(self, url: str, path: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {self._host}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._head = "\r\n".join(lines)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes) -> Sample:
        """One request, the answer read whole."""
        began = time.perf_counter()
        retry_after = told = None
        try:
            async with asyncio.timeout(GIVES_UP_S):
                outcome, head, answer = await self._exchange(body)
            asked = re.search(rb"\r\nretry-after: *([^\r]*)", head, re.IGNORECASE)
            retry_after = asked[1].decode("latin-1") if asked else None
            told = None if outcome in ("200", "503") else answer[:LONGEST_TOLD].decode(errors="replace")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            outcome = type(error).__name__
            self.close()
        return Sample(began, time.perf_counter() - began, outcome, retry_after, told)

    async def _exchange(self, body: bytes) -> tuple[str, bytes, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=READ_AHEAD)
        reader, writer = self._streams
        writer.write(f"{self._head}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1"))
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if length:
            answer = await reader.readexactly(int(length[1]))
        else:
            answer = b""
            while size := int(await reader.readline(), 16):
                answer += (await reader.readexactly(size + 2))[:size]
            await reader.readline()
        if re.search(rb"\r\nconnection: *close", head, re.IGNORECASE):
            self.close()
        return head.split(b" ", 2)[1].decode("ascii"), head, answer

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def run(
    url: str,
    photographs: Sequence[bytes],
    clients: int,
    seconds: float,
    *,
    path: str = PATH,
    rate: float = 0.0,
    headers: dict[str, str] | None = None,
) -> Report:
    """Send photographs in turn for a time, and wait for the last answers.

    Args:
        url: of a running service, `http` alone.
        clients: connections, each with one request at a time.
        rate: requests per second over all clients, begun on time whatever the service does; a client that is still
            waiting then is passed over, so take as many as may wait. 0: each client as fast as it is answered.
        headers: beside the content type, for a key for instance.
    """
    given = {**HEADERS, **(headers or {})}
    lines = [Line(url, path, given) for _ in range(clients)]
    bodies = itertools.cycle(photographs)
    samples: list[Sample] = []
    cpu = time.process_time()
    began = time.perf_counter()

    async def as_fast_as_answered(line: Line) -> None:
        while time.perf_counter() < began + seconds:
            samples.append(await line.send(next(bodies)))
            if samples[-1].outcome not in ("200", "503"):
                await asyncio.sleep(0.05)  # whoever is not there is not asked a thousand times a second

    async def one(line: Line) -> None:
        samples.append(await line.send(next(bodies)))
        idle.append(line)

    idle = list(lines)
    try:
        async with asyncio.TaskGroup() as tasks:
            if not rate:
                for line in lines:
                    tasks.create_task(as_fast_as_answered(line))
            for number in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                if idle:
                    tasks.create_task(one(idle.pop()))
                else:
                    samples.append(Sample(time.perf_counter(), 0.0, "no client free", None))
    finally:
        for line in lines:
            line.close()
    took = time.perf_counter() - began
    return Report(clients, took, sorted(samples, key=lambda each: each.began_s), time.process_time() - cpu)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0: as fast as they are answered")
    parser.add_argument("--path", default=PATH)
    options = parser.parse_args()
    bodies = [path.read_bytes() for path in options.photographs]
    wanted = run(options.url, bodies, options.clients, options.seconds, path=options.path, rate=options.rate)
    report = asyncio.run(wanted)
    print(f"{HEAD}\n{report.row()}")


if __name__ == "__main__":
    main()
