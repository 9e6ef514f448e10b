"""The server around the application: its protocol's limits, and how it stops."""

import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.protocol import LARGEST_HEAD, Connections
from service.settings import Settings


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


def configured(app: FastAPI, settings: Settings, host: str, port: int) -> uvicorn.Config:
    """uvicorn, with the limits of the settings."""
    connections = Connections(
        settings.max_connections,
        settings.max_connections_per_address,
        settings.head_timeout_s,
        settings.write_timeout_s,
        app.state.metrics,
    )
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=connections.protocol(),
        ws="none",
        log_config=None,  # logs are set up already
        access_log=False,  # each request is logged without what clients wrote into their paths
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.stop_grace_s,  # type: ignore[arg-type]
    )


def run(app: FastAPI, settings: Settings, host: str, port: int) -> None:
    """Answer until told to stop."""
    StoppingServer(configured(app, settings, host, port), app, settings.stop_delay_s).run()
