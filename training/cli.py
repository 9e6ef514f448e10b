"""The command line `cupdisc-train`: train, publish, evaluate and experiments, and what `data_commands` adds."""

import os
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow comes in with the functions below
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from model.errors import CupDiscError, InvalidConfiguration
from model.registry import open_registry
from training import data_commands
from training.data_commands import DATA, Data, console

if TYPE_CHECKING:
    from training.evaluate import Result

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make new versions from annotated photographs.")

Device = Annotated[str, typer.Option(help="auto, tpu, gpu or cpu; auto takes the first that there is.")]

for command in (data_commands.sources, data_commands.duplicates, data_commands.synthetic, data_commands.prepare):
    app.command()(command)


LeftOut = Annotated[
    list[Path] | None,
    typer.Option(help="photographs.csv of a run by the same recipe that left a source out; repeat the option."),
]


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="A bundled preset's name, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the trained networks.")],
    data: Data = DATA,
    seed: Annotated[int | None, typer.Option(help="Instead of the preset's.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A source to use for nothing; repeat the option.")] = None,
    cache: Annotated[
        str | None,
        typer.Option(envvar="CUPDISC_CACHE", help="Where `prepare` put the sources: no photograph is decoded then."),
    ] = None,
    device: Device = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits in every run on the same hardware; slower.")
    ] = False,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Go on from a version or alias of --registry, or from the folder of a finished run."
        ),
    ] = None,
    registry: Annotated[str, typer.Option(help="Where the version of --from is.")] = "bundled",
    old_share: Annotated[
        float, typer.Option(help="Of the samples, what the sources of --from give that the preset does not name.")
    ] = 0.5,
    kept: Annotated[
        list[str] | None,
        typer.Option("--keep", help="A network of --from that is taken as it is; the other one begins anew."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="This network alone, e.g. locator or segmenter_2; the command without it completes the run."),
    ] = None,
) -> None:
    """Train locator and segmenter; the same command goes on after an interruption.

    With --only several networks of one run train at once, each in a process of its own.
    KERAS_BACKEND=jax trains under JAX, which is the way on a TPU.
    """
    import dataclasses

    from training.accelerator import choose
    from training.cache import Cache
    from training.config import leave_out_sources
    from training.origin import continue_preset, keep, read_origin
    from training.preset_files import read_preset
    from training.run import train_only, train_run
    from training.saved_run import save_run

    accelerator = choose(device, deterministic)
    console.print(f"{accelerator}")
    continued = read_origin(origin, registry) if origin else None
    chosen = leave_out_sources(read_preset(preset, continued.preset if continued else None), tuple(leave_out or ()))
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    if continued is not None:
        chosen = continue_preset(chosen, continued.preset, old_share, anew=bool(kept))
    command = shlex.join(["cupdisc-train", *sys.argv[1:]])
    prepared = Cache(cache, out / "prepared") if cache else None
    start = continued.start if continued else None
    if kept:
        if continued is None:
            raise InvalidConfiguration("--keep needs --from")
        start = keep(chosen, continued, tuple(kept))
    if only is not None:
        train_only(only, chosen, data, out, console, accelerator, start, prepared)
        console.print(f"trained: {only} of {out}")
        return
    save_run(train_run(chosen, data, out, console, accelerator, start, command, prepared), out)
    console.print(f"trained: {out}")


