"""Many versions and their aliases in one folder. Whether a version's files are right is for `model.artefact` to say."""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import EllipsisType

from model import artefact
from model.artefact import MANIFEST, VERSION_NAME, Artefact
from model.errors import AliasConflict, CorruptVersion, InvalidConfiguration, VersionExists, VersionNotFound

NAME = "disc-cup"  # of the only kind of version there is
ALIAS_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
BUNDLED = Path(__file__).parent / "bundled"

_ALIASES = "aliases.json"
_UNFINISHED = ".unfinished-"  # what a killed writer leaves behind; the next writer removes it


class LocalRegistry:
    """A folder that holds <folder>/disc-cup/<version>/ and <folder>/disc-cup/aliases.json.

    Reading takes no lock and writes nothing: every change appears at once or not at all, also where its writer is
    killed. Writers, also of other processes on the same machine, wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / NAME

    def versions(self) -> list[str]:
        """All published versions, the newest first; whether their files are right is not looked at."""
        if not self._folder.is_dir():
            return []
        names = (entry.name for entry in self._folder.iterdir() if entry.is_dir() and not entry.is_symlink())
        return sorted(filter(VERSION_NAME.fullmatch, names), key=_numbers, reverse=True)

    def aliases(self) -> dict[str, str]:
        """Alias → version, in alphabetical order. Raises CorruptVersion where aliases.json is malformed."""
        try:
            text = (self._folder / _ALIASES).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptVersion(f"{_ALIASES}: {error}") from error
        try:
            aliases = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CorruptVersion(f"{_ALIASES}: not JSON: {error}") from error
        if not isinstance(aliases, dict):
            raise CorruptVersion(f"{_ALIASES}: not an object")
        wrong = [name for name, version in aliases.items() if not (_is_alias(name) and _is_version(version))]
        if wrong:
            raise CorruptVersion(f"{_ALIASES}: no alias or no version: {', '.join(map(repr, wrong))}")
        return dict(sorted(aliases.items()))

    def resolve(self, name: str = "production") -> str:
        """The version that a version's name or an alias stands for. Raises VersionNotFound."""
        versions = self.versions()
        if _is_version(name):
            version = name
        elif _is_alias(name) and name in (aliases := self.aliases()):
            version = aliases[name]
        else:
            raise VersionNotFound(f"no version and no alias {name!r}; there is {', '.join(versions) or 'no version'}")
        if version not in versions:
            asked = name if name == version else f"{name} → {version}"
            raise VersionNotFound(f"no version {asked}; there is {', '.join(versions) or 'no version'}")
        return version

    def open(self, name: str) -> Artefact:
        """A version, or an alias's version, with every file checked.

        Raises:
            VersionNotFound, UnknownSchema, CorruptVersion.
        """
        version = self.resolve(name)
        found = artefact.read(self._folder / version)
        if (found.manifest.name, found.manifest.version) != (NAME, version):
            raise CorruptVersion(
                f"version {version} is corrupt: {MANIFEST}: says {found.manifest.name} {found.manifest.version}"
            )
        return found

    def publish(self, staged: Path, alias: str | None = None) -> Artefact:
        """Copy a version that `artefact.write` completed into the registry, then point the alias at it.

        Raises:
            VersionExists: versions are immutable.
            CorruptVersion: the staged files are not what their manifest says; nothing was published.
            InvalidConfiguration: not a name for an alias, or not a version of this registry's kind.
        """
        if alias is not None:
            _check_alias(alias)
        manifest = artefact.read(staged).manifest
        if manifest.name != NAME:
            raise InvalidConfiguration(f"name={manifest.name!r}: this registry holds {NAME}")
        target = self._folder / manifest.version
        with self._writing():
            if target.exists():
                raise VersionExists(f"version {manifest.version} is published already")
            aliases = self.aliases()
            copy = self._folder / f"{_UNFINISHED}{manifest.version}"
            try:
                for path in (*manifest.files, MANIFEST):
                    (copy / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(staged / path, copy / path)
                artefact.read(copy)
                artefact.flush_tree(copy)
                copy.rename(target)
            except BaseException:
                shutil.rmtree(copy, ignore_errors=True)
                raise
            artefact.flush(self._folder)
            if alias is not None:
                self._write_aliases({**aliases, alias: manifest.version})
        return self.open(manifest.version)

    def set_alias(self, alias: str, version: str, expected: str | EllipsisType | None = ...) -> None:
        """Point an alias at a version.

        Args:
            alias: a lower-case letter, then up to 31 lower-case letters, digits or hyphens.
            version: published.
            expected: where given, what the alias must point to now; None: that there is no such alias.
        Raises:
            AliasConflict: the alias is not as expected.
            VersionNotFound, InvalidConfiguration.
        """
        _check_alias(alias)
        with self._writing():
            if version not in self.versions():
                raise VersionNotFound(f"no version {version!r}; there is {', '.join(self.versions()) or 'no version'}")
            aliases = self.aliases()
            if expected is not ... and aliases.get(alias) != expected:
                raise AliasConflict(f"{alias} points to {aliases.get(alias)}, not to {expected}")
            self._write_aliases({**aliases, alias: version})

    def delete(self, version: str) -> None:
        """Remove a version.

        Raises:
            AliasConflict: an alias points to it.
            VersionNotFound.
        """
        with self._writing():
            if version not in self.versions():
                raise VersionNotFound(f"no version {version!r}; there is {', '.join(self.versions()) or 'no version'}")
            names = [name for name, target in self.aliases().items() if target == version]
            if names:
                raise AliasConflict(f"version {version} is what {', '.join(names)} points to")
            doomed = self._folder / f"{_UNFINISHED}{version}"
            (self._folder / version).rename(doomed)
            artefact.flush(self._folder)
            shutil.rmtree(doomed)

    def next_version(self, year: int, month: int) -> str:
        """The name after the newest one of that month: 2026.11.1, then 2026.11.2.

        Raises:
            InvalidConfiguration: no such month.
        """
        taken = (_numbers(name) for name in self.versions())
        counter = max((count for *when, count in taken if when == [year, month]), default=0) + 1
        version = f"{year:04}.{month}.{counter}"
        if not _is_version(version):
            raise InvalidConfiguration(f"year={year}, month={month}: not a month")
        return version

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Wait for other writers, and clear away what a killed one left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by closing, also by the system where we are killed
            for remains in self._folder.glob(f"{_UNFINISHED}*"):
                if remains.is_dir():
                    shutil.rmtree(remains)
                else:
                    remains.unlink()
            yield
        finally:
            os.close(lock)

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        unfinished = self._folder / f"{_UNFINISHED}{_ALIASES}"
        unfinished.write_text(json.dumps(aliases, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        artefact.flush(unfinished)
        unfinished.replace(self._folder / _ALIASES)
        artefact.flush(self._folder)


def open_registry(location: str) -> LocalRegistry:
    """The registry that an operator names: "bundled" or a folder.

    Raises:
        InvalidConfiguration: neither.
    """
    if location == "bundled":
        return LocalRegistry(BUNDLED)
    if not location or "://" in location:
        raise InvalidConfiguration(f"registry={location!r}: must be a folder or bundled")
    folder = Path(location)
    if folder.exists() and not folder.is_dir():
        raise InvalidConfiguration(f"registry={location!r}: not a folder")
    return LocalRegistry(folder)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _is_version(name: object) -> bool:
    return isinstance(name, str) and VERSION_NAME.fullmatch(name) is not None


def _is_alias(name: object) -> bool:
    return isinstance(name, str) and ALIAS_NAME.fullmatch(name) is not None


def _check_alias(alias: str) -> None:
    if not _is_alias(alias):
        raise InvalidConfiguration(f"alias={alias!r}: must match {ALIAS_NAME.pattern}")
