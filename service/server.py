"""The server around the application: its protocol's limits, and how it stops."""

import asyncio
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.protocol import LARGEST_HEAD, Connections
from service.settings import Settings

Handler = Callable[[int, FrameType | None], Any]  # of a signal


class StoppingServer(uvicorn.Server):
    """uvicorn's, which on SIGTERM or SIGINT first says that it is not ready, and in the end exits with 0.

    A second signal spares the delay, a third one does not wait for answers under way.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, delay_s: float) -> None:
        super().__init__(config)
        self._app, self._delay_s = app, delay_s
        self._stop_at = float("inf")  # by time.monotonic

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop has come. Not handed on to uvicorn, which would let it kill the process in the end."""
        self.force_exit = self.should_exit
        self._stop_at = time.monotonic() + (0.0 if self._app.state.stopping else self._delay_s)
        self.should_exit = self._stop_at <= time.monotonic()
        self._app.state.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        self.should_exit = self.should_exit or time.monotonic() >= self._stop_at
        return await super().on_tick(counter)


def stop_gently(app: FastAPI, delay_s: float) -> None:
    """The same delay for a server of uvicorn's own, as in a replica; to be called when it has its signal handlers."""

    def gently(handler: Handler) -> Handler:
        def told(sig: int, frame: FrameType | None) -> None:
            spared, app.state.stopping = app.state.stopping or not delay_s, True
            if spared:
                handler(sig, frame)
            else:
                loop.call_soon_threadsafe(loop.call_later, delay_s, handler, sig, None)

        return told

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, gently(handler))


def connections(app: FastAPI, settings: Settings) -> Connections:
    """What connections may cost."""
    return Connections(
        settings.max_connections,
        settings.max_connections_per_address,
        settings.head_timeout_s,
        settings.write_timeout_s,
        app.state.metrics,
    )


def uvicorn_settings(settings: Settings) -> dict[str, Any]:
    """Arguments of uvicorn's, the same for one process and for each of several."""
    return {
        "ws": "none",
        "log_config": None,  # logs are set up already
        "access_log": False,  # each request is logged without what clients wrote into their paths
        "server_header": False,
        "h11_max_incomplete_event_size": LARGEST_HEAD,
        "timeout_keep_alive": settings.keep_alive_s,
        "timeout_graceful_shutdown": settings.stop_grace_s,
    }


def configured(app: FastAPI, settings: Settings, host: str, port: int) -> uvicorn.Config:
    """uvicorn, with the limits of the settings."""
    protocol = connections(app, settings).protocol()
    return uvicorn.Config(app, host=host, port=port, http=protocol, **uvicorn_settings(settings))


def run(app: FastAPI, settings: Settings, host: str, port: int) -> None:
    """Answer until told to stop."""
    StoppingServer(configured(app, settings, host, port), app, settings.stop_delay_s).run()
