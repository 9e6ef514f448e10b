"""One whole training run: sources, held-out split, views, distribution, locator and segmenter, ready to publish."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from model import normalisation
from model.artefact import NETWORKS
from model.errors import InvalidConfiguration
from model.normalisation import Distribution
from model.retina import Frame
from model.unet import build_unet
from model.unet_config import UNetConfig
from training.accelerator import Accelerator, choose
from training.cache import Cache
from training.config import NetworkConfig, Preset
from training.conventions import Shifts, conventions_of, shifted
from training.sources.example import Example, digest
from training.split import Split, disc_cut_of, read_splits
from training.train import Task, TrainedNetwork, train_network
from training.views import ROI_DIAMETERS, ROI_SIZE, WHOLE, Cut, View, cut_all
from training.whole_file import writing


@dataclass(frozen=True)
class Start:
    """Trained networks that a run builds on, by their names of NETWORKS; what is in neither table begins anew.

    `digest` is their version's, or that of their run's `run.json`.
    """

    name: str  # 2026.11.1, or the run's folder
    digest: str
    continued: dict[str, keras.Model] = field(default_factory=dict)  # training goes on from their weights
    kept: dict[str, keras.Model] = field(default_factory=dict)  # taken as they are
    conventions: tuple[str, ...] = ()  # that its segmenter learnt apart

    @property
    def facts(self) -> dict[str, str]:
        """For the record."""
        facts = {"name": self.name, "digest": self.digest}
        if self.kept:
            facts["kept"] = ", ".join(self.kept)
        if "segmenter" in self.kept and self.conventions:
            facts["conventions"] = ", ".join(self.conventions)
        return facts


@dataclass(frozen=True)
class Trained:
    """What a run leaves: the networks, what they were trained on, and how."""

    preset: Preset
    locator: keras.Model
    segmenter: keras.Model
    distribution: Distribution
    splits: dict[str, Split]
    digests: dict[str, str]
    seconds: dict[str, float]
    device: str = ""  # that it was trained on, as `str` of an Accelerator
    command: str = ""  # that trained it
    origin: dict[str, str] = field(default_factory=dict)  # `name` and `digest` of what it continued; empty if nothing
    conventions: dict[str, dict[str, float]] = field(default_factory=dict)  # of the segmenter, by source or group
    shifts: Shifts = field(default_factory=dict)  # of its weights, by convention


@dataclass(frozen=True)
class Material:
    """What every network of a run is trained on."""

    splits: dict[str, Split]
    digests: dict[str, str]
    views: dict[str, list[View]]  # by network
    watched: dict[str, list[View]]  # held out, for the log alone
    distribution: Distribution


def train_run(
    preset: Preset,
    data: Path,
    out: Path,
    console: Console,
    accelerator: Accelerator | None = None,
    start: Start | None = None,
    command: str = "",
    cache: Cache | None = None,
) -> Trained:
    """Train all networks of a preset; a run that was stopped goes on where its last checkpoint stands.

    Args:
        data: the folder that holds the sources' folders.
        out: folder for checkpoints and logs.
        accelerator: None for what `accelerator.choose` finds.
        start: what the run builds on; None where all networks begin anew.
        command: for the record.
        cache: the photographs as they were prepared, which are then not decoded; the samples are the same.
    Raises:
        InvalidSource, InvalidCache, InvalidConfiguration, InvalidCheckpoint, CannotWrite.
    """
    accelerator = accelerator or choose()
    material = _gather(preset, data, out, console, cache)
    models: dict[str, keras.Model] = {}
    apart: dict[str, list[TrainedNetwork]] = {}
    for name, config in zip(NETWORKS, (preset.locator, preset.segmenter), strict=True):
        if start and name in start.kept:
            models[name], apart[name] = start.kept[name], []
            continue
        names = [each for each, (part, _) in networks_of(preset).items() if part == name]
        apart[name] = [_train(each, preset, material, out, console, accelerator, start) for each in names]
        models[name] = build_unet(config.shape, name)
        models[name].set_weights([weight for member in apart[name] for weight in member.network.get_weights()])
    return Trained(
        preset,
        models["locator"],
        models["segmenter"],
        material.distribution,
        material.splits,
        material.digests,
        {name: sum(member.seconds for member in members) for name, members in apart.items() if members},
        str(accelerator),
        command,
        start.facts if start else {},
        _mean_of([member.conventions for member in apart["segmenter"]]),
        _joined([member.shifts for member in apart["segmenter"]]),
    )


def train_only(
    name: str,
    preset: Preset,
    data: Path,
    out: Path,
    console: Console,
    accelerator: Accelerator | None = None,
    start: Start | None = None,
    cache: Cache | None = None,
) -> None:
    """Train one of a run's networks and leave its checkpoint; `train_run` then takes that for trained.

    Several networks of one run may be trained so at once, each by a process of its own.

    Args:
        name: one of `networks_of`; the others as `train_run`.
    Raises:
        InvalidConfiguration: the preset has no such network; and as `train_run`.
    """
    found = [each for each, (part, _) in networks_of(preset).items() if start is None or part not in start.kept]
    if name not in found:
        raise InvalidConfiguration(f"{preset.name} trains no network {name}; there is {', '.join(found)}")
    material = _gather(preset, data, out, console, cache)
    _train(name, preset, material, out, console, accelerator or choose(), start)


def networks_of(preset: Preset) -> dict[str, tuple[str, int]]:
    """What a run trains one after the other: the name of each, whose it is, and which of those that are averaged."""
    found = {}
    for part in NETWORKS:
        count = len(getattr(preset, part).singles)
        found.update({part if count == 1 else f"{part}_{number + 1}": (part, number) for number in range(count)})
    return found


def _gather(preset: Preset, data: Path, out: Path, console: Console, cache: Cache | None) -> Material:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    splits = read_splits(preset, data, cache)
    for name, split in splits.items():
        console.print(f"{name}: {len(split.training)} for training, {len(split.held_out)} held out")
    training = [example for split in splits.values() for example in split.training]
    # a left-out source has no part in anything, not even in the log that somebody may look at
    held_out = [example for split in splits.values() if not split.left_out for example in split.held_out]
    cuts = dict(zip(NETWORKS, (WHOLE, disc_cut_of(preset)), strict=True))
    views = {name: gather_views(training, cut, cache) for name, cut in cuts.items()}
    return Material(
        splits,
        {name: digest([*split.training, *split.held_out]) for name, split in splits.items()},
        views,
        {name: gather_views(held_out, cut, cache) for name, cut in cuts.items()},
        estimate_distribution(preset, views["segmenter"], views["locator"]),
    )


def _train(
    name: str,
    preset: Preset,
    material: Material,
    out: Path,
    console: Console,
    accelerator: Accelerator,
    start: Start | None,
) -> TrainedNetwork:
    """One of `networks_of`."""
    part, number = networks_of(preset)[name]
    origin = start.continued.get(part) if start else None
    config: NetworkConfig = getattr(preset, part)
    views = material.views[part]
    task = Task(
        name,
        config.singles[number],
        weights_of(preset, config),
        None if part == "locator" else preset.roi_diameters,
        views,
        material.watched[part],
        material.distribution,
        preset.seed + number,
        preset.mixed_precision,
        preset.steps_per_epoch,
        json.dumps(material.digests, sort_keys=True),
        member_of(origin, config.shape, number) if origin else None,
        start.digest if start and origin else "",
        conventions_of(preset, config, _complete(views, config.network.outputs)),
    )
    return train_network(task, out, console, accelerator)


def _complete(views: list[View], outputs: tuple[str, ...]) -> set[str]:
    """The sources of views in which everything is annotated that a network draws."""
    return {view.example.source for view in views if "cup" not in outputs or view.example.cup_annotated}


def _mean_of(members: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Conventions as the members of a network learnt them, on average; empty where it was not trained."""
    return {
        name: {key: round(float(np.mean([each[name][key] for each in members])), 3) for key in values}
        for first in members[:1]
        for name, values in first.items()
    }


