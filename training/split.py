"""Which photographs of a source train, and which are held out: fixed by their ids, the same on every machine."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import InvalidConfiguration
from training.cache import Cache
from training.config import Preset, SourceConfig
from training.sources.example import Example, InvalidSource
from training.sources.layouts import read_layout
from training.views import Cut, cut_for

ELLIPSES = Path(__file__).parent / "ellipses"


@dataclass(frozen=True)
class Split:
    """Disjoint; together the source. `left_out` says that no photograph of the source was used for anything."""

    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    left_out: bool


def read_splits(preset: Preset, data: Path, cache: Cache | None = None) -> dict[str, Split]:
    """The photographs of each source of a preset, parted into training and held out.

    Args:
        data: the folder that holds the sources' folders.
        cache: the photographs as they were prepared; a source then needs no folder, but where it has one, the same
            photographs must be in it.
    Raises:
        InvalidSource: names what is wrong in every source.
        InvalidCache: a source is not prepared, or is another one by now.
    """
    splits, problems = {}, []
    for source in preset.sources:
        try:
            splits[source.name] = split_source(read_examples(source, data, cache), source, preset)
        except InvalidSource as error:
            problems.append(str(error))
    if problems:
        raise InvalidSource("\n".join(problems))
    return splits


def read_examples(source: SourceConfig, data: Path, cache: Cache | None = None) -> list[Example]:
    """The annotated photographs of one source; arguments and errors as in `read_splits`."""
    ellipses, folder = ELLIPSES / source.ellipses if source.ellipses else None, folder_of(source, data)
    if cache is not None and not folder.is_dir():
        return cache.examples(source.name, reading_of(source), None)
    examples = read_layout(source.layout, folder, source.name, source.options, ellipses)
    return examples if cache is None else cache.examples(source.name, reading_of(source), examples)


def reading_of(source: SourceConfig) -> dict[str, Any]:
    """How a source's files are read: photographs that were read in another way are others."""
    return {"layout": source.layout, "options": dict(sorted(source.options.items())), "ellipses": source.ellipses}


def folder_of(source: SourceConfig, data: Path) -> Path:
    """Where a source's photographs lie."""
    return data / (source.folder or source.name)


def split_source(examples: list[Example], source: SourceConfig, preset: Preset) -> Split:
    """Hold out the photographs whose hashed ids come first; where the source tells persons, whole persons.

    All photographs of a person are held out or none, so that there may be some more than the preset asks for.

    Raises:
        InvalidConfiguration: more are to be held out than there are.
    """
    if source.left_out:
        return Split((), tuple(examples), True)
    together: dict[str, set[str]] = {}  # a person, or a photograph by itself → ids
    for example in examples:
        together.setdefault(example.person or example.id, set()).add(example.id)
    free = [who for who, ids in together.items() if not ids & set(preset.never_held_out)]
    held_out: set[str] = set()
    for who in sorted(free, key=lambda who: hashlib.sha256(f"{source.name}/{who}".encode()).hexdigest()):
        if len(held_out) >= source.held_out:
            break
        held_out |= together[who]
    if source.held_out > 0 and max(source.held_out, len(held_out)) >= len(examples):
        raise InvalidConfiguration(f"sources.{source.name}.held_out={source.held_out}: of {len(examples)} photographs")
    return Split(
        tuple(example for example in examples if example.id not in held_out),
        tuple(example for example in examples if example.id in held_out),
        False,
    )


def disc_cut_of(preset: Preset) -> Cut:
    """The crops that the samples of the segmenter are drawn from: wide enough for each of the networks it averages."""
    varied = [single.augmentation for single in preset.segmenter.singles]
    return cut_for(preset.roi_diameters, max(each.scale[1] for each in varied), max(each.shift for each in varied))
