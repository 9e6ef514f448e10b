"""A trained run → a version: exported, evaluated on held-out photographs, calibrated, compared, described."""

import contextlib
import dataclasses
import functools
import itertools
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from model import artefact, engines
from model.artefact import NETWORKS, Artefact, Manifest, NetworkEntry
from model.errors import InvalidConfiguration, VersionError
from model.registry import open_registry
from model.segmenter import Segmenter, Thresholds
from model.unet_config import UNetConfig
from training import calibrate
from training.compare import MARGIN, UnjudgedVersion, WorseVersion, not_compared, worse
from training.config import convention_of
from training.evaluate import Result, overlaps
from training.figures import comparison_table, metrics_table
from training.finish import Evidence, Facts, Registry, finish
from training.run import Trained, weights_of
from training.sources.example import Example
from training.version_conventions import copy_conventions, own_figures, write_conventions
from training.whole_file import CannotWrite, writing

NAME = "disc-cup"
PRODUCTION = "production"  # the alias whose version a new one is compared with
REFINEMENTS = 1
TRIAL_PHOTOGRAPHS = 60  # of each source
TRIAL_THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)


def stage_version(
    trained: Trained,
    facts: Facts,
    folder: Path,
    console: Console,
    left_out: Sequence[Result] = (),
    production: Artefact | None = None,
    kept: Mapping[str, Path] = {},
) -> tuple[Artefact, list[Result]]:
    """Write a whole version into an empty folder, with the figures of its held-out photographs in its manifest.

    Args:
        left_out: results of earlier runs by the same recipe on sources that they never saw. They tell how far the
            version's answers may be off on a new source: they widen the interval and stand in the card.
        production: a version to compare with, on the same photographs; `training.comparison` of the manifest tells.
        kept: SavedModels to copy, by the names of networks, instead of writing these anew.
    Raises:
        CannotWrite: e.g. no space left.
    """
    with writing(folder):
        return _stage(trained, facts, folder, console, left_out, production, kept)


def _stage(
    trained: Trained,
    facts: Facts,
    folder: Path,
    console: Console,
    left_out: Sequence[Result],
    production: Artefact | None,
    kept: Mapping[str, Path],
) -> tuple[Artefact, list[Result]]:
    preset, learnt = trained.preset, _learnt(trained, kept)
    _export(trained, folder, kept)
    manifest = Manifest(
        schema=artefact.SCHEMA,
        name=NAME,
        version=facts.version,
        created=facts.created,
        code_version=facts.code_version,
        locator=_entry(trained.locator, preset.locator.shape),
        segmenter=_entry(trained.segmenter, preset.segmenter.shape),
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
            "from": trained.origin,  # name and digest; empty where training began with random weights
            "conventions": learnt,  # empty where they were not learnt apart
        },
        files={},
    )
    drawn = {name for name, row in learnt.items() if row["share"] > 0}
    like = {source.name for source in preset.sources if convention_of(source) in drawn}
    trials = _trial_photographs(trained, None)
    if "segmenter" in kept and "segmenter" in trained.origin.get("kept", ""):  # outlines as it always did
        known = _manifest_of(kept["segmenter"]).thresholds
        chosen = dataclasses.replace(calibrate.OPEN, disc=float(known["disc"]), cup=float(known["cup"]))
        manifest = dataclasses.replace(manifest, thresholds=dataclasses.asdict(chosen))
    elif trials:
        console.print(f"choosing thresholds on {len(trials)} photographs")
        chosen = _choose_thresholds(Segmenter(artefact.write(folder, manifest)), trials, like)
        manifest = dataclasses.replace(manifest, thresholds=dataclasses.asdict(chosen))

    def choose(segmenter: Segmenter, sources: list[str]) -> Thresholds:
        own = _trial_photographs(trained, sources)
        console.print(f"choosing thresholds on {len(own)} photographs, drawn as {segmenter.convention}")
        return _choose_thresholds(segmenter, own)

    if "segmenter" in kept and not trained.shifts:
        copy_conventions(kept["segmenter"].parent, folder)
    else:
        write_conventions(trained, manifest, folder, choose, console)
    evidence = Evidence(trained.splits, left_out, production)
    own = functools.partial(own_figures, preset=preset, splits=trained.splits, console=console)
    return finish(manifest, evidence, folder, console, own)


