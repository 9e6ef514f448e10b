"""Read sources once: decode every photograph, cut its views, and keep them where training steps find them ready."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.cache import FORMAT, HASHES, PLANES, Prepared, flatten, read_prepared
from training.config import SourceConfig
from training.duplicates import CROP_SIZE, disc_crop
from training.shelf import Shelf
from training.sources.example import HALF, Example, InvalidSource, Shares, fingerprint, labels_of, read_each
from training.views import Cut, View, views_of

TOGETHER = 64  # photographs in one file, and in memory at once


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


def prepare_source(
    source: SourceConfig,
    examples: list[Example],
    cuts: Sequence[Cut],
    shelf: Shelf,
    watch: Callable[[], None] = lambda: None,
) -> PreparedSource:
    """Put one source on a shelf. Killed at any moment, the shelf has the source as it was before, or whole.

    Args:
        examples: all photographs of the source.
        cuts: the views to keep; those that an earlier preparing kept as well are kept too.
        watch: called after each photograph.
    Raises:
        InvalidSource: lists every photograph or annotation that cannot be read.
        CannotWrite: no room.
        StorageError: a gs:// prefix does not take it.
    """
    with shelf.writing_alone():
        fingerprints = [fingerprint(example).hex() for example in examples]
        before = read_prepared(shelf, source.name)
        if before is not None and _same(before, source, examples, fingerprints):
            cuts = sorted({*cuts, *_cuts_of(before)}, key=lambda cut: cut.name)
            if len(cuts) == len(_cuts_of(before)) and _files_are_there(shelf, before):
                for _ in examples:
                    watch()
                return _told(before.source, before.manifest, False)
        shelf.check_room(len(examples) * sum(PLANES * cut.size**2 for cut in cuts))
        files, kept = _write_files(source.name, examples, cuts, shelf, watch)
        manifest = {
            "format": FORMAT,
            "source": source.name,
            "reading": reading_of(source),
            "cuts": {cut.name: {"diameters": cut.diameters, "size": cut.size} for cut in cuts},
            "photographs": [
                {
                    "id": example.id,
                    "cup": example.cup_annotated,
                    "view": example.view,
                    "glaucoma": example.glaucoma,
                    "fingerprint": each,
                    "cup_outside": round(outside, 4),
                }
                for example, each, (outside, _) in zip(examples, fingerprints, kept, strict=True)
            ],
            "places": {cut.name: [places[i] for _, places in kept] for i, cut in enumerate(cuts)},
            "files": files,
        }
        shelf.publish(source.name, _encode(manifest))
        shelf.sweep(source.name, Prepared(source.name, manifest).files, before.files if before else set())
    return _told(source.name, manifest, True)


def reading_of(source: SourceConfig) -> dict[str, Any]:
    """How a source's files are read: photographs that were read in another way are others."""
    return {"layout": source.layout, "options": dict(sorted(source.options.items())), "ellipses": source.ellipses}


def _write_files(
    source: str, examples: list[Example], cuts: Sequence[Cut], shelf: Shelf, watch: Callable[[], None]
) -> tuple[list[dict[str, Any]], list[tuple[float, list[list[float]]]]]:
    """The manifest's list of files; and of each photograph the cup's share outside and, by cut, the disc's place."""
    files: list[dict[str, Any]] = []
    kept: list[tuple[float, list[list[float]]]] = []
    problems: list[str] = []
    for first in range(0, len(examples), TOGETHER):
        try:
            read = read_each(examples[first : first + TOGETHER], lambda example: _read(example, cuts), watch)
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


def _same(before: Prepared, source: SourceConfig, examples: list[Example], fingerprints: list[str]) -> bool:
    known = [(each["id"], each["fingerprint"]) for each in before.manifest["photographs"]]
    now = [(example.id, each) for example, each in zip(examples, fingerprints, strict=True)]
    return known == now and before.manifest["reading"] == reading_of(source)


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
