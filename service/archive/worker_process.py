"""One worker of the runner on this machine: Beam's own, in a process, without the lines that it logs about itself."""

import logging
import os
import sys
import threading
import time

LOOK_EVERY_S = 0.5


def main() -> None:
    """Work until the runner hangs up, or is no more."""
    logging.disable(logging.CRITICAL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _end_with(runner: int) -> None:
    """Nobody asks for what is on the way once the runner is dead, and rows that came later would be nobody's."""
    while os.getppid() == runner:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    main()
