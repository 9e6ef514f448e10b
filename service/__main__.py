"""`python -m service`: the command `cupdisc`."""

from service.cli import app

app(prog_name="cupdisc")
