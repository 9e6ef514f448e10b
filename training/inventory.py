"""What a preset's sources hold: where they are, how many photographs, what is annotated, how large the ratios are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from model.biomarkers import vertical_cup_to_disc_ratio
from training.config import Preset
from training.sources.example import HALF, Example, InvalidSource, labels_of, read_each
from training.split import folder_of, read_examples

NOTEWORTHY = 0.01  # share of a cup outside its disc from which it is told


@dataclass(frozen=True)
class SourceFacts:
    """One source of a preset. `verticals` are the vCDR of the photographs with an annotated cup."""

    name: str
    layout: str
    folder: Path
    terms: str
    photographs: int
    cups: int
    verticals: tuple[float, ...]
    cups_outside: dict[str, float]  # id → share of the annotated cup that lies outside the annotated disc
    problems: tuple[str, ...]  # what is missing or odd, one line each


def survey(preset: Preset, data: Path, watch: Callable[[], None] = lambda: None) -> list[SourceFacts]:
    """Read every photograph and annotation of every source; what is wrong in one does not hide the others.

    Args:
        data: the folder that holds the sources' folders.
        watch: called after each photograph.
    """
    facts = []
    for source in preset.sources:
        examples: list[Example] = []
        measured: list[tuple[float | None, float]] = []
        problems: tuple[str, ...] = ()
        try:
            examples = read_examples(source, data)
            measured = read_each(examples, _measure, watch)
        except InvalidSource as error:
            problems = tuple(str(error).splitlines())
        facts.append(
            SourceFacts(
                name=source.name,
                layout=source.layout,
                folder=folder_of(source, data),
                terms=source.terms,
                photographs=len(examples),
                cups=sum(example.cup_annotated for example in examples),
                verticals=tuple(vertical for vertical, _ in measured if vertical is not None),
                cups_outside={
                    example.id: outside
                    for example, (_, outside) in zip(examples, measured, strict=False)
                    if outside >= NOTEWORTHY
                },
                problems=problems,
            )
        )
    return facts


def _measure(example: Example) -> tuple[float | None, float]:
    """vCDR where the cup is annotated, and the share of the cup outside the disc."""
    shape = example.read_photograph().shape
    annotated = example.read_annotation((shape[0], shape[1]))
    disc, cup = annotated.disc >= HALF, annotated.cup >= HALF
    vertical = vertical_cup_to_disc_ratio(labels_of(annotated)) if example.cup_annotated else None
    return vertical, float((cup & ~disc).sum() / max(cup.sum(), 1))


def sources_table(facts: list[SourceFacts]) -> Table:
    """The sources, for people; the quartiles of the vCDR include the lowest and the highest."""
    table = Table(title="sources")
    columns = (
        "source",
        "layout",
        "found in",
        "photographs",
        "disc",
        "cup",
        "vCDR min | 25 % | 50 % | 75 % | max",
        "terms",
    )
    for column in columns:
        table.add_column(column, justify="right" if column in ("photographs", "disc", "cup") else "left")
    for source in facts:
        found = str(source.folder) if source.photographs else f"not in {source.folder}"
        counts = (source.photographs, source.photographs, source.cups)
        quartiles = np.quantile(source.verticals, (0, 0.25, 0.5, 0.75, 1)) if source.verticals else ()
        ratios = " | ".join(f"{value:.2f}" for value in quartiles)
        table.add_row(source.name, source.layout, found, *map(str, counts), ratios, source.terms)
    return table
