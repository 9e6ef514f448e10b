"""Presets as TOML files: a bundled one by its name, any other by its path, each perhaps over another one."""

import re
from pathlib import Path
from typing import Any

from model.errors import InvalidConfiguration
from training.config import Preset, preset_from_dict
from training.tables import read_toml, with_lines

PRESETS = Path(__file__).parent / "presets"
EXTENDS = "extends"  # the key that names the preset whose values hold where a file says nothing
SOURCE = re.compile(r"sources\[(\d+)\]")


def read_preset(name: str, base: Preset | None = None) -> Preset:
    """A preset by the name of a bundled one, or by the path of a TOML file.

    A file with `extends` takes whatever it leaves out from the preset named there: a bundled one, or a path as seen
    from the file. Its sources are laid over those of the same name; others are added.

    Args:
        base: gives what the file leaves out, save for its sources and the shares of them in its answer.
    Raises:
        InvalidConfiguration: unknown file, no TOML, unknown keys or impossible values; all of them are named, with
            their lines.
    """
    path = preset_path(name)
    values, text, sources = _read(path, ())
    if "paper" in values:
        raise InvalidConfiguration(f"{path}: repeats the paper and makes no version: `cupdisc-train paper`")
    merged = {"name": path.stem, **values}
    try:
        return preset_from_dict(_over(base, merged))
    except InvalidConfiguration as error:
        raise with_lines(_numbered_as_in_the_file(error, merged, sources), path, text) from error


def preset_path(name: str) -> Path:
    """Where the preset of this name or path is."""
    return Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"


def _read(path: Path, before: tuple[Path, ...]) -> tuple[dict[str, Any], str, list[Any]]:
    """A file's values over those that it extends, its own text, and the names of its own sources, in order."""
    values, text = read_toml(path)
    own = values.get("sources", [])
    names = [source.get("name") if isinstance(source, dict) else None for source in own if isinstance(own, list)]
    below = values.pop(EXTENDS, None)
    if below is None:
        return values, text, names
    if not isinstance(below, str) or not below:
        raise with_lines(InvalidConfiguration(f"{EXTENDS}: must be a preset's name, or a path"), path, text)
    other = path.parent / below if below.endswith(".toml") else preset_path(below)
    if other.resolve() in (each.resolve() for each in (*before, path)):
        raise with_lines(InvalidConfiguration(f"{EXTENDS}: {below} extends this file in turn"), path, text)
    parent, _, _ = _read(other, (*before, path))
    return {**_merge(parent, values), **_sources(parent, values)}, text, names


def _sources(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The table `sources` of both, the upper one's laid over those of the same name; nothing where either is odd."""
    lists = below.get("sources"), above.get("sources")
    if not all(isinstance(each, list) and all(isinstance(source, dict) for source in each) for each in lists):
        return {}
    lower, upper = lists[0] or [], lists[1] or []
    known = [source.get("name") for source in lower]
    over = {source.get("name"): source for source in upper if source.get("name") in known}
    merged = [{**source, **over.get(source.get("name"), {})} for source in lower]
    new = [source for source in upper if source.get("name") not in known]
    twice = [source for source in upper if source.get("name") in known and over[source.get("name")] is not source]
    return {"sources": [*merged, *new, *twice]}


def _numbered_as_in_the_file(
    error: InvalidConfiguration, merged: dict[str, Any], own: list[Any]
) -> InvalidConfiguration:
    """The problems with each source numbered as in the file itself; with its name where another file holds it."""
    sources = merged.get("sources")
    names = [each.get("name") for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []

    def number(match: re.Match[str]) -> str:
        place = int(match[1])
        name = names[place] if place < len(names) else None
        return f"sources[{own.index(name)}]" if name in own and names != own else match[0]

    return InvalidConfiguration("\n".join(SOURCE.sub(number, line, count=1) for line in str(error).splitlines()))


def _over(base: Preset | None, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a file over those of `base`, without its sources and whose annotation it draws."""
    if base is None:
        return values
    below = base.as_dict()
    del below["sources"]
    for table in (below["locator"], below["segmenter"]):
        del table["sources"], table["answer"]
    return _merge(below, values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merge(below[key], value) if isinstance(below.get(key), dict) and isinstance(value, dict) else value
        for key, value in above.items()
    }
    return {**below, **both}
