"""A version with its limits, interval and figures set anew: the same networks, other numbers around them."""

import dataclasses
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from model.artefact import NETWORKS, Artefact
from model.errors import InvalidConfiguration
from training import calibrate
from training.evaluate import Result, read_left_out
from training.finish import LEFT_OUT_TABLE, Evidence, Facts, Registry, finish
from training.judging import preset_of
from training.sources.example import digest
from training.split import read_splits
from training.version_conventions import OWN, copy_conventions, own_figures
from training.whole_file import writing


def recalibrate(
    version: Artefact,
    facts: Facts,
    data: Path,
    registry: Registry,
    console: Console,
    alias: str | None = None,
    left_out: Sequence[Result] = (),
) -> Artefact:
    """Publish the networks of a version once more, as another one.

    Thresholds of disc and cup stay. So do the figures of a version from before one could be asked for conventions that
    are drawn by these: they need its run.

    Args:
        facts: `command` of them is what set the numbers anew; what trained the networks is the version's.
        left_out: as for `publish_run`; of the sources that it does not tell of, what the version itself was given.
    Raises:
        InvalidConfiguration: the version does not tell its preset, or the photographs are not those of its training.
        CannotWrite: e.g. no space left.
        AliasConflict: somebody moved the alias meanwhile; the version is published, the alias is theirs.
    """
    manifest, pointed_at = version.manifest, registry.aliases().get(alias or "")
    left_out = [*left_out, *_evidence(version, {result.source for result in left_out})]
    preset = preset_of(manifest)
    splits = read_splits(preset, data)
    changed = [
        row["name"]
        for row in manifest.sources
        if row["name"] in splits
        and digest([*splits[row["name"]].training, *splits[row["name"]].held_out]) != row["digest"]
    ]
    if changed:
        raise InvalidConfiguration(f"{data}: not what {manifest.version} was trained on: {', '.join(changed)} changed")
    chosen = dataclasses.replace(
        calibrate.OPEN, disc=float(manifest.thresholds["disc"]), cup=float(manifest.thresholds["cup"])
    )
    training = {name: value for name, value in manifest.training.items() if name != "comparison"}
    made_of = {"version": manifest.version, "sha256": version.digest, "command": facts.command}
    kept = [row for row in manifest.metrics if row["how"] == OWN]
    renewed = dataclasses.replace(
        manifest,
        version=facts.version,
        created=facts.created,
        code_version=facts.code_version,
        thresholds=dataclasses.asdict(chosen),
        calibration={},
        metrics=[],
        training={**training, "recalibrated": made_of},
        files={},
    )
    with tempfile.TemporaryDirectory(prefix="cupdisc-") as parent:
        folder = Path(parent) / facts.version
        with writing(folder):
            for name in NETWORKS:
                shutil.copytree(version.folder / name, folder / name)
            copy_conventions(version.folder, folder)
            staged, _ = finish(
                renewed,
                Evidence(splits, left_out),
                folder,
                console,
                lambda own: own_figures(own, preset, splits, console) or kept,
            )
        published = registry.publish(staged.folder)
        if alias is not None:
            registry.set_alias(alias, facts.version, expected=pointed_at)
        return published


def _evidence(version: Artefact, told: Collection[str]) -> list[Result]:
    """What the version was given of left-out runs, but for the sources that are told of anew."""
    table = version.folder / "report" / LEFT_OUT_TABLE
    return [result for result in read_left_out([table]) if result.source not in told] if table.is_file() else []
