"""The command `cupdisc`: serve, segment files, list versions, examine the installation."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.errors import CupDiscError
from service import key_commands, logs, server, supervisor, version_commands
from service.app import create_app
from service.archive import command as archive_command
from service.doctor import examine
from service.security import check_exposure
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)

Registry = Annotated[
    str | None, typer.Option(help="A folder of versions, or gs://bucket/prefix; by default what ships with CupDisc.")
]
Version = Annotated[str | None, typer.Option(help="A version or an alias.", show_default="production")]
Engine = Annotated[str | None, typer.Option(help="openvino, tensorflow or auto.", show_default="auto")]

Convention = Annotated[
    str | None,
    typer.Option(help="Draw as the annotators of this source do.", show_default="as the version was published"),
]

app.add_typer(key_commands.app, name="keys")
app.add_typer(version_commands.app, name="versions")


@app.callback()
def main() -> None:
    """Optic disc, optic cup and cup-to-disc ratio from eye-fundus photographs.

    Options not given here are read from the environment, CUPDISC_REGISTRY and so on.
    """


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reached from other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    registry: Registry = None,
    version: Version = None,
    engine: Engine = None,
    workers: Annotated[str, typer.Option(help="Processes behind the address, or auto: one for every two cores.")] = "1",
) -> None:
    """Answer over HTTP until stopped."""
    settings = _settings(registry=registry, version=version, engine=engine)
    logs.configure(settings.log_format, settings.log_level)
    try:
        check_exposure(settings, host)
        if (several := supervisor.number_of(workers)) > 1:
            raise typer.Exit(0 if supervisor.run(settings, host, port, several) else 1)
        service = create_app(settings)
    except CupDiscError as error:
        raise _fail(str(error)) from None
    if service.state.live.default is None:
        refused = service.state.live.refused
        reasons = [f"version {name}: {why}" for name, why in refused.items()] or [f"no version in {settings.registry}"]
        raise _fail("nothing to serve; " + "; ".join(reasons))
    server.run(service, settings, host, port)


@app.command()
def segment(
    photographs: Annotated[
        list[Path],
        typer.Argument(help="Files, folders, or patterns in quotes: JPEG, PNG, TIFF, BMP or WebP.", show_default=False),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Where the results go; made if need be.")],
    url: Annotated[str | None, typer.Option(help="A service that does the work, in place of this machine.")] = None,
    key: Annotated[str | None, typer.Option(envvar="CUPDISC_KEY", help="For a service that asks for one.")] = None,
    registry: Registry = None,
    version: Version = None,
    engine: Engine = None,
    convention: Convention = None,
    masks: Annotated[bool, typer.Option(help="Write masks of disc and cup.")] = True,
    overlays: Annotated[bool, typer.Option(help="Write photographs with the outlines drawn on them.")] = True,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the table as Parquet too.")] = False,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Photographs worked on at a time.", show_default="one for each core, 4 with --url"),
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of the same names.")] = False,
) -> None:
    """Write overlay, masks and a table of numbers for each photograph. No server is needed.

    A folder stands for all photographs in it and below. A file that cannot be used is reported and skipped; the exit
    code then is 1. A run that was killed goes on when the same command is given again. Exit code 3: it stopped before
    the end, because the results cannot be written or the service is gone.
    """
    from service import segment_command  # with much that a service need not wait for when it starts

    if url and (registry or engine):
        raise typer.BadParameter("--registry and --engine are the service's own, they do not go with --url")
    settings = _settings(registry=registry, version=version, engine=engine)
    wish = segment_command.Wish(
        photographs, folder, url, key, version, convention, masks, overlays, parquet, workers, overwrite
    )
    raise typer.Exit(segment_command.run(wish, settings, out, err))


app.command("bulk")(archive_command.bulk)


@app.command()
def doctor(registry: Registry = None, version: Version = None, engine: Engine = None) -> None:
    """Is everything in order? Installation, engines, versions, speed. The exit code is 1 where something is broken."""
    settings = _settings(registry=registry, version=version, engine=engine)
    table = Table(box=None, pad_edge=False, show_header=False)
    colours = {"good": "green", "absent": "dim", "broken": "red"}
    broken = 0
    with err.status("Examining"):
        for check in examine(settings):
            broken += check.state == "broken"
            table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.name, escape(check.found))
    out.print(table)
    out.print(f"{broken} broken" if broken else "ready to work", style="red" if broken else "green", highlight=False)
    raise typer.Exit(1 if broken else 0)


def _settings(**given: str | None) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise _fail("; ".join(wrong)) from None


def _fail(message: str) -> typer.Exit:
    err.print(f"cupdisc: {message}", style="red", markup=False, highlight=False)
    return typer.Exit(1)
