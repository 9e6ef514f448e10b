"""The commands `cupdisc versions …`: look into a registry, move its aliases, copy, sign and delete versions."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from model import signature
from model.cloud_registry import CloudRegistry
from model.errors import CupDiscError, InvalidConfiguration
from model.registry import Registry
from service.settings import Settings
from service.versions import registry_of

app = typer.Typer(invoke_without_command=True)
out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)

Location = Annotated[
    str | None,
    typer.Option("--registry", help="A folder, gs://bucket/prefix, or bundled; by default that of CUPDISC_REGISTRY."),
]
Alias = Annotated[str, typer.Argument(help="Such as production or candidate.", show_default=False)]
Version = Annotated[str, typer.Argument(help="Such as 2026.11.1, or an alias.", show_default=False)]
Expected = Annotated[
    str | None,
    typer.Option("--expected", help="Do it only if the alias points to this version now.", metavar="VERSION"),
]
Key = Annotated[Path | None, typer.Option("--key", help="Sign it with this private key (PEM).", dir_okay=False)]


@app.callback()
def versions(
    context: typer.Context,
    registry: Location = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Of gs:// too, look at every byte, which downloads them.")
    ] = False,
) -> None:
    """The versions of a registry, newest first. The exit code is 1 where one is unusable.

    The commands below change the registry. A running service takes changes up by itself.
    """
    if context.invoked_subcommand:
        if registry or verify:
            raise typer.BadParameter(f"options go behind the command {context.invoked_subcommand}")
        return
    with _told():
        table, unusable = _table(_open(registry), verify)
    out.print(table)
    raise typer.Exit(1 if unusable else 0)


@app.command()
def alias(name: Alias, version: Version, registry: Location = None, expected: Expected = None) -> None:
    """Point an alias at a version: roll it out."""
    with _told():
        found = _changeable(registry)
        before = found.aliases().get(name)
        target = found.resolve(version)
        found.set_alias(name, target, ... if expected is None else expected)
        _say(f"{name}: {before or 'nothing'} → {target}")


@app.command()
def unalias(name: Alias, registry: Location = None, expected: Expected = None) -> None:
    """Forget an alias; its version stays. A candidate without alias is no longer tried."""
    with _told():
        found = _changeable(registry)
        before = found.aliases().get(name)
        found.remove_alias(name, ... if expected is None else expected)
        _say(f"{name}: {before} → nothing")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The alias.")] = "production",
    registry: Location = None,
    expected: Expected = None,
) -> None:
    """Point an alias at the version that it pointed to before."""
    with _told():
        found = _changeable(registry)
        before = found.aliases().get(name)
        after = found.roll_back(name, ... if expected is None else expected)
        _say(f"{name}: {before} → {after}")


@app.command()
def copy(
    version: Version,
    source: Annotated[str, typer.Option("--from", help="The registry that has it.")] = "bundled",
    registry: Location = None,
    alias: Annotated[str | None, typer.Option(help="Then point this alias at it.")] = None,
    key: Key = None,
) -> None:
    """Copy a version from one registry into another, every digest checked; its signature, if it has one, too."""
    with _told(), tempfile.TemporaryDirectory(prefix="cupdisc-") as folder:
        here, there = _changeable(registry), _open(source)
        found = there.open(version)
        signed = there.signature(found.manifest.version)
        if key is not None:
            signed = Path(folder, "signature")
            signature.sign(found, key, signed)
        here.publish(found.folder, alias, signed)
        _say(f"{found.manifest.version} is in {here}{f', {alias} points to it' if alias else ''}")


@app.command()
def sign(
    version: Version,
    key: Annotated[Path, typer.Option("--key", help="The private key (PEM).", dir_okay=False, show_default=False)],
    registry: Location = None,
) -> None:
    """Put a signature beside a version, for services that trust the key (CUPDISC_TRUSTED_KEY)."""
    with _told(), tempfile.TemporaryDirectory(prefix="cupdisc-") as folder:
        registry_ = _changeable(registry)
        found = registry_.open(version)
        signature.sign(found, key, Path(folder, "signature"))
        registry_.sign(found.manifest.version, Path(folder, "signature"))
        _say(f"{found.manifest.version} is signed")


@app.command()
def delete(version: Annotated[str, typer.Argument(show_default=False)], registry: Location = None) -> None:
    """Remove a version that no alias points to, or what a broken upload left of one."""
    with _told():
        found = _changeable(registry)
        found.delete(version)
        _say(f"{version} is no longer in {found}")


def _table(found: Registry, verify: bool) -> tuple[Table, bool]:
    """What there is, and whether any of it cannot be used."""
    table = Table("version", "aliases", "created", "state", box=None, pad_edge=False)
    unusable, aliases = False, found.aliases()
    for name in found.versions():
        try:
            manifest = found.open(name).manifest if verify else found.manifest(name)
            created, state = manifest.created, "whole" if isinstance(found, CloudRegistry) and not verify else "good"
        except CupDiscError as error:
            created, state, unusable = "", str(error), True
        table.add_row(name, " ".join(key for key, target in aliases.items() if target == name), created, state)
    for name in found.incomplete() if isinstance(found, CloudRegistry) else ():
        table.add_row(name, "", "", "being uploaded, or broken off")
    return table, unusable


def _open(location: str | None) -> Registry:
    return registry_of(_settings(location))


def _changeable(location: str | None) -> Registry:
    settings = _settings(location)
    if settings.registry == "bundled":
        raise InvalidConfiguration("the version in the package stays as it is; name another registry with --registry")
    return registry_of(settings)


def _settings(location: str | None) -> Settings:
    given = {} if location is None else {"registry": location}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise InvalidConfiguration("; ".join(wrong)) from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors of ours end the command in words."""
    try:
        yield
    except CupDiscError as error:
        err.print(f"cupdisc: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False)
