"""A service that really listens, with the protocol and the limits that `cupdisc serve` gives it."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from fastapi import FastAPI

from service.app import create_app
from service.server import StoppingServer, configured
from service.settings import Settings


@contextlib.contextmanager
def listening(settings: Settings, app: FastAPI | None = None) -> Iterator[int]:
    """Its port, on this machine; of an application made already, or of a new one."""
    app = app or create_app(settings)
    server = StoppingServer(configured(app, settings, "127.0.0.1", 0), app, settings.stop_delay_s)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def begin_request(
    port: int, photograph: bytes, query: str = "masks=none"
) -> tuple[Callable[[], bytes], Callable[[], None]]:
    """Send half a photograph; how to send the rest and read the answer, and how to hang up."""
    connection, half = connect(port), len(photograph) // 2
    head = f"POST /v1/segmentations?{query} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(photograph)}\r\n\r\n"
    connection.sendall(head.encode() + photograph[:half])
    time.sleep(0.5)

    def finish() -> bytes:
        connection.sendall(photograph[half:])
        received = answered(connection)
        connection.close()
        return received

    return finish, connection.close


def answered(connection: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received
