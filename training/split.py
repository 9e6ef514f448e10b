"""Which photographs of a source train, and which are held out: fixed by their ids, the same on every machine."""

import hashlib
from dataclasses import dataclass

from model.errors import InvalidConfiguration
from training.config import Preset, SourceConfig
from training.sources.folder import Example


@dataclass(frozen=True)
class Split:
    """Disjoint; together the source. `left_out` says that no photograph of the source was used for anything."""

    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    left_out: bool


def split_source(examples: list[Example], source: SourceConfig, preset: Preset) -> Split:
    """Hold out the photographs whose hashed ids come first.

    Raises:
        InvalidConfiguration: more are to be held out than there are.
    """
    if source.left_out:
        return Split((), tuple(examples), True)
    free = [example for example in examples if example.id not in preset.never_held_out]
    if source.held_out > 0 and source.held_out >= len(examples):
        raise InvalidConfiguration(f"sources.{source.name}.held_out={source.held_out}: of {len(examples)} photographs")
    ranked = sorted(free, key=lambda example: hashlib.sha256(f"{source.name}/{example.id}".encode()).hexdigest())
    held_out = {example.id for example in ranked[: source.held_out]}
    return Split(
        tuple(example for example in examples if example.id not in held_out),
        tuple(example for example in examples if example.id in held_out),
        False,
    )
