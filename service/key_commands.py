"""The commands `cupdisc keys …`: make keys and keep the file of those who may call."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from model.errors import InvalidConfiguration
from service import keys
from service.keys import Caller, Holder, Key, KeyFile

app = typer.Typer(no_args_is_help=True, help="Make keys, and keep the file of those who may call.")
out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)

File = Annotated[
    Path, typer.Option("--file", envvar="CUPDISC_KEYS", help="The file of callers.", dir_okay=False, show_default=False)
]
Name = Annotated[str, typer.Argument(help="Of the caller, for logs and limits.", show_default=False)]
Scopes = Annotated[list[str], typer.Option("--scope", help="segment or admin; may be given twice.")]
Days = Annotated[int, typer.Option(min=0, help="Until it expires; 0: never.")]
Rate = Annotated[str | None, typer.Option(help="Requests, such as 600/minute.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Requests at the same time.")]


@app.command()
def add(
    name: Name,
    file: File,
    scope: Scopes = ["segment"],  # noqa: B006 - typer copies it
    days: Days = 365,
    rate: Rate = None,
    concurrent: Concurrent = None,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Take a key of yours from standard input.")] = False,
) -> None:
    """Make a key and print it, this once: the file keeps its SHA-256 alone. A running service takes it up by itself."""
    key = sys.stdin.readline().strip() if from_stdin else keys.new_key()
    if not keys.SHORTEST <= len(key) <= keys.LONGEST:
        raise _fail(f"a key has {keys.SHORTEST} to {keys.LONGEST} characters")
    _append(file, Key, name, scope, days, rate, concurrent, sha256=keys.digest(key))
    if not from_stdin:
        out.print(key, highlight=False, markup=False)


@app.command()
def allow(
    name: Name,
    file: File,
    email: Annotated[str | None, typer.Option(help="That the issuer has verified.")] = None,
    subject: Annotated[str | None, typer.Option(help="Or the token's `sub`.")] = None,
    scope: Scopes = ["segment"],  # noqa: B006
    days: Days = 365,
    rate: Rate = None,
    concurrent: Concurrent = None,
) -> None:
    """Let the holder of an OpenID Connect token in; the issuer is CUPDISC_ISSUER."""
    _append(file, Holder, name, scope, days, rate, concurrent, email=email, subject=subject)


@app.command()
def remove(name: Name, file: File) -> None:
    """Turn a caller away from now on."""
    content = _read(file)
    left = KeyFile(
        keys=tuple(key for key in content.keys if key.name != name),
        holders=tuple(holder for holder in content.holders if holder.name != name),
    )
    if left == content:
        raise _fail(f"nobody is called {name} in {file}")
    keys.write(file, left)


@app.command("list")
def show(file: File) -> None:
    """Who may call. Nothing that is secret is shown, nor kept."""
    content = _read(file)
    table = Table("name", "by", "scopes", "expires", "rate", "at once", box=None, pad_edge=False)
    for caller in (*content.keys, *content.holders):
        expires = f"{caller.expires:%Y-%m-%d}{' (over)' * keys.is_expired(caller)}" if caller.expires else "never"
        by = "key" if isinstance(caller, Key) else "token"
        at_once = "" if caller.concurrent is None else str(caller.concurrent)
        table.add_row(caller.name, by, " ".join(sorted(caller.scopes)), expires, caller.rate or "", at_once)
    out.print(table, highlight=False)


def _append(
    file: Path,
    kind: type[Key] | type[Holder],
    name: str,
    scopes: list[str],
    days: int,
    rate: str | None,
    concurrent: int | None,
    **own: str | None,
) -> None:
    content = _read(file) if file.exists() else KeyFile()
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    fields = {"name": name, "scopes": scopes, "expires": expires, "rate": rate, "concurrent": concurrent, **own}
    try:
        caller: Caller = kind.model_validate(fields)
        field = "keys" if isinstance(caller, Key) else "holders"
        whole = {"keys": content.keys, "holders": content.holders}
        grown = KeyFile.model_validate({**whole, field: (*whole[field], caller)})
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in error.errors()]
        raise _fail("; ".join(wrong)) from None
    keys.write(file, grown)


def _read(file: Path) -> KeyFile:
    try:
        return keys.read(file)
    except InvalidConfiguration as error:
        raise _fail(str(error)) from None


def _fail(message: str) -> typer.Exit:
    err.print(f"cupdisc: {message}", style="red", markup=False, highlight=False)
    return typer.Exit(1)
