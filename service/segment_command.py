"""What `cupdisc segment` does, apart from `service.cli` so that a service need not wait for it when it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from model.cloud_registry import CloudRegistry
from model.cores import usable_cores
from model.errors import ConventionNotFound, CupDiscError, NoVersionLive
from model.images import Limits
from service import progress
from service.bulk import Run
from service.client import Client
from service.files import find
from service.settings import Settings
from service.table import TABLE
from service.versions import registry_of
from service.worker import CannotWrite, Here, Job, ServiceFailed, There

ASKING = 4  # photographs at a time, of a service


@dataclass(frozen=True)
class Wish:
    """The command's own options, as they were given."""

    photographs: Sequence[Path]
    out: Path
    url: str | None
    key: str | None = field(repr=False)
    version: str | None
    convention: str | None
    masks: bool
    overlays: bool
    parquet: bool
    workers: int  # 0 for the default
    overwrite: bool


def run(wish: Wish, settings: Settings, out: Console, err: Console) -> int:
    """All photographs, and what there is to say about them. The exit code."""
    try:
        by, workers = _by(wish, settings)
        limits = Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
        job = Job(by, limits, wish.out, wish.masks, wish.overlays)
        photographs = find(wish.photographs, wish.out)
        started = Run(photographs, job, workers, overwrite=wish.overwrite, parquet=wish.parquet)
    except CupDiscError as error:
        return _ended(str(error), err, 1)
    try:
        with progress.shown(started, err) as done:
            for each in done:
                if each.wrong:
                    err.print(f"{each.file}: {each.wrong}", style="red", markup=False, highlight=False)
    except (CannotWrite, ServiceFailed) as error:
        return _ended(f"{error}{_goes_on(started)}", err, 3)
    except CupDiscError as error:
        return _ended(str(error), err, 1)
    except KeyboardInterrupt:
        return _ended(f"stopped{_goes_on(started)}", err, 130)
    told = f"{started.done - started.failed} of {started.total} done, see {wish.out / TABLE}"
    out.print(told, markup=False, highlight=False)
    return 1 if started.failed else 0


def _by(wish: Wish, settings: Settings) -> tuple[Here | There, int]:
    """Who does the work, and how much of it at a time."""
    if wish.url:
        with Client(wish.url, key=wish.key) as client:
            _check_service(client, wish)
        return There(wish.url, wish.version, wish.convention, wish.key), wish.workers or ASKING
    opened = registry_of(settings)
    version = opened.open(settings.version).manifest.version
    by = Here(settings.registry, version, settings.engine, settings.precision, wish.convention)
    if isinstance(opened, CloudRegistry):
        by = replace(by, registry=str(opened.copies))  # where it is now, for every worker
    return by, wish.workers or settings.threads or usable_cores()


def _check_service(client: Client, wish: Wish) -> None:
    """Whether it is there and can do what is wished: asked before anything is sent.

    Raises:
        NoVersionLive, VersionNotFound, ConventionNotFound, and whatever else the client raises.
    """
    version = wish.version or client.versions().default
    if version is None:
        raise NoVersionLive(f"{wish.url} has no version to answer with")
    known = client.version(version).conventions
    if wish.convention not in (None, *known):
        named = ", ".join(known) or "none"
        raise ConventionNotFound(f"version {version} learnt no convention {wish.convention!r}; there is {named}")


def _goes_on(run: Run) -> str:
    return f"; {run.done} of {run.total} are done, the same command goes on with the rest" * bool(run.done)


def _ended(message: str, err: Console, code: int) -> int:
    err.print(f"cupdisc: {message}", style="red", markup=False, highlight=False)
    return code