@app.command()
def scale(
    preset: Annotated[str, typer.Argument(help="Whose networks: a bundled preset's name, or a TOML file.")] = "bundled",
    devices: Annotated[
        list[int] | None, typer.Option(help="How many; repeat the option. 8, 32 and 256 by themselves.")
    ] = None,
    per_device: Annotated[int, typer.Option(min=1, help="Photographs of a batch on each device.")] = 2,
    network: Annotated[list[str] | None, typer.Option(help="locator or segmenter; both by themselves.")] = None,
) -> None:
    """A dry run for many devices under JAX: shapes, memory and what they exchange in a step. Nothing is computed."""
    from model.artefact import NETWORKS
    from training.scale import scaled, scaled_table

    console.print(scaled_table(scaled(preset, devices or (8, 32, 256), per_device, network or NETWORKS)))


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `train`.")],
    registry: Annotated[str, typer.Option(help="A folder, or whatever else `cupdisc serve --registry` takes.")],
    data: Data = DATA,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    version: Annotated[str | None, typer.Option(help="YYYY.M.N; the next free one where not given.")] = None,
    left_out: LeftOut = None,
    margin: Annotated[
        float, typer.Option(min=0, help="Mean Dice, or vertical ratio, that a source may lose against `production`.")
    ] = 0.01,
    member: Annotated[
        int | None, typer.Option(help="Of a segmenter that averages several networks, this one alone; from 1.")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(help="Draw as the annotators of this source, or group of sources, do; else as the preset says."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish a worse or unjudged version too; its card says so.")
    ] = False,
) -> None:
    """Export a trained run, evaluate and calibrate it on its held-out photographs, and put it into a registry.

    Where the registry has an alias `production`, a version that is worse than that on any source is refused. So is one
    that held nothing out, or nothing of a source that production was judged on.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever trained it: only TensorFlow writes what every engine reads
    from training.evaluate import read_left_out
    from training.finish import Facts
    from training.publish import publish_run
    from training.run import in_convention, only_member
    from training.saved_run import load_run

    trained = load_run(run, data)
    if member is not None:
        trained = only_member(trained, member)
    if convention is not None:
        trained = in_convention(trained, convention)
    now = datetime.now(UTC).replace(microsecond=0)
    target = open_registry(registry)
    facts = Facts(
        version=version or target.next_version(now.year, now.month),
        created=now.isoformat(),
        code_version=installed_version("cupdisc"),
        command=trained.command,
        device=trained.device,
    )
    evidence = read_left_out(left_out or ())
    published = publish_run(trained, facts, target, alias, console, evidence, margin, force)
    console.print(f"published: {published.manifest.version} in {target}")


@app.command()
def recalibrate(
    version: Annotated[str, typer.Argument(help="A version or alias, whose networks stay as they are.")],
    registry: Annotated[str, typer.Option(help="Where it lies, and where the new one goes.")],
    data: Data = DATA,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    left_out: LeftOut = None,
) -> None:
    """Set a version's limits, interval and figures anew, from its held-out photographs and from left-out runs.

    Nothing is trained: with more evidence, or another rule for the limits, the same networks become another version.
    The version's own evidence stays, but for sources of which --left-out brings another.
    """
    from training.evaluate import read_left_out
    from training.figures import metrics_table
    from training.finish import Facts
    from training.recalibrate import recalibrate as run_recalibration

    target = open_registry(registry)
    evidence = read_left_out(left_out or ())
    now = datetime.now(UTC).replace(microsecond=0)
    facts = Facts(
        version=target.next_version(now.year, now.month),
        created=now.isoformat(),
        code_version=installed_version("cupdisc"),
        command=shlex.join(["cupdisc-train", *sys.argv[1:]]),
        device="",
    )
    published = run_recalibration(target.open(version), facts, data, target, console, alias, evidence)
    console.print(metrics_table(published.manifest.metrics))
    console.print(f"published: {published.manifest.version} in {target}")


@app.command()
def evaluate(
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "production",
    registry: Annotated[str, typer.Option(help="`bundled`, a folder, or what else `cupdisc serve` takes.")] = "bundled",
    preset: Annotated[
        str | None, typer.Option(help="Whose sources and held-out photographs are used; the version's own by itself.")
    ] = None,
    data: Data = DATA,
    sources: Annotated[list[str] | None, typer.Option(help="Only these; with commas, or repeat the option.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Training photographs too, not the held-out ones alone.")
    ] = False,
    engine: str = "auto",
    precision: str = "auto",
    convention: Annotated[
        str | None, typer.Option(help="Draw as the annotators of this source do; else as the version was published.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu: the engines of the service; tpu, gpu or auto: Keras on what is there.")
    ] = "cpu",
    report: Annotated[
        Path | None, typer.Option(help="Folder for photographs.csv, metrics.json and report.html.")
    ] = None,
    photographs: Annotated[
        bool, typer.Option(help="Show the worst answers in the report; most sources' terms forbid to pass it on.")
    ] = True,
) -> None:
    """Run a version on annotated photographs, end to end, and print the figures per source.

    Sources that the version was not trained on are taken whole.
    """
    from model.segmenter import Segmenter
    from training import judging
    from training.evaluate import evaluate as run_evaluation
    from training.figures import metrics_table
    from training.preset_files import read_preset
    from training.report import write_evaluation
    from training.split import read_splits
    from training.summary import summarise

    accelerator = None
    if device != "cpu":  # what it needs takes seconds to import
        from training.accelerator import choose
        from training.device_engine import segmenter_on

        accelerator = choose(device)
    artefact = open_registry(registry).open(version)
    chosen = read_preset(preset) if preset else judging.preset_of(artefact.manifest)
    names = [name for names in sources or () for name in names.split(",")]
    judged = judging.choose(artefact.manifest, chosen, read_splits(chosen, data), names, everything)
    if accelerator is None or accelerator.kind == "cpu":
        segmenter = Segmenter(artefact, engine, precision).in_convention(convention)
    else:
        segmenter = segmenter_on(artefact, accelerator, convention)
    drawn = f", drawn as {segmenter.convention}" if segmenter.convention else ""
    console.print(f"{segmenter.name} {segmenter.version}, {segmenter.engine} {segmenter.precision}{drawn}")
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("photographs", total=sum(len(part.examples) for part in judged.values()))
        results = {
            name: run_evaluation(segmenter, part.examples, lambda: progress.advance(task))
            for name, part in judged.items()
        }
    figures = [row for name, part in judged.items() for row in summarise(results[name], part.how)]
    console.print(metrics_table(figures))
    if report is not None:
        write_evaluation(report, segmenter, chosen, judged, results, figures, photographs)
        console.print(f"report: {report / 'report.html'}")


@app.command()
def cross(
    preset: Annotated[str, typer.Argument(help="Whose sources are left out in turn, and whose recipe is used.")],
    out: Annotated[Path, typer.Option(help="Folder: a run per cell, cross.json, cross.md, left_out.csv.")],
    data: Data = DATA,
    sources: Annotated[
        list[str] | None, typer.Option(help="The ones to leave out; those that hold photographs out by themselves.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="With commas; far apart where networks are averaged, each of which adds 1.")
    ] = "11,21",
    steps: Annotated[int | None, typer.Option(min=1, help="Of both networks, instead of the preset's.")] = None,
    choose_by: Annotated[
        list[str] | None,
        typer.Option("--choose", help="KEY=VALUE,VALUE of the preset, chosen without the left-out source; repeatable."),
    ] = None,
    device: Device = "auto",
    cache: Annotated[
        str | None, typer.Option(envvar="CUPDISC_CACHE", help="What `prepare` wrote: a folder, or gs://bucket/prefix.")
    ] = None,
) -> None:
    """Train and test the matrix of sources: each alone, all but one, all; what do several gain on a new one?

    The same command goes on after an interruption. `left_out.csv` is what `publish --left-out` takes.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # every cell is exported, as it would be served
    import functools

    from training import cross as matrix
    from training.accelerator import choose
    from training.cache import Cache
    from training.cross_report import budget, write_matrix
    from training.finish import Facts
    from training.preset_files import read_preset
    from training.saved_run import run_facts

    chosen = read_preset(preset)
    chosen = chosen if steps is None else matrix.with_steps(chosen, steps)
    judges = matrix.judging_sources(chosen, [name for names in sources or () for name in names.split(",")])
    accelerator = choose(device)
    now = datetime.now(UTC).replace(microsecond=0)
    facts = Facts(f"{now.year}.{now.month}.1", now.isoformat(), installed_version("cupdisc"), "cross", str(accelerator))

    prepared = Cache(cache, out / "prepared") if cache else None
    runs: dict[str, dict[str, Any]] = {}

    @functools.cache
    def run(cell: matrix.Cell) -> "list[Result]":
        preset_of_cell = matrix.preset_of_cell(chosen, cell, judges)
        results = matrix.run_cell(preset_of_cell, cell, data, out, facts, console, accelerator, prepared)
        runs[cell.name], _ = run_facts(out / cell.name)
        return results

    numbers, candidates = matrix.whole_numbers(seeds), matrix.recipes(choose_by or ())
    found = matrix.cross(judges, numbers, candidates, run)
    trained = matrix.preset_of_cell(chosen, matrix.Cell(judges, chosen.seed, candidates[0]), judges)
    about = budget(trained, judges, list(runs.values())) if len(candidates) == 1 else []
    console.print(write_matrix(found, out, about), markup=False, highlight=False, soft_wrap=True)


