"""Which photographs a command's arguments mean, and what their results are called."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from model.errors import InvalidConfiguration
from service.table import HEADER, TABLE

UNFINISHED = ".unfinished"  # in the folder of results, until all of them are there
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")  # looked for in folders, in any case


@dataclass(frozen=True)
class Photograph:
    """A file, and where its results go: `NAME.disc.png` and so on, NAME relative to the folder of results."""

    file: Path
    name: str


def find(arguments: Sequence[Path], out: Path) -> list[Photograph]:
    """The photographs that files, folders and patterns mean, each file once, those of a folder in the order of names.

    A folder stands for the photographs in it and in all folders below, told by `SUFFIXES`; hidden files and folders,
    folders behind links, and folders that hold results are passed over. Their results keep the folder's structure;
    those of other files lie side by side. A pattern (`*`, `?`, `[…]`, `**`) is one that the shell did not resolve. A
    folder that cannot be listed, like a file that is not there, is among the answers: whoever reads it will say what
    is wrong.

    Args:
        out: where the results will go; it may lie below one of those folders.
    Raises:
        InvalidConfiguration: a pattern fits nothing, there is no photograph at all, or `out` is one of those folders.
    """
    wanted: dict[Path, PurePath] = {}
    for argument in arguments:
        found = [argument]
        if not os.path.lexists(argument) and glob.has_magic(str(argument)):
            found = [Path(path) for path in sorted(glob.glob(str(argument), recursive=True))]  # noqa: PTH207 - Path has no way from an absolute pattern
            if not found:
                raise InvalidConfiguration(f"no file fits {argument}")
        for path in found:
            if path.is_dir():
                if path.resolve() == out.resolve():
                    raise InvalidConfiguration(f"{out} cannot hold both the photographs and their results")
                for file in _below(path, out.resolve()):
                    wanted.setdefault(file, file.relative_to(path) if file != path else PurePath(path.name))
            else:
                wanted.setdefault(path, PurePath(path.name))
    if not wanted:
        folders = ", ".join(str(argument) for argument in arguments)
        raise InvalidConfiguration(f"no photograph in {folders}; looked for {' '.join(SUFFIXES)}")
    names = output_names(wanted.values())
    return [Photograph(file, name) for file, name in zip(wanted, names, strict=True)]


def _below(folder: Path, out: Path) -> list[Path]:
    """Regular files with a photograph's suffix in a folder tree, and folders in it that cannot be listed."""
    found: list[Path] = []
    for at, folders, files in os.walk(folder, onerror=lambda error: found.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".") and not _holds_results(Path(at, name), out)]
        for name in files:
            path = Path(at, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                found.append(path)
    return sorted(found)


def _holds_results(folder: Path, out: Path) -> bool:
    """Whether masks lie there, of this run or of another: they are no photographs."""
    if folder.resolve() == out or (folder / UNFINISHED).exists():
        return True
    try:
        with (folder / TABLE).open(encoding="utf-8", errors="replace", newline="") as table:
            return table.readline() == HEADER
    except OSError:
        return False


def output_names(files: Iterable[PurePath]) -> list[str]:
    """A name for each file's results: its path without the suffix, numbered from the second of the same name on.

    Args:
        files: relative to the folder that they were found in; the name alone where they were given one by one.
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for file in files:
        stem = file.with_suffix("").as_posix()
        key = stem.lower()  # some file systems do not tell upper case from lower
        name, number = stem, numbers.get(key, 1)
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        numbers[key] = number
        taken.add(name.lower())
        names.append(name)
    return names