def _joined(members: list[Shifts]) -> Shifts:
    """Shifts of the weights of all members, which stand one member after the other; empty where it was not trained."""
    return {name: [shift for member in members for shift in member[name]] for first in members[:1] for name in first}


def in_convention(trained: Trained, name: str) -> Trained:
    """The run with a segmenter that draws as the annotators of one source, or group of sources, do.

    Raises:
        InvalidConfiguration: no such convention was learnt apart.
    """
    if name not in trained.shifts:
        known = ", ".join(trained.shifts) or "none: its preset does not ask for it"
        raise InvalidConfiguration(f"convention {name}: was not learnt; there is {known}")
    old = {each: row["share"] for each, row in trained.conventions.items()}
    segmenter = build_unet(trained.preset.segmenter.shape, "segmenter")
    segmenter.set_weights(shifted(trained.segmenter.get_weights(), trained.shifts, old, {name: 1.0}))
    own = trained.conventions[name]
    table = {
        each: {"share": float(each == name)}
        | {key: round(value / (own[key] or 1.0), 3) for key, value in row.items() if key != "share"}
        for each, row in trained.conventions.items()
    }
    return dataclasses.replace(trained, segmenter=segmenter, conventions=table)


def member_of(network: keras.Model, shape: UNetConfig, number: int) -> keras.Model:
    """One U-Net, counted from 0, of a network of several; the network itself where it is the only one."""
    if len(shape.singles) == 1:
        return network
    member = build_unet(shape.singles[number], f"{network.name}_{number + 1}")
    member.set_weights(network.get_weights()[_weights_of_member(shape, number)])
    return member


