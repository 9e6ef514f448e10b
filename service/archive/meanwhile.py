"""Something small that goes on beside the work, as long as that lasts."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(act: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do it every so many seconds in a thread, the first time after that long; at the end wait for the last one.

    `act` handles its own errors: one that escapes it ends the repetitions.
    """
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(every_s):
            act()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
