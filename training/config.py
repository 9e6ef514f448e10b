"""What a training run is made of: frozen objects, made of a preset's values; every mistake in them is told at once."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from model.artefact import NETWORKS
from model.conventions import NAME
from model.errors import InvalidConfiguration
from model.unet_config import UNetConfig
from training.augment import Augmentation
from training.loss_names import LOSS_NAMES
from training.sources.layouts import LAYOUTS, wrong_choices
from training.tables import build

EncoderWeights = Literal["random", "imagenet"]

ANSWERED_TOGETHER = ("sources", "told", "answer")  # of U-Nets that are averaged: one answer, by the same photographs


@dataclass(frozen=True)
class SourceConfig:
    """One source of a run. The terms and the citation go into the model card; a public layout knows its own."""

    name: str
    weight: float = 1.0  # share of the samples, relative to the other sources
    held_out: int = 0  # photographs kept away from training and choices
    left_out: bool = False  # the whole source is only reported on
    terms: str = ""
    citation: str = ""
    folder: str = ""  # below the data folder; the name where empty
    layout: str = "folder"  # one of training.sources.layouts
    options: dict[str, str] = field(default_factory=dict)  # what its layout lets choose: part, expert, …
    group: str = ""  # sources of one group come from one camera and clinic and are left out together
    ellipses: str = ""  # CSV beside the presets: discs for photographs without a mask

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}: must be {text}"
            for name, good, text in (
                ("name", NAME.fullmatch(self.name), "letters, digits, dots, hyphens and underscores"),
                (
                    "group",
                    NAME.fullmatch(self.group or "none"),
                    "letters, digits, dots, hyphens and underscores",
                ),
                ("weight", self.weight >= 0, "at least 0"),
                ("held_out", self.held_out >= 0, "at least 0"),
            )
            if not good
        ]
        wrong += wrong_choices(self.layout, self.options)
        if self.ellipses and self.layout != "folder":
            wrong.append("ellipses: for the layout folder only")
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))


@dataclass(frozen=True)
class NetworkConfig:
    """Locator or segmenter: its network, its schedule, its samples."""

    network: UNetConfig
    steps: int = 10_000
    batch_size: int = 16
    loss: str = "dice_and_cross_entropy"  # of training.loss_names
    learning_rate: float = 2e-3  # the highest, after the warm-up; falls to 0 along a cosine
    warm_up: int = 300  # steps
    weight_decay: float = 1e-4
    ema_momentum: float = 0.998  # of the weights' average, which keeps so much ** steps of the first; 0 takes the last
    augmentation: Augmentation = field(default_factory=Augmentation)
    sources: dict[str, float] = field(default_factory=dict)  # overrides the sources' weights for this network
    told: float = 0.0  # share of the samples that are told whose annotation they carry; 0 learns no conventions
    answer: dict[str, float] = field(default_factory=dict)  # share of each convention; the rest is drawn by looks
    encoder_weights: EncoderWeights = "random"  # what the encoder starts from
    encoder_rate: float = 1.0  # learning rate of the encoder, that of the rest = 1
    frozen_levels: int = 0  # of the encoder, from the top, that keep the weights they start from
    beside: "NetworkConfig | None" = None  # U-Nets of another shape or training, averaged with those of `network`

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}: must be {text}"
            for name, good, text in (
                ("steps", self.steps >= 1, "at least 1"),
                ("batch_size", self.batch_size >= 1, "at least 1"),
                ("loss", self.loss in LOSS_NAMES, f"one of {', '.join(LOSS_NAMES)}"),
                ("learning_rate", self.learning_rate > 0, "positive"),
                ("warm_up", self.warm_up >= 0, "at least 0"),
                ("weight_decay", self.weight_decay >= 0, "at least 0"),
                ("ema_momentum", 0 <= self.ema_momentum < 1, "in [0, 1)"),
                ("told", 0 <= self.told <= 1, "in [0, 1]"),
                ("encoder_weights", self.encoder_weights in get_args(EncoderWeights), "random or imagenet"),
                ("encoder_rate", self.encoder_rate > 0, "positive"),
                ("frozen_levels", 0 <= self.frozen_levels <= self.network.depth + 1, "0 to depth + 1"),
            )
            if not good
        ]
        learnt = {
            "encoder_weights": self.encoder_weights != "random",
            "encoder_rate": self.encoder_rate != 1,
            "frozen_levels": self.frozen_levels > 0,
        }
        if self.network.encoder == "plain":
            wrong += [
                f"{name}: needs a network.encoder that has learnt weights" for name, asked in learnt.items() if asked
            ]
        for table in ("sources", "answer"):
            values = getattr(self, table)
            wrong += [f"{table}.{name}: must be at least 0, is {each}" for name, each in values.items() if each < 0]
        if any(self.answer.values()) and not self.told:
            wrong.append(f"answer={self.answer}: needs told, without which no convention is learnt")
        if sum(self.answer.values()) > 1:
            wrong.append(f"answer={self.answer}: the shares must be at most 1 together")
        if self.network.beside is not None:
            wrong.append("network.beside: a table of its own, beside, which tells how those are trained")
        if self.beside is not None:
            wrong += _not_beside(self, self.beside)
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))

    @property
    def shape(self) -> UNetConfig:
        """Of the network that a version holds: the U-Nets of `network` and of `beside`, averaged."""
        return dataclasses.replace(self.network, beside=self.beside.shape if self.beside else None)

    @property
    def singles(self) -> tuple["NetworkConfig", ...]:
        """One for each U-Net of `shape`, in its order: how it is trained by itself."""
        own = dataclasses.replace(self, network=dataclasses.replace(self.network, members=1), beside=None)
        if self.beside is None:
            return (own,) * self.network.members
        others = dataclasses.replace(self.beside, **{name: getattr(self, name) for name in ANSWERED_TOGETHER})
        return (own,) * self.network.members + others.singles

    @property
    def kinds(self) -> tuple["NetworkConfig", ...]:
        """Those of `singles` that differ in more than their seed."""
        return tuple(single for i, single in enumerate(self.singles) if single not in self.singles[:i])

    def with_steps(self, steps: int) -> "NetworkConfig":
        """The same with another number of steps for each U-Net."""
        return dataclasses.replace(self, steps=steps, beside=self.beside.with_steps(steps) if self.beside else None)


def _not_beside(config: NetworkConfig, other: NetworkConfig) -> list[str]:
    """What keeps two from answering together."""
    wrong = [
        f"beside.{name}={getattr(other, name)}: stands one level higher, for all that are averaged"
        for name in ANSWERED_TOGETHER
        if getattr(other, name)
    ]
    return wrong + [
        f"beside.network.{name}={theirs}: must be {ours}, as one level higher"
        for name in ("input_size", "outputs")
        if (theirs := getattr(other.network, name)) != (ours := getattr(config.network, name))
    ]


@dataclass(frozen=True)
class Preset:
    """A whole run: sources → locator and segmenter → one version."""

    name: str
    sources: tuple[SourceConfig, ...]
    locator: NetworkConfig
    segmenter: NetworkConfig
    seed: int = 1
    roi_diameters: float = 2.0  # side of the region of interest over the disc's diameter
    mixed_precision: bool = True  # bf16 in the layers where the device has it
    steps_per_epoch: int = 250  # between two checkpoints
    never_held_out: tuple[str, ...] = ()  # ids, e.g. of an eye that another source holds too

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}: must be {text}"
            for name, good, text in (
                ("seed", self.seed >= 0, "at least 0"),
                ("roi_diameters", self.roi_diameters > 1, "more than 1: the region holds the whole disc"),
                ("steps_per_epoch", self.steps_per_epoch >= 1, "at least 1"),
            )
            if not good
        ]
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))

    def as_dict(self) -> dict[str, Any]:
        """The preset as JSON types."""
        return dataclasses.asdict(self)


def preset_from_dict(values: dict[str, Any]) -> Preset:
    """The inverse of `Preset.as_dict`; also takes what TOML gives.

    Raises:
        InvalidConfiguration: one line for each unknown key and impossible value.
    """
    problems: list[str] = []
    preset = build(Preset, values, "", problems)
    problems += _across(values)
    if preset is not None and not problems:
        for part in NETWORKS:
            own = getattr(preset, part).sources
            if not any(own.get(source.name, source.weight) for source in preset.sources if not source.left_out):
                problems.append(f"{part}: no source has a weight, so there is nothing to train on")
            known = {convention_of(source) for source in preset.sources}
            problems += [
                f"{part}.answer.{name}: no source, or group of sources, of this preset"
                for name in getattr(preset, part).answer
                if name not in known
            ]
    if problems or preset is None:
        raise InvalidConfiguration("\n".join(problems))
    return dataclasses.replace(preset, sources=tuple(_with_terms(source) for source in preset.sources))


def convention_of(source: SourceConfig) -> str:
    """Whose way of annotating a source follows: its group's, or its own."""
    return source.group or source.name


