"""In bad company: what a well-behaved client notices of others that drip, stop, say nothing, never read, or send much.

Each neighbour is there while the client asks as fast as it is answered, with photographs of a megapixel.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import load
from benchmarks.growth import enlarged
from benchmarks.photographs import varied
from benchmarks.serving import Service, serving

SILENT, DRIPPING, STOPPED, NOT_READING = 1000, 50, 50, 20  # connections
LARGE = 24  # megapixels
DRIP_S = 1.0  # between two bytes
OVERLAY = "/v1/segmentations?render=overlay"

Neighbour = Callable[[Service], AbstractAsyncContextManager[None]]


def measure(quick: bool = False) -> str:
    """Markdown."""
    return asyncio.run(_measured(0.5 if quick else 5.0))


async def _measured(seconds: float) -> str:
    neighbours: dict[str, Neighbour] = {
        "nobody": _nobody,
        f"{SILENT} connections that send nothing": _silent,
        f"{DRIPPING} senders of a byte a second": _dripping,
        f"{STOPPED} senders that stop in the middle": _stopped,
        f"{NOT_READING} clients that never read their overlay": _not_reading,
        f"one that sends {LARGE} megapixels all the time": _large,
    }
    photographs = list(varied(4, (1000,)))
    lines = ["| neighbours | p50 ms | p95 ms | p50, that alone = 1 | other than 200 |", "|---|---|---|---|---|"]
    with serving() as service:
        await load.run(service.url, photographs, 2, min(2.0, 2 * seconds))  # warm
        async with _large(service):
            await load.run(service.url, photographs, 1, seconds)  # its memory, too, is taken before the first look
        before = _left_over(service)
        alone = 0.0
        for name, neighbour in neighbours.items():
            async with neighbour(service):
                await load.run(service.url, photographs, 1, seconds / 5)  # until they are all there
                report = await load.run(service.url, photographs, 1, seconds)
            p50, p95 = (load.quantile(report.took_ms(), share) for share in (0.5, 0.95))
            alone = alone or p50
            other = len(report.samples) - len(report.took_ms())
            lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {p50 / alone:.2f} | {other} |")
        await asyncio.sleep(1.0)
        after = _left_over(service)
    told = (
        f"Resident memory before and after: {before[0]:.0f}, {after[0]:.0f} MiB; open files: {before[1]}, {after[1]}."
    )
    return "\n".join([*lines, "", told])


def _left_over(service: Service) -> tuple[float, int]:
    return service.memory_mib(), len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


@contextlib.asynccontextmanager
async def _nobody(service: Service) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def _silent(service: Service) -> AsyncIterator[None]:
    async with _connections(service, SILENT, b""):
        yield


@contextlib.asynccontextmanager
async def _dripping(service: Service) -> AsyncIterator[None]:
    (photograph,) = varied(1, (1000,))
    async with _connections(service, DRIPPING, _head(len(photograph))) as connections:

        async def drip() -> None:
            for place in itertools.count():
                for connection in connections:
                    connection.send(photograph[place : place + 1])
                await asyncio.sleep(DRIP_S)

        dripping = asyncio.create_task(drip())
        try:
            yield
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


@contextlib.asynccontextmanager
async def _stopped(service: Service) -> AsyncIterator[None]:
    (photograph,) = varied(1, (1000,))
    async with _connections(service, STOPPED, _head(len(photograph)) + photograph[: len(photograph) // 2]):
        yield


@contextlib.asynccontextmanager
async def _not_reading(service: Service) -> AsyncIterator[None]:
    (photograph,) = varied(1, (1000,))
    async with _connections(service, NOT_READING, _head(len(photograph), OVERLAY) + photograph):
        await asyncio.sleep(2.0)  # for the answers to be made, and to stand before the doors
        yield


@contextlib.asynccontextmanager
async def _large(service: Service) -> AsyncIterator[None]:
    photograph = enlarged(LARGE)
    sending = asyncio.create_task(load.run(service.url, [photograph], 1, 3600.0))
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@contextlib.asynccontextmanager
async def _connections(service: Service, count: int, said: bytes) -> AsyncIterator[list[socket.socket]]:
    """So many, on each of which the same was said. Nothing is ever read from them."""
    loop, parts = asyncio.get_running_loop(), urlsplit(service.url)
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.socket()
            connections.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            await loop.sock_connect(connection, (parts.hostname, parts.port))
            if said:
                await loop.sock_sendall(connection, said)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def _head(length: int, path: str = load.PATH) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    print(measure())
