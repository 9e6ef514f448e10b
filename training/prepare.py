"""Read sources once: decode every photograph, cut its views, and keep them where training steps find them ready."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from model.errors import InvalidConfiguration
from training.cache import FORMAT, HASHES, PLANES, Prepared, flatten, read_prepared
from training.config import Preset
from training.duplicates import CROP_SIZE, disc_crop
from training.shelf import InvalidCache, Shelf, open_shelf
from training.sources.example import HALF, Example, InvalidSource, Shares, fingerprint, labels_of, read_each
from training.split import disc_cut_of, read_examples, reading_of
from training.views import SEVERAL, WHOLE, Cut, View, cut_for, views_of

TOGETHER = 64  # photographs in one file, and in memory at once
WIDEST = 30.0  # disc diameters; a field of view of 60° shows about 10


@dataclass(frozen=True)
class PreparedSource:
    """One source on a shelf."""

    name: str
    photographs: int
    size: int  # bytes of its files
    digest: str  # sha256 of its manifest, which names every file by its own
    fresh: bool  # prepared now; False: it was there already
    cups_outside: dict[str, float]  # id → share of the annotated cup that lies outside the annotated disc


@dataclass(frozen=True)
class _Photograph:
    """What is kept of one photograph."""

    views: list[View]
    hashed: np.ndarray
    outside: float


def cuts_for(preset: Preset, diameters: Sequence[float] | None) -> list[Cut]:
    """The views to keep: what the preset draws from, whole photographs, and crops of at least these diameters.

    Args:
        diameters: None for three crops of several diameters.
    Raises:
        InvalidConfiguration: not positive, or wider than any photograph.
    """
    wrong = [each for each in diameters or () if not 0 < each <= WIDEST]
    if wrong:
        raise InvalidConfiguration(f"diameters={wrong}: must be more than 0 and at most {WIDEST:g}")
    crops = SEVERAL if diameters is None else [cut_for(each, 1.0, 0.0) for each in diameters]
    return sorted({WHOLE, disc_cut_of(preset), *crops}, key=lambda cut: cut.name)


def prepare_sources(
    preset: Preset, data: Path, cuts: Sequence[Cut], location: str, watch: Callable[[], None] = lambda: None
) -> list[PreparedSource]:
    """`prepare_source` of every source of a preset. Faults in one do not keep the others from being prepared.

    Args:
        data: the folder that holds the sources' folders.
        location: of the shelf: a folder or a gs:// prefix.
    Raises:
        InvalidSource: names what is wrong in every source.
    """
    shelf = open_shelf(location)
    done, problems = [], []
    for source in preset.sources:
        try:
            examples = read_examples(source, data)
            done.append(prepare_source(source.name, reading_of(source), examples, cuts, shelf, watch))
        except InvalidSource as error:
            problems.append(str(error))
    if problems:
        raise InvalidSource("\n".join(problems))
    return done


def prepared_table(sources: list[PreparedSource], location: str) -> Table:
    """The prepared sources, for people."""
    table = Table(title=f"prepared in {location}")
    for column in ("source", "photographs", "MB", "", "digest"):
        table.add_column(column, justify="right" if column in ("photographs", "MB") else "left")
    for source in sources:
        state = "prepared now" if source.fresh else "was there"
        table.add_row(source.name, str(source.photographs), f"{source.size / 1e6:.0f}", state, source.digest[:16])
    return table


def prepare_source(
    source: str,
    reading: dict[str, Any],
    examples: list[Example],
    cuts: Sequence[Cut],
    shelf: Shelf,
    watch: Callable[[], None] = lambda: None,
    together: int = TOGETHER,
) -> PreparedSource:
    """Put one source on a shelf. Killed at any moment, the shelf has the source as it was before, or whole.

    Args:
        source: its name.
        reading: how its files are read, as `split.reading_of` gives it.
        examples: all photographs of the source.
        cuts: the views to keep; those that an earlier preparing of the same photographs kept are kept as well.
        watch: called after each photograph.
        together: photographs in one file.
    Raises:
        InvalidSource: lists every photograph or annotation that cannot be read.
        CannotWrite: no room, or another process prepares there.
        StorageError: a gs:// prefix does not take it.
    """
    with shelf.writing_alone():
        fingerprints = [fingerprint(example).hex() for example in examples]
        before = _earlier(shelf, source)
        if before is not None and _same(before, reading, examples, fingerprints):
            cuts = sorted({*cuts, *_cuts_of(before)}, key=lambda cut: cut.name)
            if len(cuts) == len(_cuts_of(before)) and shelf.has(source, before.files):
                for _ in examples:
                    watch()
                return _told(before.source, before.manifest, False)
        shelf.check_room(len(examples) * sum(PLANES * cut.size**2 for cut in cuts))
        files, kept = _write_files(source, examples, cuts, shelf, watch, together)
        manifest = {
            "format": FORMAT,
            "source": source,
            "reading": reading,
            "cuts": {cut.name: {"diameters": cut.diameters, "size": cut.size} for cut in cuts},
            "photographs": [
                {
                    "id": example.id,
                    "cup": example.cup_annotated,
                    "view": example.view,
                    "glaucoma": example.glaucoma,
                    "person": example.person,
                    "fingerprint": each,
                    "cup_outside": round(outside, 4),
                }
                for example, each, (outside, _) in zip(examples, fingerprints, kept, strict=True)
            ],
            "places": {cut.name: [places[i] for _, places in kept] for i, cut in enumerate(cuts)},
            "files": files,
        }
        shelf.publish(source, _encode(manifest))
        shelf.sweep(source, Prepared(source, manifest).files, before.files if before else set())
    return _told(source, manifest, True)


def _earlier(shelf: Shelf, source: str) -> Prepared | None:
    try:
        return read_prepared(shelf, source)
    except InvalidCache:
        return None  # damaged: prepared anew


def _write_files(
    source: str, examples: list[Example], cuts: Sequence[Cut], shelf: Shelf, watch: Callable[[], None], together: int
) -> tuple[list[dict[str, Any]], list[tuple[float, list[list[float]]]]]:
    """The manifest's list of files; and of each photograph the cup's share outside and, by cut, the disc's place."""
    files: list[dict[str, Any]] = []
    kept: list[tuple[float, list[list[float]]]] = []
    problems: list[str] = []
    for first in range(0, len(examples), together):
        try:
            read = read_each(examples[first : first + together], lambda example: _read(example, cuts), watch)
        except InvalidSource as error:
            problems.append(str(error))
        if problems:  # the others are read all the same, so that one look names whatever is wrong
            continue
        names = {
            cut.name: shelf.put(source, _writer([flatten(each.views[i]) for each in read]))
            for i, cut in enumerate(cuts)
        }
        names[HASHES] = shelf.put(source, _writer([each.hashed for each in read]))
        files.append({"first": first, "count": len(read), "names": names})
        kept += [(each.outside, [[view.x, view.y, view.diameter] for view in each.views]) for each in read]
    if problems:
        raise InvalidSource("\n".join(problems))
    return files, kept


