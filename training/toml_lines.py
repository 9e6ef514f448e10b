"""In which line of a TOML text each key stands, so that what is wrong with a value can be told with its line."""

import re
import tomllib
from typing import Any

PART = re.compile(r"\.?[^.\[\]=: ]+$|\[\d+\]$")  # the last piece of a path


def lines_of(text: str) -> dict[str, int]:
    """Path → line, from 1; paths as in `segmenter.network.depth` and `sources[1].options.expert`.

    Args:
        text: TOML without mistakes.
    """
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}  # path of an array of tables → how many of its tables came so far
    table, statement, start = "", "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        start = start if statement else number
        statement += line
        try:
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        if statement.lstrip().startswith("["):
            table = _table(values, arrays)
            lines.setdefault(table, start)
        else:
            _note(values, table, start, lines)
        statement = ""
    return lines


def line_of(problem: str, lines: dict[str, int]) -> int | None:
    """The line that a problem is about.

    Args:
        problem: begins with a path, and after it `:` or `=`; a key that is missing is its table's problem.
        lines: as `lines_of` gives them.
    """
    path = re.split(r"[:=]", problem, maxsplit=1)[0]
    while path and path not in lines:
        shorter = PART.sub("", path)
        if shorter == path:
            return None
        path = shorter
    return lines.get(path)


def _table(header: dict[str, Any], arrays: dict[str, int]) -> str:
    """The path of a header like `[a.b]` or `[[a.b]]`, parsed; the tables of arrays are counted in `arrays`."""
    path = ""
    while header:
        ((key, value),) = header.items()
        path = f"{path}.{key}" if path else key
        if isinstance(value, list):
            arrays[path] = arrays.get(path, 0) + 1
            (value,) = value
        if path in arrays:
            path = f"{path}[{arrays[path] - 1}]"
        header = value
    return path


def _note(values: dict[str, Any], table: str, line: int, lines: dict[str, int]) -> None:
    """Note the line of each key of a statement, of dotted keys and inline tables too."""
    for key, value in values.items():
        path = f"{table}.{key}" if table else key
        lines.setdefault(path, line)
        for name, inner in [("", value)] if isinstance(value, dict) else _numbered(value):
            if isinstance(inner, dict):
                _note(inner, f"{path}{name}", line, lines)


def _numbered(value: Any) -> list[tuple[str, Any]]:
    return [(f"[{i}]", item) for i, item in enumerate(value)] if isinstance(value, list) else []
