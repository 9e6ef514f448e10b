"""The command line `cupdisc-train`: sources, duplicates, train, publish, evaluate."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow comes in with the functions below
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from model.errors import CupDiscError, InvalidConfiguration
from model.registry import LocalRegistry, open_registry

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make new versions from annotated photographs.")
console = Console(width=None if sys.stdout.isatty() else 160)

Data = Annotated[Path, typer.Option(envvar="CUPDISC_DATA", help="Folder that holds the sources' folders.")]
DATA = Path(os.environ.get("CUPDISC_SHARED", "../shared")) / "data"


@app.command()
def sources(
    preset: Annotated[str, typer.Argument(help="Whose sources are looked at.")] = "bundled",
    data: Data = DATA,
) -> None:
    """Read every source of a preset, print what it holds, and name every file that is missing or odd."""
    from training.config import read_preset
    from training.inventory import sources_table, survey
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


@app.command()
def duplicates(
    preset: Annotated[str, typer.Argument(help="Whose sources and held-out photographs are compared.")] = "bundled",
    data: Data = DATA,
) -> None:
    """Find near-duplicate photographs across sources and splits; a leak is one that trains while its copy judges."""
    from training.config import read_preset
    from training.duplicates import duplicates_table, find_duplicates
    from training.split import read_splits

    splits = read_splits(read_preset(preset), data)
    total = sum(len(split.training) + len(split.held_out) for split in splits.values())
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=total)
        pairs = find_duplicates(splits, lambda: progress.advance(task))
    console.print(duplicates_table(pairs))
    leaks = sum(pair.leaks for pair in pairs)
    console.print(f"{total} photographs, {len(pairs)} near-duplicate pairs, {leaks} across training and evaluation")


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="A bundled preset's name, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the trained networks.")],
    data: Data = DATA,
    seed: Annotated[int | None, typer.Option(help="Instead of the preset's.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A source to use for nothing; repeat the option.")] = None,
) -> None:
    """Train locator and segmenter; the same command goes on after an interruption."""
    import dataclasses

    from training.config import leave_out_sources, read_preset
    from training.run import save_run, train_run

    chosen = leave_out_sources(read_preset(preset), tuple(leave_out or ()))
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    save_run(train_run(chosen, data, out, console), out)
    console.print(f"trained: {out}")


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `train`.")],
    registry: Annotated[Path, typer.Option(help="Folder of the registry.")],
    data: Data = DATA,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    version: Annotated[str | None, typer.Option(help="YYYY.M.N; the next free one where not given.")] = None,
    left_out: Annotated[
        Path | None, typer.Option(help="photographs.csv of a run by the same recipe that left a source out.")
    ] = None,
) -> None:
    """Export a trained run, evaluate and calibrate it on its held-out photographs, and put it into a registry."""
    from training.evaluate import read_csv
    from training.publish import Facts, publish_run
    from training.run import load_run

    now = datetime.now(UTC).replace(microsecond=0)
    registry.mkdir(parents=True, exist_ok=True)
    target = LocalRegistry(registry)
    facts = Facts(
        version=version or target.next_version(now.year, now.month),
        created=now.isoformat(),
        code_version=installed_version("cupdisc"),
        command=f"cupdisc-train train {load_name(run)}",
        device=f"{os.cpu_count()} CPU cores ({platform.machine()})",
    )
    evidence = [] if left_out is None else read_csv(left_out)
    published = publish_run(load_run(run, data), facts, target, alias, console, evidence)
    console.print(f"published: {published.folder}")


@app.command()
def evaluate(
    preset: Annotated[str, typer.Argument(help="Whose sources and held-out photographs are used.")],
    version: Annotated[str, typer.Option(help="A version or alias.")] = "production",
    registry: Annotated[str, typer.Option(help="`bundled` or a registry's folder.")] = "bundled",
    data: Data = DATA,
    sources: Annotated[list[str] | None, typer.Option(help="Only these; repeat the option.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Training photographs too, not the held-out ones alone.")
    ] = False,
    engine: str = "auto",
    precision: str = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for photographs.csv and metrics.json.")] = None,
) -> None:
    """Run a version on annotated photographs, end to end, and print the figures per source."""
    from model.segmenter import Segmenter
    from training.config import read_preset
    from training.evaluate import evaluate as run_evaluation
    from training.evaluate import write_csv
    from training.publish import metrics_table
    from training.split import read_splits
    from training.summary import summarise

    splits = read_splits(read_preset(preset), data)
    unknown = set(sources or ()) - set(splits)
    if unknown:
        raise InvalidConfiguration(f"--sources: {', '.join(sorted(unknown))}: not in the preset")
    chosen = {name: split for name, split in splits.items() if not sources or name in sources}
    examples = [
        example
        for split in chosen.values()
        for example in ([*split.training, *split.held_out] if everything else split.held_out)
    ]
    segmenter = Segmenter(open_registry(registry).open(version), engine, precision)
    console.print(f"{segmenter.name} {segmenter.version}, {segmenter.engine} {segmenter.precision}")
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=len(examples))
        results = run_evaluation(segmenter, examples, lambda: progress.advance(task))
    figures = summarise(results, "all" if everything else "held out")
    console.print(metrics_table(figures))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_csv(results, out / "photographs.csv")
        (out / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def load_name(run: Path) -> str:
    """The preset's name of a finished run; "?" where there is none."""
    try:
        facts: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return str(facts["preset"]["name"])
    except (OSError, ValueError, KeyError):
        return "?"


def main() -> None:
    """Entry point: failures that a caller can act on become one line and exit code 1."""
    try:
        app()
    except CupDiscError as error:
        Console(stderr=True).print(f"[bold red]{error.code}[/]: {error}", highlight=False)
        raise SystemExit(1) from error
