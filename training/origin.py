"""What a run continues: a published version or a finished run, its networks, and its sources mixed with new ones."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.artefact import NETWORKS
from model.errors import InvalidConfiguration
from model.registry import open_registry
from model.unet_config import UNetConfig
from training.config import NetworkConfig, Preset, convention_of, preset_from_dict
from training.restore import restore_network
from training.run import Start, weights_of
from training.saved_run import load_networks, run_facts

READ_BY = ("folder", "layout", "options", "ellipses")  # of a source: which photographs it has


@dataclass(frozen=True)
class Origin:
    """What is continued: the weights, and what they were trained on."""

    start: Start
    preset: Preset


def read_origin(name: str, registry: str) -> Origin:
    """A finished run by its folder, or a version by its name or alias.

    Args:
        registry: as `model.registry.open_registry` takes it.
    Raises:
        InvalidConfiguration: no finished run and no registry of that name, or a version that does not tell its preset.
        VersionError: the registry has no such version, or its files are not what its manifest says.
    """
    folder = Path(name)
    if (folder / "run.json").is_file():
        facts, digest = run_facts(folder)
        networks = dict(zip(NETWORKS, load_networks(folder, facts), strict=True))
        learnt = tuple(facts.get("conventions", {}))
        return Origin(Start(name, digest, networks, conventions=learnt), preset_from_dict(facts["preset"]))
    version = open_registry(registry).open(name)
    manifest = version.manifest
    try:
        preset = preset_from_dict(manifest.training["preset"])
        configs = [UNetConfig(**getattr(manifest, part).config) for part in NETWORKS]
    except (KeyError, TypeError) as error:
        raise InvalidConfiguration(f"version {manifest.version} does not tell how it was trained: {error!r}") from error
    networks = {
        part: restore_network(version.folder / part, config, part)
        for part, config in zip(NETWORKS, configs, strict=True)
    }
    learnt = tuple(manifest.training.get("conventions", {}))
    return Origin(Start(manifest.version, version.digest, networks, conventions=learnt), preset)


def continue_preset(new: Preset, old: Preset, old_share: float, anew: bool = False) -> Preset:
    """The preset `new` with the sources of `old` that it does not name itself, which then give a share of the samples.

    They stay listed with a share of 0 too: the weights know their photographs, so no figure may call them unseen.

    Args:
        new: its sources' weights among each other are kept.
        old_share: of the samples, in [0, 1), for each network.
        anew: what is trained begins with weights of its own, as beside a network that is kept: its shape is free.
    Raises:
        InvalidConfiguration: another network than the old one's, or photographs held out now that the old version was
            trained on; the message names each of them.
    """
    if not 0 <= old_share < 1:
        raise InvalidConfiguration(f"old_share={old_share}: must be at least 0 and below 1")
    shapes = [] if anew else [text for part in NETWORKS for text in _other_network(part, new, old)]
    wrong = shapes + _seen_before(new, old)
    if wrong:
        raise InvalidConfiguration("\n".join(wrong))
    named = {source.name for source in new.sources}
    added = tuple(source for source in old.sources if source.name not in named)
    never = tuple(dict.fromkeys((*new.never_held_out, *old.never_held_out)))
    mixed = dataclasses.replace(new, sources=(*new.sources, *added), never_held_out=never)
    names = {source.name for source in added}
    mixed = dataclasses.replace(mixed, segmenter=_same_answer(mixed, old))
    return dataclasses.replace(
        mixed,
        locator=_share_out(new, old, new.locator, old.locator, names, old_share),
        segmenter=_share_out(new, old, mixed.segmenter, old.segmenter, names, old_share),
    )


def keep(new: Preset, origin: Origin, names: tuple[str, ...]) -> Start:
    """What a run starts from that takes some networks of a version as they are, and trains the others anew.

    Raises:
        InvalidConfiguration: no such network, all of them, or the preset says that one is trained in another way.
    """
    wrong = [f"--keep {name}: there is {' and '.join(NETWORKS)}" for name in names if name not in NETWORKS]
    if set(names) >= set(NETWORKS):
        wrong.append(f"--keep {', '.join(names)}: nothing is left to train")
    for name in set(names) & set(NETWORKS):
        here, there = (_trained_how(preset, name) for preset in (new, origin.preset))
        wrong += [
            f"{name}.{key}: {here[key]}, but that of {origin.start.name} was trained with {there[key]}"
            for key in here
            if here[key] != there[key]
        ]
    if wrong:
        raise InvalidConfiguration("\n".join(wrong))
    kept = {name: network for name, network in origin.start.continued.items() if name in names}
    return dataclasses.replace(origin.start, continued={}, kept=kept)


def _trained_how(preset: Preset, name: str) -> dict[str, Any]:
    """All that makes a network, of its preset."""
    config: NetworkConfig = getattr(preset, name)
    weights = {each: weight for each, weight in weights_of(preset, config).items() if weight}
    return {**dataclasses.asdict(config), "sources": weights, "roi_diameters": preset.roi_diameters}


def _same_answer(mixed: Preset, old: Preset) -> NetworkConfig:
    """The segmenter's table, drawing as the old version does where it does not say whose cups to draw."""
    known = {convention_of(source) for source in mixed.sources}
    if not mixed.segmenter.told or mixed.segmenter.answer or not set(old.segmenter.answer) <= known:
        return mixed.segmenter
    return dataclasses.replace(mixed.segmenter, answer=old.segmenter.answer)


