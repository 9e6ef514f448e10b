"""The command `cupdisc`: serve, segment files, list versions, examine the installation."""

import contextlib
import copy
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from uvicorn.config import LOGGING_CONFIG

from model.errors import CupDiscError
from model.images import Limits
from model.registry import open_registry
from model.segmenter import Segmenter
from service.app import create_app
from service.calls import Choices
from service.client import Client
from service.doctor import examine
from service.files import TABLE, segment_here, write_results
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)

Registry = Annotated[str | None, typer.Option(help="A folder of versions; by default the one that ships with CupDisc.")]
Version = Annotated[str | None, typer.Option(help="A version or an alias.", show_default="production")]
Engine = Annotated[str | None, typer.Option(help="openvino, tensorflow or auto.", show_default="auto")]


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
) -> None:
    """Answer over HTTP until stopped."""
    log = _logging()
    logging.config.dictConfig(log)
    settings = _settings(registry=registry, version=version, engine=engine)
    try:
        service = create_app(settings)
    except CupDiscError as error:
        raise _fail(str(error)) from None
    if service.state.live.default is None:
        refused = service.state.live.refused
        reasons = [f"version {name}: {why}" for name, why in refused.items()] or [f"no version in {settings.registry}"]
        raise _fail("nothing to serve; " + "; ".join(reasons))
    uvicorn.run(service, host=host, port=port, log_config=log, server_header=False)


@app.command()
def segment(
    files: Annotated[list[Path], typer.Argument(help="JPEG, PNG, TIFF, BMP or WebP.", show_default=False)],
    folder: Annotated[Path, typer.Option("--out", help="Where the results go; made if need be.")],
    url: Annotated[str | None, typer.Option(help="A service that does the work, in place of this machine.")] = None,
    registry: Registry = None,
    version: Version = None,
    engine: Engine = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of the same names.")] = False,
) -> None:
    """Write overlay, masks and a table of numbers for each photograph. No server is needed.

    A file that cannot be used is reported and skipped; the exit code then is 1.
    """
    if url and (registry or engine):
        raise typer.BadParameter("--registry and --engine are the service's own, they do not go with --url")
    settings = _settings(registry=registry, version=version, engine=engine)
    limits = Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
    failed = 0
    try:
        with contextlib.ExitStack() as stack:
            if url:
                client = stack.enter_context(Client(url))
                client.versions()  # is anybody there? Otherwise each file would wait in vain
                choices: Choices = {"version": version} if version else {}
                segmented = client.segment_many(files, **choices)
            else:
                artefact = open_registry(settings.registry).open(settings.version)
                segmenter = Segmenter(artefact, settings.engine, settings.precision, settings.threads)
                segmented = segment_here(files, segmenter, limits)
            results = write_results(files, segmented, folder, limits, overwrite)
            for file, wrong in track(results, "Segmenting", total=len(files), console=err, transient=True):
                if wrong:
                    failed += 1
                    err.print(f"{file}: {wrong}", style="red", markup=False, highlight=False)
    except CupDiscError as error:
        raise _fail(str(error)) from None
    out.print(f"{len(files) - failed} of {len(files)} done, see {folder / TABLE}", markup=False, highlight=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def versions(registry: Registry = None) -> None:
    """The versions of a registry, newest first. The exit code is 1 where one is unusable."""
    settings = _settings(registry=registry)
    table = Table("version", "aliases", "created", "state", box=None, pad_edge=False)
    unusable = False
    try:
        found = open_registry(settings.registry)
        aliases = found.aliases()
        for name in found.versions():
            try:
                created, state = found.open(name).manifest.created, "good"
            except CupDiscError as error:
                created, state, unusable = "", str(error), True
            table.add_row(name, " ".join(key for key, target in aliases.items() if target == name), created, state)
    except CupDiscError as error:
        raise _fail(str(error)) from None
    out.print(table)
    raise typer.Exit(1 if unusable else 0)


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


class WithoutQuery(logging.Filter):
    """Cuts the query off the access log's paths: nothing about a photograph is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, version, status = record.args
            record.args = (client, method, str(path).partition("?")[0], version, status)
        return True


def _logging() -> dict[str, Any]:
    """uvicorn's own, with our messages in it and without what clients may have written into their queries."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"without_query": {"()": WithoutQuery}}
    config["handlers"]["access"]["filters"] = ["without_query"]
    config["loggers"]["PIL"] = {"level": "WARNING"}  # at DEBUG it logs what cameras write about patients
    config["loggers"]["cupdisc"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
