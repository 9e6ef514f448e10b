"""Which photographs judge a version, and what it knew of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.artefact import Manifest
from model.errors import InvalidConfiguration
from training.config import Preset, preset_from_dict
from training.sources.example import Example
from training.split import Split

HELD_OUT = "held out"  # the version was trained on others of the source
NEVER_SEEN = "never seen"  # no photograph of the source, or none under its name
LEFT_OUT = "left out"  # of a source that its preset names and leaves out
ALL = "all, trained on too"
UNSURE = "perhaps trained on"  # another preset holds out others than the version's did


@dataclass(frozen=True)
class Judged:
    """Photographs of one source, and what the version knew of them: one of the words above."""

    how: str
    examples: tuple[Example, ...]


def preset_of(manifest: Manifest) -> Preset:
    """The preset that a version was trained with.

    Raises:
        InvalidConfiguration: the manifest holds none, or one that this code cannot read.
    """
    values = manifest.training.get("preset")
    if not isinstance(values, dict):
        raise InvalidConfiguration(f"version {manifest.version} does not tell its preset; name one with --preset")
    return preset_from_dict(values)


def choose(
    manifest: Manifest,
    preset: Preset,
    splits: Mapping[str, Split],
    sources: Sequence[str] = (),
    everything: bool = False,
) -> dict[str, Judged]:
    """The photographs to judge a version on, by source; sources without any are left away.

    Of a source that the version was trained on, the held-out photographs; of every other one, all.

    Args:
        preset: whose sources are meant; `splits` are its photographs.
        sources: only these; all where empty.
        everything: those that it was trained on too.
    Raises:
        InvalidConfiguration: the preset has no such source, or there is nothing to judge on.
    """
    unknown = set(sources) - set(splits)
    if unknown:
        raise InvalidConfiguration(f"--sources: {', '.join(sorted(unknown))}: not in the preset {preset.name}")
    trained_on = {row["name"] for row in manifest.sources if row.get("trained_on")}
    own = {source["name"]: source for source in manifest.training.get("preset", {}).get("sources", ())}
    judged = {}
    for name, split in splits.items():
        if sources and name not in sources:
            continue
        (config,) = (source for source in preset.as_dict()["sources"] if source["name"] == name)
        examples, how = split.held_out, HELD_OUT
        if split.left_out:
            how = LEFT_OUT if name not in trained_on else UNSURE
        elif name not in trained_on:
            examples, how = _all_of(split), NEVER_SEEN
        elif everything:
            examples, how = _all_of(split), ALL
        elif own.get(name, {}).get("held_out") != config["held_out"]:
            how = UNSURE
        if examples:
            judged[name] = Judged(how, tuple(examples))
    if not judged:
        raise InvalidConfiguration("no photograph is held out from this version; --all takes those that it knows")
    return judged


def _all_of(split: Split) -> tuple[Example, ...]:
    return tuple(sorted((*split.training, *split.held_out), key=lambda example: example.id))
