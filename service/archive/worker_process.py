"""One worker of the runner on this machine: Beam's own, in a process, without the lines that it logs about itself."""

import logging
import sys


def main() -> None:
    """Work until the runner hangs up."""
    logging.disable(logging.CRITICAL)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
