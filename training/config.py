"""What a training run is made of: a preset in TOML, read into frozen objects; every mistake in it is told at once."""

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from model.errors import CupDiscError, InvalidConfiguration
from model.unet import UNetConfig
from training.augment import Augmentation
from training.losses import LOSSES
from training.sources.layouts import LAYOUTS, wrong_choices

PRESETS = Path(__file__).parent / "presets"
T = TypeVar("T")


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


@dataclass(frozen=True)
class NetworkConfig:
    """Locator or segmenter: its network, its schedule, its samples."""

    network: UNetConfig
    steps: int = 10_000
    batch_size: int = 16
    loss: str = "dice_and_cross_entropy"  # a name in training.losses.LOSSES
    learning_rate: float = 2e-3  # the highest, after the warm-up; falls to 0 along a cosine
    warm_up: int = 300  # steps
    weight_decay: float = 1e-4
    ema_momentum: float = 0.998  # of the average over steps that the version takes; 0 takes the last weights
    augmentation: Augmentation = field(default_factory=Augmentation)
    sources: dict[str, float] = field(default_factory=dict)  # overrides the sources' weights for this network

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}: must be {text}"
            for name, good, text in (
                ("steps", self.steps >= 1, "at least 1"),
                ("batch_size", self.batch_size >= 1, "at least 1"),
                ("loss", self.loss in LOSSES, f"one of {', '.join(LOSSES)}"),
                ("learning_rate", self.learning_rate > 0, "positive"),
                ("warm_up", self.warm_up >= 0, "at least 0"),
                ("ema_momentum", 0 <= self.ema_momentum < 1, "in [0, 1)"),
            )
            if not good
        ]
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))


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

    def as_dict(self) -> dict[str, Any]:
        """The preset as JSON types."""
        return dataclasses.asdict(self)


def read_preset(name: str, base: Preset | None = None) -> Preset:
    """A preset by the name of a bundled one, or by the path of a TOML file.

    Args:
        base: gives what the file leaves out, save for its sources.
    Raises:
        InvalidConfiguration: unknown file, no TOML, unknown keys or impossible values; all of them are named.
    """
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfiguration(f"{path}: {error}") from error
    try:
        return preset_from_dict(_over(base, {"name": path.stem, **values}))
    except InvalidConfiguration as error:
        raise InvalidConfiguration("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def _over(base: Preset | None, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a file over those of `base`, without its sources."""
    if base is None:
        return values
    below = base.as_dict()
    for table in (below, below["locator"], below["segmenter"]):
        del table["sources"]
    return _merge(below, values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merge(below[key], value) if isinstance(below.get(key), dict) and isinstance(value, dict) else value
        for key, value in above.items()
    }
    return {**below, **both}


def preset_from_dict(values: dict[str, Any]) -> Preset:
    """The inverse of `Preset.as_dict`; also takes what TOML gives.

    Raises:
        InvalidConfiguration: one line for each unknown key and impossible value.
    """
    problems: list[str] = []
    preset = _build(Preset, values, "", problems)
    if preset is not None:
        names = {source.name for source in preset.sources}
        for part in ("locator", "segmenter"):
            unknown = set(getattr(preset, part).sources) - names
            problems += [f"{part}.sources.{key}: no such source in this preset" for key in sorted(unknown)]
        if len(names) < len(preset.sources):
            problems.append("sources: a name stands twice")
        for i, source in enumerate(preset.sources):
            wrong = wrong_choices(source.layout, source.options)
            if source.ellipses and source.layout != "folder":
                wrong.append("ellipses: for the layout folder only")
            problems += [f"sources[{i}].{text}" for text in wrong]
    if problems or preset is None:
        raise InvalidConfiguration("\n".join(problems))
    return dataclasses.replace(preset, sources=tuple(_with_terms(source) for source in preset.sources))


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


def _build(kind: type[T], values: Any, where: str, problems: list[str]) -> T | None:
    """An instance of a dataclass from TOML values; what is wrong is appended to `problems`."""
    if not isinstance(values, dict):
        problems.append(f"{where or 'the file'}: must be a table")
        return None
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    problems += [f"{where}{key}: unknown key" for key in values if key not in known]
    before = len(problems)
    arguments = {}
    for key, spec in known.items():
        if key in values:
            arguments[key] = _convert(hints[key], values[key], f"{where}{key}", problems)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            problems.append(f"{where}{key}: missing")
    if len(problems) > before:
        return None
    try:
        return kind(**arguments)
    except (CupDiscError, TypeError, ValueError) as error:
        problems.append(f"{where.rstrip('.') or 'the file'}: {error}")
        return None


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{where}.", problems)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            problems.append(f"{where}: must be a list")
            return ()
        if inner[-1] is not Ellipsis and len(value) != len(inner):
            problems.append(f"{where}: must hold {len(inner)} values")
            return ()
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        return tuple(
            _convert(kind, item, f"{where}[{i}]", problems)
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict):
            problems.append(f"{where}: must be a table")
            return {}
        return {key: _convert(inner[1], item, f"{where}.{key}", problems) for key, item in value.items()}
    if origin is typing.Literal:
        if value not in inner:
            problems.append(f"{where}: must be one of {', '.join(map(str, inner))}")
        return value
    if origin in (types.UnionType, typing.Union):
        hint = inner[0]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        problems.append(f"{where}: must be {hint.__name__}, is {value!r}")
    return value