def _learnt(trained: Trained, kept: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """The conventions of the run's segmenter; a kept one's stand in the version that it is from."""
    if trained.conventions or "segmenter" not in kept:
        return trained.conventions
    learnt: dict[str, dict[str, float]] = _manifest_of(kept["segmenter"]).training.get("conventions", {})
    return learnt


def _manifest_of(network: Path) -> Manifest:
    """Of the version that a SavedModel lies in."""
    return artefact.parse_manifest((network.parent / artefact.MANIFEST).read_bytes())


def publish_run(
    trained: Trained,
    facts: Facts,
    registry: Registry,
    alias: str | None,
    console: Console,
    left_out: Sequence[Result] = (),
    margin: float = MARGIN,
    force: bool = False,
) -> Artefact:
    """`stage_version` in a temporary folder, then publish it; the registry changes at once or not at all.

    Where the registry has an alias `production`, both versions answer for the same photographs, the held-out ones of
    this run. Production may have been trained on some of them, which speaks for it alone. A run that held nothing out,
    or nothing of a source that production was judged on, leaves the question open and is refused. Where there is no
    production, there is nothing to be worse than: such a run is published, and its card says that nothing judged it.

    Args:
        alias: to point at the new version; checked to be where it was before the comparison.
        margin: mean Dice, or vertical ratio, by which the version may be worse than production, on any source.
        force: publish a worse or an unjudged one; its card then says so.
    Raises:
        InvalidConfiguration: the conventions of a kept segmenter are nowhere to be found; nothing was published.
        UnjudgedVersion: nothing to compare by, on all sources or on some; nothing was published.
        WorseVersion: it is worse, and nothing was published.
        AliasConflict: somebody moved the alias meanwhile; the version is published, the alias is theirs.
    """
    aliases = registry.aliases()
    production = registry.open(PRODUCTION) if PRODUCTION in aliases else None
    if production is not None and not force:
        _check_judged(trained, production.manifest)
    with tempfile.TemporaryDirectory(prefix="cupdisc-") as parent:
        folder = Path(parent) / facts.version
        folder.mkdir()
        kept = same_networks(trained, _relatives(trained, registry, production))
        _check_conventions(trained, kept)
        staged, _ = stage_version(trained, facts, folder, console, left_out, production, kept)
        console.print(metrics_table(staged.manifest.metrics))
        if not _judging(trained):
            console.print("no photograph was held out: nothing tells how good this version is")
        if production is not None:
            rows = staged.manifest.training["comparison"]["rows"]
            console.print(comparison_table(rows, production.manifest.version))
            losses = worse(rows, margin)
            if losses and not force:
                raise WorseVersion(
                    f"{facts.version} is worse than {production.manifest.version} by more than {margin:g}; nothing was "
                    "published\n" + "\n".join(losses)
                )
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        console.print(f"{facts.version}: {size / 2**20:.1f} MiB")
        published = registry.publish(staged.folder)
        if alias is not None:
            registry.set_alias(alias, facts.version, expected=aliases.get(alias))
        return published


def _judging(trained: Trained) -> list[str]:
    """The sources of which a run kept photographs away."""
    return [name for name, split in trained.splits.items() if split.held_out]


def _check_judged(trained: Trained, production: Manifest) -> None:
    """Before anything is computed. Raises UnjudgedVersion."""
    judging = _judging(trained)
    missing = not_compared(judging, production.metrics)
    if judging and not missing:
        return
    without = f"no photographs of {', '.join(missing)}" if missing else "no photographs"
    raise UnjudgedVersion(
        f"the run held out {without}, so nothing tells whether it is worse than {production.version}"
        f"{' there' if judging else ''}; nothing was published. Hold some out and train once more, or --force it"
    )


def _check_conventions(trained: Trained, kept: Mapping[str, Path]) -> None:
    """A run holds no conventions of a segmenter that it did not train: they come with that one's version."""
    if trained.origin.get("conventions") and not trained.shifts and "segmenter" not in kept:
        raise InvalidConfiguration(
            f"the segmenter was kept from {trained.origin['name']}, whose conventions are neither in this registry nor "
            "bundled; publish that run, or copy that version (`cupdisc versions copy`), there first"
        )


def _relatives(trained: Trained, registry: Registry, production: Artefact | None) -> list[Artefact]:
    """Versions whose networks a run may have as they are: the one that it kept one of, and production."""
    found = [production] if production is not None else []
    if "kept" in trained.origin:
        for each in (open_registry("bundled"), registry):  # the last one found comes first
            with contextlib.suppress(VersionError):  # another registry's, or a run's
                found.insert(0, each.open(trained.origin["name"]))
    return found


def same_networks(trained: Trained, versions: Sequence[Artefact]) -> dict[str, Path]:
    """SavedModels of the versions' networks that a run's networks equal, weight by weight; the first version's first.

    Written anew, the same weights make other bytes, which whoever stores versions would store twice.
    """
    reader = engines.import_tensorflow().train.load_checkpoint
    found: dict[str, Path] = {}
    for version, name in itertools.product(versions, NETWORKS):
        network, shape = getattr(trained, name), getattr(trained.preset, name).shape
        if name in found or getattr(version.manifest, name).config != shape.as_dict():
            continue
        saved = reader(str(version.folder / name / "variables" / "variables"))
        values = {np.asarray(saved.get_tensor(key)).tobytes() for key in saved.get_variable_to_shape_map()}
        if all(weight.tobytes() in values for weight in network.get_weights()):
            found[name] = version.folder / name
    return found


def _export(trained: Trained, folder: Path, kept: Mapping[str, Path] = {}) -> None:
    """Both SavedModels. A full disk is CannotWrite here too, though TensorFlow has errors of its own for it."""
    errors = engines.import_tensorflow().errors
    for name, network in (("locator", trained.locator), ("segmenter", trained.segmenter)):
        if name in kept:
            shutil.copytree(kept[name], folder / name)
            continue
        try:
            artefact.export_network(network, folder / name)
        except errors.OpError as error:
            raise CannotWrite(f"{folder / name}: {error.message}") from error


def _trial_photographs(trained: Trained, sources: Collection[str] | None) -> list[Example]:
    """A few training photographs of each source with masks, or of some: held-out ones must not choose what they
    report on."""
    examples: list[Example] = []
    for name, weight in weights_of(trained.preset, trained.preset.segmenter).items():
        if weight > 0 and (sources is None or name in sources):
            outlined = trained.splits[name].training
            examples += outlined[:: max(1, len(outlined) // TRIAL_PHOTOGRAPHS)][:TRIAL_PHOTOGRAPHS]
    return examples


def _choose_thresholds(segmenter: Segmenter, examples: Sequence[Example], like: Collection[str] = ()) -> Thresholds:
    trials = {each: dataclasses.replace(calibrate.OPEN, disc=each, cup=each) for each in TRIAL_THRESHOLDS}
    tried = {each: segmenter.with_thresholds(thresholds) for each, thresholds in trials.items()}
    return calibrate.best_thresholds(overlaps(tried, examples), like)


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
