"""Views of prepared photographs, read from a shelf as memory-mapped files: no decoding, and no copy in memory."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.shelf import InvalidCache, Shelf, open_shelf
from training.sources.example import Example, InvalidSource, Shares, fingerprint
from training.views import Cut, View

FORMAT = 1  # of manifests and files; another number is prepared anew
PLANES = 6  # bytes of one pixel: R, G, B, inside, disc, cup
HASHES = "hashes"  # files of the crops that near-duplicates are found by


@dataclass(frozen=True)
class Elsewhere:
    """The annotation of a photograph whose files are not on this machine."""

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    @property
    def variant(self) -> str | None:
        return None

    def read(self, shape: tuple[int, int]) -> Shares:
        raise InvalidSource("the annotation is not here, only what was prepared from it")


@dataclass(frozen=True)
class Prepared:
    """One prepared source: its manifest, parsed."""

    source: str
    manifest: dict[str, Any]

    @property
    def rows(self) -> dict[str, int]:
        """Place of each photograph in the files, by its id."""
        return {each["id"]: row for row, each in enumerate(self.manifest["photographs"])}

    @property
    def files(self) -> set[str]:
        """The names of all files."""
        return {name for part in self.manifest["files"] for name in part["names"].values()}

    def examples(self) -> list[Example]:
        """Its photographs, of which there is nothing but what was prepared."""
        return [
            Example(
                source=self.source,
                id=each["id"],
                image=Path(self.source) / each["id"],
                annotation=Elsewhere(),
                cup_annotated=each["cup"],
                view=each["view"],
                glaucoma=each["glaucoma"],
                person=each.get("person", ""),  # prepared before it was kept: each photograph by itself
                prepared=bytes.fromhex(each["fingerprint"]),
            )
            for each in self.manifest["photographs"]
        ]


class Cache:
    """Prepared sources.

    Args:
        location: a folder or a gs:// prefix.
        copies: where files from a gs:// prefix are kept on this machine.
    Raises:
        InvalidConfiguration: neither.
    """

    def __init__(self, location: str, copies: Path | None = None) -> None:
        self._shelf: Shelf = open_shelf(location, copies)
        self._prepared: dict[str, Prepared] = {}
        self._files: dict[tuple[str, str], np.ndarray] = {}

    def __str__(self) -> str:
        return str(self._shelf)

    def examples(self, source: str, reading: dict[str, Any], here: list[Example] | None) -> list[Example]:
        """The photographs of one source, each with its fingerprint.

        Args:
            reading: as `prepare.reading_of` gives it; must be that of the preparing.
            here: the photographs as they are on this machine now; None where they are not.
        Raises:
            InvalidCache: not prepared, or prepared from other files or in another way; names what differs.
        """
        prepared = self._source(source)
        if prepared.manifest["reading"] != reading:
            raise InvalidCache(f"{self}: {source} was prepared as {prepared.manifest['reading']}, not as {reading}")
        if here is None:
            return prepared.examples()
        before = {each["id"]: each["fingerprint"] for each in prepared.manifest["photographs"]}
        now = {example.id: fingerprint(example) for example in here}
        changed = [identity for identity in sorted({*before, *now}) if before.get(identity) != _hex(now.get(identity))]
        if changed:
            raise InvalidCache(
                f"{self}: {source} has changed since it was prepared; run `cupdisc-train prepare` again: "
                f"{', '.join(changed[:20])}{' …' if len(changed) > 20 else ''}"
            )
        known = {each.id: each for each in prepared.examples()}
        return [_with_fingerprint(example, known[example.id]) for example in here]

    def views(self, examples: Sequence[Example], cut: Cut) -> list[View]:
        """A view of each, its pixels in memory-mapped files.

        Raises:
            InvalidCache: a photograph or this cut was not prepared, or a file is missing or damaged.
        """
        rows = {source: self._source(source).rows for source in {example.source for example in examples}}
        return [self._view(example, rows[example.source], cut) for example in examples]

    def hashes(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """Of each, (CROP_SIZE, CROP_SIZE) uint8 as `duplicates.disc_crop` cuts it. Raises InvalidCache."""
        rows = {source: self._source(source).rows for source in {example.source for example in examples}}
        return [self._row(example.source, rows[example.source][example.id], HASHES) for example in examples]

    def _source(self, name: str) -> Prepared:
        if name not in self._prepared:
            prepared = read_prepared(self._shelf, name)
            if prepared is None:
                raise InvalidCache(f"{self}: {name} is not prepared; run `cupdisc-train prepare`")
            self._prepared[name] = prepared
        return self._prepared[name]

    def _view(self, example: Example, rows: dict[str, int], cut: Cut) -> View:
        if example.id not in rows:
            raise InvalidCache(f"{self}: {example.source}/{example.id} is not prepared; run `cupdisc-train prepare`")
        row, size = rows[example.id], cut.size
        flat = self._row(example.source, row, cut.name)
        image, *planes = np.split(flat, [3 * size**2, 4 * size**2, 5 * size**2])
        inside, disc, cup = (plane.reshape(size, size) for plane in planes)
        x, y, diameter = self._source(example.source).manifest["places"][cut.name][row]
        return View(example, image.reshape(size, size, 3), inside, disc, cup, x, y, diameter)

    def _row(self, source: str, row: int, kind: str) -> np.ndarray:
        for part in self._source(source).manifest["files"]:
            if row < part["first"] + part["count"]:
                picked: np.ndarray = self._file(source, part, kind)[row - part["first"]]
                return picked
        raise InvalidCache(f"{self}: {source}: its manifest names no file for photograph {row}")

    def _file(self, source: str, part: dict[str, Any], kind: str) -> np.ndarray:
        if kind not in part["names"]:
            known = ", ".join(sorted(set(part["names"]) - {HASHES}))
            raise InvalidCache(f"{self}: {source} is prepared as {known}, not as {kind}; run `cupdisc-train prepare`")
        name = part["names"][kind]
        if (source, name) not in self._files:
            try:
                array = np.load(self._shelf.fetch(source, name), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise InvalidCache(f"{self}: {source}/{name}: {error}") from error
            self._files[source, name] = array
        return self._files[source, name]


def read_prepared(shelf: Shelf, source: str) -> Prepared | None:
    """A prepared source; None where there is none, or one of another format.

    Raises:
        InvalidCache: what is there is no manifest.
    """
    encoded = shelf.manifest(source)
    if encoded is None:
        return None
    try:
        manifest = json.loads(encoded)
        if manifest["format"] != FORMAT:
            return None
        prepared = Prepared(source, manifest)
        prepared.examples()
        if not prepared.files:
            raise ValueError("names no file")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidCache(f"{shelf}: {source}: no manifest of prepared photographs: {error!r}") from error
    return prepared


def flatten(view: View) -> np.ndarray:
    """(PLANES * S * S,) uint8: a view's pixels as they stand in a file."""
    return np.concatenate([plane.ravel() for plane in (view.image, view.inside, view.disc, view.cup)])


def _hex(content: bytes | None) -> str | None:
    return None if content is None else content.hex()


def _with_fingerprint(example: Example, known: Example) -> Example:
    return dataclasses.replace(example, prepared=known.prepared)
