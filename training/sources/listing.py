"""Going through a data set's folders: examples and problems are collected, and the problems are told all at once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from training.sources.example import Annotation, Example, InvalidSource

PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


class Listing:
    """The examples of one source so far, and what was missing or odd so far."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self._source = source
        self._examples: dict[str, Example] = {}
        self._problems: list[str] = []

    def photographs(self, folder: Path, names: str) -> list[Path]:
        """The photographs in a folder and in those inside it, by name; a missing folder and odd names are problems.

        Args:
            names: what a file's name without its ending must match as a whole, a regular expression.
        """
        if not folder.is_dir():
            self._problems.append(f"{folder}: no such folder")
            return []
        inside = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        found = [path for path in inside if path.suffix.lower() in PHOTOGRAPHS]
        self._problems += [f"{path}: odd name" for path in found if not re.fullmatch(names, path.stem)]
        if not found:
            self._problems.append(f"{folder}: holds no photograph")
        return [path for path in found if re.fullmatch(names, path.stem)]

    def chosen(self, part: str, parts: dict[str, Path]) -> list[str]:
        """The parts to read: the one that is asked for, or with "all" every one whose folder is there.

        Args:
            parts: name of each → folder of its photographs.
        """
        present = [name for name, folder in parts.items() if folder.is_dir()] if part == "all" else [part]
        if not present:
            self._problems.append(f"{self.folder}: holds none of {', '.join(str(path) for path in parts.values())}")
        return present

    def add(
        self,
        image: Path,
        annotation: Annotation,
        view: Literal["full", "crop"],
        cup: bool = True,
        left_half: bool = False,
        glaucoma: bool | None = None,
        person: str = "",
    ) -> None:
        """One example; its id is the photograph's name. A missing file and an id that stands twice are problems."""
        missing = [path for path in annotation.files if not path.is_file()]
        self._problems += [f"{path}: missing" for path in missing]
        if image.stem in self._examples:
            self._problems.append(f"{image}: the same name as {self._examples[image.stem].image}")
        self._examples.setdefault(
            image.stem, Example(self._source, image.stem, image, annotation, cup, view, left_half, glaucoma, person)
        )

    def problem(self, text: str | Iterable[str]) -> None:
        """Remember what is wrong, one line each."""
        self._problems += [text] if isinstance(text, str) else text

    def examples(self) -> list[Example]:
        """All of them, in the order of their ids.

        Raises:
            InvalidSource: there were problems, each in a line of its own; or there is no example.
        """
        if self._problems:
            raise InvalidSource("\n".join(self._problems))
        if not self._examples:
            raise InvalidSource(f"{self.folder}: holds no annotated photograph")
        return [self._examples[identity] for identity in sorted(self._examples)]