def _share_out(
    new: Preset, old: Preset, config: NetworkConfig, old_config: NetworkConfig, added: set[str], old_share: float
) -> NetworkConfig:
    """The table of one network's sources: `added` together give `old_share` of the samples."""
    if not added:
        return config
    own = weights_of(new, config)
    theirs = {name: weight for name, weight in weights_of(old, old_config).items() if name in added}
    left_out = {source.name for source in (*new.sources, *old.sources) if source.left_out}
    total, their_total = (sum(w for name, w in table.items() if name not in left_out) for table in (own, theirs))
    scale = old_share / (1 - old_share) * total / their_total if their_total and total else 1.0
    return dataclasses.replace(config, sources={**own, **{name: weight * scale for name, weight in theirs.items()}})


def _other_network(part: str, new: Preset, old: Preset) -> list[str]:
    here, there = getattr(new, part).shape, getattr(old, part).shape
    return [
        f"{part}.network.{field.name}: {getattr(here, field.name)}, but the weights are of {getattr(there, field.name)}"
        for field in dataclasses.fields(UNetConfig)
        if getattr(here, field.name) != getattr(there, field.name)
    ]


def _seen_before(new: Preset, old: Preset) -> list[str]:
    """Sources of both, where the new preset judges by photographs that the old version knows."""
    known = {source.name: source for source in old.sources if not source.left_out}
    folders = {source.folder or source.name: source for source in known.values()}
    moved = sorted(set(new.never_held_out) - set(old.never_held_out))
    wrong = []
    for source in new.sources:
        before = known.get(source.name)
        judges = source.left_out or source.held_out > 0
        if before is None:
            if judges and (same := folders.get(source.folder or source.name)) is not None:
                wrong.append(f"sources.{source.name}: the weights were trained on that folder, as {same.name}")
            continue
        if judges and (other := [key for key in READ_BY if getattr(source, key) != getattr(before, key)]):
            wrong.append(f"sources.{source.name}.{other[0]}: other photographs than before would be held out")
        if source.held_out and moved:
            wrong.append(
                f"never_held_out: in the place of {', '.join(moved)} one that the weights saw may be held out of "
                f"{source.name}"
            )
        if source.left_out:
            wrong.append(f"sources.{source.name}.left_out: the weights were trained on it")
        elif source.held_out > before.held_out:
            wrong.append(
                f"sources.{source.name}.held_out={source.held_out}: the weights saw all but {before.held_out} of them"
            )
    return wrong