def _weights_of_member(shape: UNetConfig, number: int) -> slice:
    """Where one U-Net's weights stand among those of all."""
    counts = [len(build_unet(single).weights) for single in shape.singles[: number + 1]]
    return slice(sum(counts[:-1]), sum(counts))


def only_member(trained: Trained, number: int) -> Trained:
    """The run with one U-Net of its segmenter alone: how much another seed changes, and what averaging gains.

    Raises:
        InvalidConfiguration: there is no such member; they are counted from 1.
    """
    config = trained.preset.segmenter
    if not 1 <= number <= len(config.singles):
        raise InvalidConfiguration(f"member {number}: the segmenter has {len(config.singles)}")
    own = _weights_of_member(config.shape, number - 1)
    return dataclasses.replace(
        trained,
        shifts={name: shifts[own] for name, shifts in trained.shifts.items()},
        preset=dataclasses.replace(trained.preset, segmenter=config.singles[number - 1]),
        segmenter=member_of(trained.segmenter, config.shape, number - 1),
    )


def weights_of(preset: Preset, config: NetworkConfig) -> dict[str, float]:
    """Share of the samples by source for one network: the sources' weights, or the network's own table."""
    return {source.name: config.sources.get(source.name, source.weight) for source in preset.sources}


def gather_views(examples: list[Example], cut: Cut, cache: Cache | None) -> list[View]:
    """One view of each photograph: decoded now, or as it was prepared. Raises InvalidSource, InvalidCache."""
    if cache is not None:
        return cache.views(examples, cut)
    return cut_all(examples, cut)


def estimate_distribution(preset: Preset, roi: list[View], whole: list[View]) -> Distribution:
    """The training distribution, every source counting by its weight in the segmenter's samples."""
    weights = weights_of(preset, preset.segmenter)
    counts: dict[str, int] = {}
    for view in roi:
        counts[view.example.source] = counts.get(view.example.source, 0) + 1
    side = round(ROI_SIZE / ROI_DIAMETERS * preset.roi_diameters)
    corner = (roi[0].image.shape[0] - side) // 2
    region = Frame(corner, corner, side)
    roi_size, whole_size = preset.segmenter.network.input_size, preset.locator.network.input_size
    return normalisation.estimate(
        [_cut(view, region, roi_size) for view in roi],
        [_cut(view, Frame(0, 0, view.image.shape[0]), whole_size) for view in whole],
        [weights[view.example.source] / counts[view.example.source] for view in roi],
    )


def _cut(view: View, frame: Frame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(image, inside) as the segmenter cuts them, at the network's own size: sharpness depends on it."""
    return frame.cut(view.image, size), frame.cut(view.inside, size).astype(bool)