@app.command()
def paper(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, the networks and paper.md.")],
    preset: Annotated[str, typer.Option(help="`paper`, or a TOML file like training/presets/paper.toml.")] = "paper",
    data: Data = DATA,
    network: Annotated[
        str | None,
        typer.Option(help="Start channels, depth, growth. The original's: 64/6/1.1, 72/6/1.2, 64/5/1.6; others too."),
    ] = None,
    outputs: Annotated[list[str] | None, typer.Option(help="cup or disc; both by themselves.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Shorter than the original's 15.")] = None,
    steps: Annotated[int | None, typer.Option(help="In each epoch; shorter than the original's 150.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Smaller than the original's 120.")] = None,
    photographs: Annotated[int | None, typer.Option(help="Of each source at most.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bf16 where the device does.")] = False,
    device: Device = "auto",
) -> None:
    """Repeat the experiment of Civit-Masot et al. 2019, or a shorter one, and report it beside its known results.

    The same command goes on after an interruption.
    """
    import dataclasses

    from training.accelerator import choose
    from training.paper import read_paper, repeat_paper
    from training.paper_report import write_report

    given = read_paper(preset)
    given = given if network is None else given.with_network(network)
    changes: dict[str, Any] = {
        "outputs": tuple(outputs) if outputs else None,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "batch_size": batch_size,
        "photographs": photographs,
        "mixed_precision": bf16 or None,
    }
    chosen = dataclasses.replace(given, **{key: value for key, value in changes.items() if value is not None})
    accelerator = choose(device)
    console.print(f"{accelerator}")
    repeated = repeat_paper(chosen, data, out, accelerator, console)
    command = shlex.join(["cupdisc-train", *sys.argv[1:]])
    console.print(write_report(repeated, read_paper(), command, out), markup=False)
    console.print(f"report: {out / 'paper.md'}")


def main() -> None:
    """Entry point: failures that a caller can act on become one line and exit code 1."""
    try:
        app()
    except CupDiscError as error:
        Console(stderr=True).print(f"[bold red]{error.code}[/]: {error}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from error
