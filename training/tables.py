"""Frozen dataclasses from TOML tables. Every unknown key and impossible value is told at once, each with its line."""

import dataclasses
import math
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from model.errors import CupDiscError, InvalidConfiguration
from training.toml_lines import line_of, lines_of

T = TypeVar("T")


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """A TOML file's values and its text.

    Raises:
        InvalidConfiguration: unreadable, or no TOML; tells the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfiguration(f"{path}: {error}") from error


def with_lines(error: InvalidConfiguration, path: Path, text: str) -> InvalidConfiguration:
    """The same problems, each behind the file and the line it is about."""
    lines = lines_of(text)
    told = []
    for problem in str(error).splitlines():
        line = line_of(problem, lines)
        told.append(f"{path}{'' if line is None else f':{line}'}: {problem}")
    return InvalidConfiguration("\n".join(told))


def build(kind: type[T], values: Any, where: str, problems: list[str]) -> T | None:
    """An instance of a dataclass from TOML values; None where something is wrong with them.

    Args:
        where: the table's path and a dot; "" for the file itself.
        problems: what is wrong is appended, each text beginning with the path of its key.
    """
    if not isinstance(values, dict):
        problems.append(f"{where.rstrip('.') or 'the file'}: must be a table")
        return None
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    problems += [f"{where}{key}: unknown key" for key in values if key not in known]
    before = len(problems)
    arguments, doubtful = {}, set()
    for key, spec in known.items():
        needed = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        so_far = len(problems)
        if key in values:
            arguments[key] = _convert(hints[key], values[key], f"{where}{key}", problems)
        elif needed:
            problems.append(f"{where}{key}: missing")
        if len(problems) > so_far:
            doubtful.add(key)
            arguments.pop(key, None)
            if needed:  # something in its place, so that the other keys' values are looked at all the same
                arguments[key] = _stand_in(hints[key])
    try:
        made = kind(**arguments)
    except (CupDiscError, TypeError, ValueError) as error:
        told = [text for text in str(error).split("; ") if text.split("=")[0].split(":")[0] not in doubtful]
        problems += [f"{where}{text}" for text in told]
        return None
    return None if len(problems) > before else made


def _stand_in(hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        try:
            return typing.cast(type, hint)()
        except TypeError:
            return None
    return {str: "stand-in", int: 1, float: 1.0}.get(hint, ())


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if types.NoneType in inner and (value is None or value is False):  # TOML has no null
            return None
        hint = inner[0]
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, f"{where}.", problems)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            problems.append(f"{where}: must be a list")
            return ()
        if inner[-1] is not Ellipsis and len(value) != len(inner):
            problems.append(f"{where}: must hold {len(inner)} values")
            return ()
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        return tuple(
            _convert(kind, item, f"{where}[{i}]", problems)
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict):
            problems.append(f"{where}: must be a table")
            return {}
        return {key: _convert(inner[1], item, f"{where}.{key}", problems) for key, item in value.items()}
    if origin is typing.Literal:
        if value not in inner:
            problems.append(f"{where}: must be one of {', '.join(map(str, inner))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        problems.append(f"{where}: must be {hint.__name__}, is {value!r}")
    elif hint is float and not math.isfinite(value):
        problems.append(f"{where}: must be a finite number, is {value!r}")
    return value
