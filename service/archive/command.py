"""The command `cupdisc bulk`."""

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from model.cores import usable_cores
from model.errors import CupDiscError
from service.archive import run as archive
from service.archive.run import Outcome, Stopped, Wish
from service.archive.runners import LOCAL
from service.settings import Settings

LINE_EVERY_S = 30.0

out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)


def bulk(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="[PATTERN]... OUT [-- BEAM-OPTION...]",
            help="Patterns in quotes, files or folders, on disk or gs://; last, the folder or gs:// for the results.",
            show_default=False,
        ),
    ],
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", help="A CSV with a column `file`, on disk or gs://, beside patterns or in their place."),
    ] = None,
    registry: Annotated[str | None, typer.Option(help="A folder of versions, or gs://; by default what ships.")] = None,
    version: Annotated[str | None, typer.Option(help="A version or an alias.", show_default="production")] = None,
    engine: Annotated[str | None, typer.Option(help="openvino, tensorflow or auto.", show_default="auto")] = None,
    convention: Annotated[
        str | None,
        typer.Option(help="Draw as the annotators of this source do.", show_default="as the version was published"),
    ] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Write masks of disc and cup too.")] = False,
    runner: Annotated[
        str, typer.Option(help="Apache Beam's: FlinkRunner, DataflowRunner …; this one is here.")
    ] = LOCAL,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes on this machine.", show_default="one for each core")
    ] = 0,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Tables; each in one worker's memory once.", show_default="16"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove earlier results of ours first.")] = False,
) -> None:
    """Work through an archive with Apache Beam, on this machine or on many. Needs the extra `bulk`.

    Given again, the same command does what is missing. Exit code 1: some files could not be used, or nothing was begun;
    3: it stopped before the end.
    """
    first = next((number for number, place in enumerate(places) if place.startswith("--")), len(places))
    places, options = places[:first], places[first:]
    given = {"registry": registry, "version": version, "engine": engine}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise _fail("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()), 1) from None
    if not places:
        raise typer.BadParameter("the last argument is the folder for the results")
    wish = Wish(
        *(places[:-1], lists or (), places[-1], runner, workers or usable_cores(), options, masks, shards, overwrite),
        convention=convention,
    )
    try:
        outcome = archive.run(wish, settings, _progress())
    except Stopped as error:
        raise _fail(f"{error}; the same command goes on with the rest", 3) from None
    except CupDiscError as error:
        raise _fail(str(error), 1) from None
    _tell(outcome, wish.out)
    raise typer.Exit(1 if outcome.failed else 0)


def _progress() -> "_Lines":
    return _Lines()


class _Lines:
    """A line now and then; on a terminal a line that changes."""

    def __init__(self) -> None:
        self._told_s = 0.0

    def __call__(self, done: int, seconds: float) -> None:
        text = f"{done} done, {done / seconds:.1f}/s"
        if err.is_terminal:
            err.print(text, end="\r", highlight=False)
        elif seconds - self._told_s >= LINE_EVERY_S:
            self._told_s = seconds
            err.print(text, highlight=False)


def _tell(outcome: Outcome, place: str) -> None:
    counters, total = outcome.counters, outcome.total
    rate = f", {outcome.answered / outcome.seconds:.1f} a second" if outcome.answered else ""
    before = counters.get("done_before", 0)
    out.print(
        f"{outcome.answered} answered{rate}; {outcome.failed} could not be used; {before} were done before",
        highlight=False,
    )
    for name, count in sorted(counters.items()):
        if name.startswith(("failed_", "reason_")):
            out.print(f"  {name.replace('_', ' ', 1)}: {count}", highlight=False)
    if again := counters.get("named_again", 0):
        out.print(f"{again} named more than once, counted once", highlight=False)
    out.print(
        f"{total.answered} of {total.photographs} are in {place.removesuffix('/')}/results, see summary/summary.md",
        markup=False,
        highlight=False,
    )


def _fail(message: str, code: int) -> typer.Exit:
    err.print(f"cupdisc: {message}", style="red", markup=False, highlight=False)
    return typer.Exit(code)
