"""Names of versions and aliases: what is one, what an alias stands for and stood for before, what comes next."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from model.artefact import VERSION_NAME
from model.errors import AliasConflict, CorruptVersion, InvalidConfiguration, VersionNotFound

NAME = "disc-cup"  # of the only kind of version there is
ALIAS_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
ALIASES = "aliases.json"
PREVIOUS = "previous"  # in aliases.json: what each alias stood for before it was moved; so no alias may be called that

Expected = str | EllipsisType | None  # what an alias must stand for now: None for nothing, ... for whatever it likes


@dataclass(frozen=True)
class Aliases:
    """Content of aliases.json, {"production": "2026.11.2", "previous": {"production": "2026.11.1"}}; never changed."""

    now: dict[str, str]  # alias: version
    before: dict[str, str]  # alias: the version that it stood for before its last move

    @classmethod
    def read(cls, encoded: bytes) -> "Aliases":
        """Raises CorruptVersion where that is not what the file may hold."""
        try:
            values = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise CorruptVersion(f"{ALIASES}: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise CorruptVersion(f"{ALIASES}: not an object")
        before = values.pop(PREVIOUS, {})
        if not isinstance(before, dict):
            raise CorruptVersion(f"{ALIASES}: {PREVIOUS}: not an object")
        wrong = [name for part in (values, before) for name, version in part.items() if not _is_entry(name, version)]
        if wrong:
            raise CorruptVersion(f"{ALIASES}: no alias or no version: {', '.join(map(repr, wrong))}")
        return cls(dict(sorted(values.items())), dict(sorted(before.items())))

    def encoded(self) -> bytes:
        """As the file holds it."""
        values: dict[str, Any] = {**self.now, **({PREVIOUS: self.before} if self.before else {})}
        return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()

    def moved(self, alias: str, version: str, expected: Expected = ...) -> "Aliases":
        """With an alias at a version. Raises AliasConflict where it is not where it is expected."""
        self._check(alias, expected)
        current = self.now.get(alias)
        if current == version:
            return self
        before = self.before if current is None else {**self.before, alias: current}
        return Aliases({**self.now, alias: version}, before)

    def moved_back(self, alias: str, expected: Expected = ...) -> "Aliases":
        """With an alias where it was before. Raises AliasConflict, or VersionNotFound where it was never moved."""
        self._check(alias, expected)
        if alias not in self.now:
            raise VersionNotFound(f"no alias {alias!r}; there is {', '.join(self.now) or 'no alias'}")
        if alias not in self.before:
            raise VersionNotFound(f"{alias} has always been {self.now[alias]}; say where it shall point")
        return self.moved(alias, self.before[alias])

    def without(self, alias: str, expected: Expected = ...) -> "Aliases":
        """With one alias less. Raises AliasConflict, VersionNotFound."""
        self._check(alias, expected)
        if alias not in self.now:
            raise VersionNotFound(f"no alias {alias!r}; there is {', '.join(self.now) or 'no alias'}")
        return Aliases(*({name: v for name, v in part.items() if name != alias} for part in (self.now, self.before)))

    def of(self, version: str) -> list[str]:
        """The aliases of a version, in alphabetical order."""
        return [name for name, target in self.now.items() if target == version]

    def _check(self, alias: str, expected: Expected) -> None:
        current = self.now.get(alias)
        if expected is not ... and current != expected:
            raise AliasConflict(f"{alias} points to {current}, not to {expected}")


def is_version(name: object) -> bool:
    """Whether this may name a version."""
    return isinstance(name, str) and VERSION_NAME.fullmatch(name) is not None


def is_alias(name: object) -> bool:
    """Whether this may name an alias."""
    return isinstance(name, str) and ALIAS_NAME.fullmatch(name) is not None and name != PREVIOUS


def check_alias(alias: str) -> None:
    """Raises InvalidConfiguration where this may not name an alias."""
    if not is_alias(alias):
        raise InvalidConfiguration(f"alias={alias!r}: must match {ALIAS_NAME.pattern} and not be {PREVIOUS}")


def newest_first(names: Iterable[str]) -> list[str]:
    """The versions among some names."""
    return sorted(filter(is_version, names), key=numbers, reverse=True)


def numbers(version: str) -> tuple[int, ...]:
    """Year, month and counter, by which versions are ordered."""
    return tuple(map(int, version.split(".")))


def next_version(taken: Iterable[str], year: int, month: int) -> str:
    """The name after the newest one of that month: 2026.11.1, then 2026.11.2.

    Raises:
        InvalidConfiguration: no such month.
    """
    counters = (count for *when, count in map(numbers, taken) if when == [year, month])
    version = f"{year:04}.{month}.{max(counters, default=0) + 1}"
    if not is_version(version):
        raise InvalidConfiguration(f"year={year}, month={month}: not a month")
    return version


def not_found(name: str, versions: list[str], stands_for: str | None = None) -> VersionNotFound:
    """The error that says what there is instead."""
    there = f"there is {', '.join(versions) or 'no version'}"
    if stands_for is not None:
        return VersionNotFound(f"no version {name} → {stands_for}; {there}")
    return VersionNotFound(
        f"no version {name}; {there}" if is_version(name) else f"no version and no alias {name!r}; {there}"
    )


def _is_entry(name: object, version: object) -> bool:
    return is_alias(name) and is_version(version)