def _read(example: Example, cuts: Sequence[Cut]) -> _Photograph:
    photograph = example.read_photograph()
    disc, cup = example.read_annotation(photograph.shape[:2])
    shares = Shares(disc, np.minimum(cup, disc))
    sure = cup >= HALF
    outside = float((sure & (disc < HALF)).sum() / max(sure.sum(), 1))
    return _Photograph(views_of(example, photograph, shares, cuts), disc_crop(photograph, labels_of(shares)), outside)


def _writer(rows: list[np.ndarray]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.stack(rows), allow_pickle=False)

    return write


def _same(before: Prepared, reading: dict[str, Any], examples: list[Example], fingerprints: list[str]) -> bool:
    known = [(each["id"], each["fingerprint"]) for each in before.manifest["photographs"]]
    now = [(example.id, each) for example, each in zip(examples, fingerprints, strict=True)]
    return known == now and before.manifest["reading"] == reading


def _cuts_of(prepared: Prepared) -> list[Cut]:
    return [Cut(each["diameters"], each["size"]) for each in prepared.manifest["cuts"].values()]


def _encode(manifest: dict[str, Any]) -> bytes:
    """The same bytes for the same photographs."""
    return (json.dumps(manifest, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _told(name: str, manifest: dict[str, Any], fresh: bool) -> PreparedSource:
    photographs = manifest["photographs"]
    pixels = sum(PLANES * cut["size"] ** 2 for cut in manifest["cuts"].values()) + CROP_SIZE**2
    return PreparedSource(
        name=name,
        photographs=len(photographs),
        size=len(photographs) * pixels,
        digest=hashlib.sha256(_encode(manifest)).hexdigest(),
        fresh=fresh,
        cups_outside={each["id"]: each["cup_outside"] for each in photographs},
    )
