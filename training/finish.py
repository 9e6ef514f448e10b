"""A folder with both networks → a whole version: limits, interval, figures, report and card, from photographs."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from model import artefact
from model.artefact import Artefact, Manifest
from model.segmenter import Segmenter, Thresholds
from training import calibrate
from training.card import write_card
from training.compare import compare, not_compared
from training.evaluate import Result, evaluate, write_csv
from training.judging import HELD_OUT, LEFT_OUT
from training.report import write_report
from training.sources.example import Example
from training.split import Split
from training.summary import summarise

LEFT_OUT_TABLE = "left_out_of_another_run.csv"  # in a version's report: what it was given as evidence


@dataclass(frozen=True)
class Facts:
    """What publishing is told and cannot find out by itself."""

    version: str
    created: str  # ISO 8601, UTC
    code_version: str
    command: str  # that trained the version
    device: str


@dataclass(frozen=True)
class Evidence:
    """What a version's limits, interval and figures come from."""

    splits: Mapping[str, Split]  # the photographs of its preset's sources
    left_out: Sequence[Result] = ()  # of runs by the same recipe that never saw these sources
    production: Artefact | None = None  # to compare with, on the same photographs


class Registry(Protocol):
    """What publishing asks of a registry: a folder or Cloud Storage, as `model.registry` opens them."""

    def aliases(self) -> dict[str, str]: ...
    def next_version(self, year: int, month: int) -> str: ...
    def open(self, name: str) -> Artefact: ...
    def publish(self, staged: Path, alias: str | None = None) -> Artefact: ...
    def set_alias(self, alias: str, version: str, expected: str | None) -> None: ...


def finish(
    manifest: Manifest,
    evidence: Evidence,
    folder: Path,
    console: Console,
    further_metrics: Callable[[Artefact], list[dict[str, Any]]] = lambda version: [],
) -> tuple[Artefact, list[Result]]:
    """A folder with both networks becomes a whole version: limits and interval, figures, report, card.

    Args:
        manifest: thresholds of disc and cup are as they will be.
        further_metrics: more rows of figures, from the version with its limits.
    """
    # held-out parts of sources that were trained on calibrate; a source that was left out is only reported
    seen = [e for split in evidence.splits.values() if not split.left_out for e in split.held_out]
    unseen = [e for split in evidence.splits.values() if split.left_out for e in split.held_out]
    left_out, production = evidence.left_out, evidence.production
    without_limits = artefact.write(folder, manifest)
    results = evaluated(without_limits, seen, console)
    if results:
        chosen = Thresholds.from_dict(manifest.thresholds)
        unjudged = [e for s in evidence.splits.values() if not s.left_out and not s.held_out for e in s.training]
        trained_on = evaluated(without_limits, unjudged, console)
        manifest = dataclasses.replace(
            manifest,
            thresholds=dataclasses.asdict(calibrate.limits(results, chosen, left_out, trained_on)),
            calibration=calibrate.interval(results, left_out),
        )
    final = artefact.write(folder, manifest)
    manifest = final.manifest  # which lists its files
    results = [dataclasses.replace(each, how=HELD_OUT) for each in evaluated(final, seen, console)]
    not_seen = [dataclasses.replace(each, how=LEFT_OUT) for each in evaluated(final, unseen, console)]
    metrics = [
        *summarise(results, HELD_OUT),
        *further_metrics(final),
        *summarise(not_seen, LEFT_OUT),
        *summarise(left_out, "left out of another run"),
    ]
    if production is not None:
        judging = [name for name, split in evidence.splits.items() if split.held_out]
        manifest.training["comparison"] = {
            "with": production.manifest.version,
            "rows": compare([*results, *not_seen], evaluated(production, [*seen, *unseen], console)),
            "not_compared": not_compared(judging, production.manifest.metrics),
        }
    manifest = dataclasses.replace(manifest, metrics=metrics)
    report = folder / "report"
    report.mkdir(exist_ok=True)
    write_csv([*results, *not_seen], report / "photographs.csv")
    if left_out:
        write_csv(left_out, report / LEFT_OUT_TABLE)
    (report / "metrics.json").write_text(json.dumps(manifest.metrics, indent=1) + "\n", encoding="utf-8")
    # no photograph in it: a version travels farther than the photographs' terms allow
    title = f"{manifest.name} {manifest.version}"
    write_report(report / "report.html", title, [*results, *not_seen], metrics, manifest.calibration)
    (folder / "card.md").write_text(write_card(manifest), encoding="utf-8")
    return artefact.write(folder, manifest), [*results, *not_seen]


def evaluated(version: Artefact, examples: Sequence[Example], console: Console) -> list[Result]:
    """`evaluate`, saying so."""
    if not examples:
        return []
    console.print(f"evaluating {len(examples)} photographs")
    return evaluate(Segmenter(version), examples)