def _across(values: dict[str, Any]) -> list[str]:
    """What is wrong between tables; looks at what was written, since single values may be wrong as well."""
    sources, problems = values.get("sources"), []
    if not isinstance(sources, list | tuple):
        return []
    names = [source.get("name") for source in sources if isinstance(source, dict)]
    if not names:
        problems.append("sources: there is none")
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            problems.append(f"sources[{i}].name: {name} stands twice")
    for part, needed in (("locator", ("disc",)), ("segmenter", ("disc", "cup"))):
        table = values.get(part)
        own = table.get("sources") if isinstance(table, dict) else None
        if isinstance(own, dict):
            unknown = sorted(set(own) - set(names))
            problems += [f"{part}.sources.{key}: no such source in this preset" for key in unknown]
        network = table.get("network") if isinstance(table, dict) else None
        outputs = network.get("outputs") if isinstance(network, dict) else None
        if isinstance(outputs, list | tuple) and set(needed) - set(outputs):
            problems.append(f"{part}.network.outputs: must hold {' and '.join(needed)}")
        elif part == "locator" and isinstance(outputs, list | tuple) and outputs[0] != "disc":
            problems.append(f"{part}.network.outputs: must begin with disc, by which regions are cut")
    return problems


def leave_out_sources(preset: Preset, names: tuple[str, ...]) -> Preset:
    """The preset with whole sources used for nothing but the final figures: the test of source independence.

    With a source go those of its group.

    Raises:
        InvalidConfiguration: the preset has no such source.
    """
    unknown = set(names) - {source.name for source in preset.sources}
    if unknown:
        raise InvalidConfiguration(f"{preset.name}: has no source {', '.join(sorted(unknown))}")
    groups = {source.group for source in preset.sources if source.name in names} - {""}
    sources = tuple(
        dataclasses.replace(source, left_out=True) if source.name in names or source.group in groups else source
        for source in preset.sources
    )
    name = "-".join([preset.name, *(f"without-{name}" for name in names)])
    return dataclasses.replace(preset, name=name, sources=sources)


def _with_terms(source: SourceConfig) -> SourceConfig:
    layout = LAYOUTS[source.layout]
    return dataclasses.replace(source, terms=source.terms or layout.terms, citation=source.citation or layout.citation)
