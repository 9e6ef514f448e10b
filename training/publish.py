"""A trained run → a version: exported, evaluated on held-out photographs, calibrated, described, published."""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from model import artefact
from model.artefact import Artefact, Manifest, NetworkEntry
from model.registry import LocalRegistry
from model.segmenter import Segmenter, Thresholds
from model.unet import UNetConfig
from training import calibrate
from training.card import write_card
from training.evaluate import Result, evaluate, summarise, write_csv
from training.run import Trained

NAME = "disc-cup"
REFINEMENTS = 1
TRIAL_PHOTOGRAPHS = 60  # of each source
TRIAL_THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Facts:
    """What publishing is told and cannot find out by itself."""

    version: str
    created: str  # ISO 8601, UTC
    code_version: str
    command: str  # that trained the version
    device: str


def stage_version(
    trained: Trained, facts: Facts, folder: Path, console: Console, left_out: Sequence[Result] = ()
) -> tuple[Artefact, list[Result]]:
    """Write a whole version into an empty folder, with the figures of its held-out photographs in its manifest.

    Args:
        left_out: results of an earlier run by the same recipe on sources that it never saw. They tell how far the
            version's answers may be off on a new source: they widen the interval and stand in the card.
    """
    preset = trained.preset
    for name, network in (("locator", trained.locator), ("segmenter", trained.segmenter)):
        artefact.export_network(network, folder / name)
    manifest = Manifest(
        schema=artefact.SCHEMA,
        name=NAME,
        version=facts.version,
        created=facts.created,
        code_version=facts.code_version,
        locator=_entry(trained.locator, preset.locator.network),
        segmenter=_entry(trained.segmenter, preset.segmenter.network),
        preprocessing={"roi_diameters": preset.roi_diameters, "refinements": REFINEMENTS},
        normalisation=trained.distribution.as_dict(),
        thresholds=dataclasses.asdict(calibrate.OPEN),
        calibration={},
        sources=_sources(trained),
        metrics=[],
        training={
            "preset": preset.as_dict(),
            "seconds": {name: round(value) for name, value in trained.seconds.items()},
            "device": facts.device,
            "command": facts.command,
        },
        files={},
    )
    # held-out parts of sources that were trained on calibrate; a source that was left out is only reported
    seen = [e for split in trained.splits.values() if not split.left_out for e in split.held_out]
    unseen = [e for split in trained.splits.values() if split.left_out for e in split.held_out]
    chosen = _choose_thresholds(trained, manifest, folder, console)
    manifest = dataclasses.replace(manifest, thresholds=dataclasses.asdict(chosen))
    results = _evaluate(artefact.write(folder, manifest), seen, console)
    if results:
        manifest = dataclasses.replace(
            manifest,
            thresholds=dataclasses.asdict(calibrate.limits(results, chosen)),
            calibration=calibrate.interval(results, left_out),
        )
    final = artefact.write(folder, manifest)
    results = _evaluate(final, seen, console)
    not_seen = _evaluate(final, unseen, console)
    metrics = [
        *summarise(results, "held out"),
        *summarise(not_seen, "left out"),
        *summarise(left_out, "left out of another run"),
    ]
    manifest = dataclasses.replace(manifest, metrics=metrics)
    report = folder / "report"
    report.mkdir(exist_ok=True)
    write_csv([*results, *not_seen], report / "photographs.csv")
    if left_out:
        write_csv(left_out, report / "left_out_of_another_run.csv")
    (report / "metrics.json").write_text(json.dumps(manifest.metrics, indent=1) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(write_card(manifest), encoding="utf-8")
    return artefact.write(folder, manifest), [*results, *not_seen]


def publish_run(
    trained: Trained,
    facts: Facts,
    registry: LocalRegistry,
    alias: str | None,
    console: Console,
    left_out: Sequence[Result] = (),
) -> Artefact:
    """`stage_version` in a temporary folder, then publish it; the registry changes at once or not at all."""
    with tempfile.TemporaryDirectory(prefix="cupdisc-") as parent:
        folder = Path(parent) / facts.version
        folder.mkdir()
        staged, _ = stage_version(trained, facts, folder, console, left_out)
        console.print(metrics_table(staged.manifest.metrics))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        console.print(f"{facts.version}: {size / 2**20:.1f} MiB")
        return registry.publish(staged.folder, alias)


def metrics_table(metrics: list[dict[str, Any]]) -> Table:
    """The figures per source, for people."""
    table = Table(title="per source, all photographs counted, refused ones included")
    for column in (
        "source",
        "",
        "n",
        "disc Dice",
        "cup Dice",
        "vCDR mean abs. error",
        "bias",
        "missed",
        "not gradable",
    ):
        table.add_column(column)
    for row in metrics:
        table.add_row(
            row["source"],
            row["how"],
            str(row["photographs"]),
            _with_interval(row, "disc_dice"),
            _with_interval(row, "cup_dice"),
            _with_interval(row, "vertical_mae"),
            f"{row['vertical_bias']:+.3f}" if "vertical_bias" in row else "",
            str(row["discs_missed"]),
            str(row["not_gradable"]),
        )
    return table


def _choose_thresholds(trained: Trained, manifest: Manifest, folder: Path, console: Console) -> Thresholds:
    """On a few training photographs of each source with masks: held-out ones must not choose what they report on."""
    examples = []
    for split in trained.splits.values():
        outlined = [e for e in split.training if e.cup_annotated]
        examples += outlined[:: max(1, len(outlined) // TRIAL_PHOTOGRAPHS)][:TRIAL_PHOTOGRAPHS]
    trials = {}
    for threshold in TRIAL_THRESHOLDS:
        thresholds = dataclasses.replace(calibrate.OPEN, disc=threshold, cup=threshold)
        draft = dataclasses.replace(manifest, thresholds=dataclasses.asdict(thresholds))
        trials[threshold] = _evaluate(artefact.write(folder, draft), examples, console)
    return calibrate.best_thresholds(trials)


def _evaluate(version: Artefact, examples: list[Any], console: Console) -> list[Result]:
    if not examples:
        return []
    console.print(f"evaluating {len(examples)} photographs")
    return evaluate(Segmenter(version), examples)


def _with_interval(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high = row[f"{name}_95"]
    return f"{row[name]:.3f} ({low:.3f}–{high:.3f})"


def _entry(network: keras.Model, config: UNetConfig) -> NetworkEntry:
    return NetworkEntry(config.as_dict(), config.input_size, config.outputs, int(network.count_params()))


def _sources(trained: Trained) -> list[dict[str, Any]]:
    rows = []
    for source in trained.preset.sources:
        split = trained.splits[source.name]
        rows.append(
            {
                "name": source.name,
                "trained_on": len(split.training),
                "held_out": 0 if split.left_out else len(split.held_out),
                "left_out": len(split.held_out) if split.left_out else 0,
                "cups_annotated": sum(example.cup_annotated for example in split.training),
                "terms": source.terms,
                "citation": source.citation,
                "digest": trained.digests[source.name],
            }
        )
    return rows
