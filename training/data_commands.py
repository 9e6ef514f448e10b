"""The commands `cupdisc-train sources`, `duplicates`, `synthetic` and `prepare`: photographs, before any training."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from training.cache import Cache

console = Console(width=None if sys.stdout.isatty() else 160)

Data = Annotated[Path, typer.Option(envvar="CUPDISC_DATA", help="Folder that holds the sources' folders.")]
DATA = Path(os.environ.get("CUPDISC_SHARED", "../shared")) / "data"


def sources(
    preset: Annotated[str, typer.Argument(help="Whose sources are looked at.")] = "bundled",
    data: Data = DATA,
) -> None:
    """Read every source of a preset, print what it holds, and name every file that is missing or odd."""
    from training.inventory import sources_table, survey
    from training.preset_files import read_preset
    from training.sources.example import InvalidSource

    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=None)
        facts = survey(read_preset(preset), data, lambda: progress.advance(task))
    console.print(sources_table(facts))
    for source in facts:
        for identity, outside in source.cups_outside.items():
            console.print(f"{source.name}/{identity}: {outside:.1%} of the cup lies outside the disc")
    problems = [problem for source in facts for problem in source.problems]
    if problems:
        raise InvalidSource("\n".join(problems))


def duplicates(
    preset: Annotated[str, typer.Argument(help="Whose sources and held-out photographs are compared.")] = "bundled",
    data: Data = DATA,
) -> None:
    """Find near-duplicate photographs across sources and splits; a leak is one that trains while its copy judges."""
    from training.duplicates import duplicates_table, find_duplicates
    from training.preset_files import read_preset
    from training.split import read_splits

    splits = read_splits(read_preset(preset), data)
    total = sum(len(split.training) + len(split.held_out) for split in splits.values())
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=total)
        pairs = find_duplicates(splits, lambda: progress.advance(task))
    console.print(duplicates_table(pairs))
    leaks = sum(pair.leaks for pair in pairs)
    console.print(f"{total} photographs, {len(pairs)} near-duplicate pairs, {leaks} across training and evaluation")


def synthetic(
    out: Annotated[Path, typer.Option(help="Folder of the new source; must not hold anything.")],
    count: Annotated[int, typer.Option(min=1, help="Photographs; about a third of them crops of the disc.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same photographs.")] = 1,
) -> None:
    """Draw fundus photographs with exact masks, as a source in the layout `folder`."""
    from training.synthetic import write_folder

    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=count)
        write_folder(out, count, seed, lambda: progress.advance(task))
    console.print(f"{count} photographs: {out}")


def prepare(
    preset: Annotated[str, typer.Argument(help="Whose sources are prepared: a bundled preset's name, or a TOML file.")],
    cache: Annotated[str, typer.Option(envvar="CUPDISC_CACHE", help="A folder, or gs://bucket/prefix.")],
    data: Data = DATA,
    diameters: Annotated[
        list[float] | None,
        typer.Option(help="Only crops of at least so many disc diameters; repeat. Three by itself: 2.4, 3.6 and 5.4."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Time training steps on auto, tpu, gpu or cpu, with and without waiting for these samples."),
    ] = None,
) -> None:
    """Read every source once: decode, cut and keep what training draws its samples from, and report near-duplicates.

    What is prepared already, and has not changed, is left as it is.
    """
    from training.duplicates import duplicates_table, find_duplicates
    from training.inventory import NOTEWORTHY
    from training.prepare import cuts_for, prepare_sources, prepared_table
    from training.preset_files import read_preset
    from training.split import read_splits

    chosen = read_preset(preset)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=None)
        done = prepare_sources(chosen, data, cuts_for(chosen, diameters), cache, lambda: progress.advance(task))
    console.print(prepared_table(done, cache))
    for source in done:
        for identity, outside in source.cups_outside.items():
            if outside >= NOTEWORTHY:
                console.print(f"{source.name}/{identity}: {outside:.1%} of the cup lies outside the disc")
    with opened_cache(cache) as prepared:
        splits = read_splits(chosen, data, prepared)
        pairs = find_duplicates(splits, cache=prepared)
        console.print(duplicates_table(pairs))
        console.print(
            f"{sum(source.photographs for source in done)} photographs, {len(pairs)} near-duplicate pairs, "
            f"{sum(pair.leaks for pair in pairs)} across training and evaluation"
        )
        if device is not None:
            from training.accelerator import choose
            from training.throughput import measure_preset, throughput_table

            accelerator = choose(device)
            console.print(f"{accelerator}")
            console.print(throughput_table(measure_preset(chosen, splits, prepared, accelerator, steps=6, laps=2)))


@contextlib.contextmanager
def opened_cache(location: str) -> Iterator["Cache"]:
    """A cache; what is fetched from a gs:// prefix is thrown away afterwards."""
    from training.cache import Cache

    with tempfile.TemporaryDirectory() as copies:
        yield Cache(location, Path(copies))
