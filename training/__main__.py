"""`python -m training`: the command `cupdisc-train`."""

from training.cli import main

main()
