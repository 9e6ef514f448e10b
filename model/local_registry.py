"""Many versions and their aliases in one folder. Whether a version's files are right is for `model.artefact` to say."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from model import artefact, names
from model.artefact import MANIFEST, Artefact, Manifest
from model.errors import AliasConflict, CorruptVersion, InvalidConfiguration, VersionExists
from model.names import ALIASES, NAME, Aliases, Expected

SIGNATURE = ".sig"  # <folder>/disc-cup/<version>.sig, beside the version: what is signed includes its manifest

_UNFINISHED = ".unfinished-"  # what a killed writer leaves behind; the next writer removes it


class LocalRegistry:
    """A folder that holds <folder>/disc-cup/<version>/ and <folder>/disc-cup/aliases.json.

    Reading takes no lock and writes nothing: every change appears at once or not at all, also where its writer is
    killed. Writers, also of other processes on the same machine, wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / NAME

    def __str__(self) -> str:
        return str(self._folder.parent)

    def versions(self) -> list[str]:
        """All published versions, the newest first; whether their files are right is not looked at."""
        if not self._folder.is_dir():
            return []
        return names.newest_first(
            entry.name for entry in self._folder.iterdir() if entry.is_dir() and not entry.is_symlink()
        )

    def aliases(self) -> dict[str, str]:
        """Alias → version, in alphabetical order. Raises CorruptVersion where aliases.json is malformed."""
        return self._aliases().now

    def previous(self) -> dict[str, str]:
        """Alias → the version that it stood for before its last move. Raises CorruptVersion as `aliases`."""
        return self._aliases().before

    def resolve(self, name: str = "production") -> str:
        """The version that a version's name or an alias stands for. Raises VersionNotFound."""
        versions = self.versions()
        if names.is_version(name):
            version = name
        elif names.is_alias(name) and name in (aliases := self.aliases()):
            version = aliases[name]
        else:
            raise names.not_found(name, versions)
        if version not in versions:
            raise names.not_found(name, versions, None if name == version else version)
        return version

    def open(self, name: str) -> Artefact:
        """A version, or an alias's version, with every file checked.

        Raises:
            VersionNotFound, UnknownSchema, CorruptVersion.
        """
        version = self.resolve(name)
        found = artefact.read(self._folder / version)
        check_name(found.manifest, version)
        return found

    def manifest(self, version: str) -> Manifest:
        """Of a version, with every file checked. Raises as `open`."""
        return self.open(version).manifest

    def signature(self, version: str) -> Path | None:
        """The file with a version's signature; None where it has none. Whether it is right is not looked at."""
        file = self._folder / f"{version}{SIGNATURE}"
        return file if names.is_version(version) and file.is_file() else None

    def publish(self, staged: Path, alias: str | None = None, signature: Path | None = None) -> Artefact:
        """Copy a version that `artefact.write` completed into the registry, then point the alias at it.

        Raises:
            VersionExists: versions are immutable.
            CorruptVersion: the staged files are not what their manifest says; nothing was published.
            InvalidConfiguration: not a name for an alias, or not a version of this registry's kind.
            CannotWrite: nothing was published.
        """
        manifest = check_staged(staged, alias)

        def copy(folder: Path) -> None:
            for path in (*manifest.files, MANIFEST):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(staged / path, folder / path)

        with self._writing():
            if manifest.version in self.versions():
                raise VersionExists(f"version {manifest.version} is published already")
            aliases = self._aliases()
            self._sign(manifest.version, signature)
            self._put(manifest.version, copy)
            if alias is not None:
                self._write_aliases(aliases.moved(alias, manifest.version))
        return self.open(manifest.version)

    def receive(self, version: str, fill: Callable[[Path], None], signature: Path | None = None) -> Artefact:
        """Take in a version from elsewhere, in place of one of the same name whose files are wrong.

        Args:
            fill: writes the version's files and its manifest into the new folder that it is given.
        Raises:
            UnknownSchema, CorruptVersion, CannotWrite, and whatever `fill` raises; then everything is as before.
        """
        with self._writing():
            self._put(version, fill)
            self._sign(version, signature)
        return self.open(version)

    def sign(self, version: str, signature: Path) -> None:
        """Put a signature beside a version, in place of an earlier one. Raises VersionNotFound, CannotWrite."""
        with self._writing():
            if version not in self.versions():
                raise names.not_found(version, self.versions())
            self._sign(version, signature)

    def set_alias(self, alias: str, version: str, expected: Expected = ...) -> None:
        """Point an alias at a version.

        Args:
            alias: a lower-case letter, then up to 31 lower-case letters, digits or hyphens.
            version: published.
            expected: where given, what the alias must point to now; None: that there is no such alias.
        Raises:
            AliasConflict: the alias is not as expected.
            VersionNotFound, InvalidConfiguration.
        """
        names.check_alias(alias)
        with self._writing():
            if version not in self.versions():
                raise names.not_found(version, self.versions())
            self._write_aliases(self._aliases().moved(alias, version, expected))

    def roll_back(self, alias: str, expected: Expected = ...) -> str:
        """Point an alias at what it pointed to before; done twice, all is as it was.

        Returns:
            The version that it points to now.
        Raises:
            VersionNotFound: it was never moved, or the version was deleted.
            AliasConflict: the alias is not as expected.
        """
        with self._writing():
            aliases = self._aliases().moved_back(alias, expected)
            if (version := aliases.now[alias]) not in self.versions():
                raise names.not_found(alias, self.versions(), version)
            self._write_aliases(aliases)
        return version

    def remove_alias(self, alias: str, expected: Expected = ...) -> None:
        """Forget an alias; its version stays. Raises AliasConflict, VersionNotFound."""
        with self._writing():
            self._write_aliases(self._aliases().without(alias, expected))

    def delete(self, version: str) -> None:
        """Remove a version.

        Raises:
            AliasConflict: an alias points to it.
            VersionNotFound.
        """
        with self._writing():
            if version not in self.versions():
                raise names.not_found(version, self.versions())
            if protected := self._aliases().of(version):
                raise AliasConflict(f"version {version} is what {', '.join(protected)} points to")
            self._remove(version)
            (self._folder / f"{version}{SIGNATURE}").unlink(missing_ok=True)

    def next_version(self, year: int, month: int) -> str:
        """The name after the newest one of that month: 2026.11.1, then 2026.11.2.

        Raises:
            InvalidConfiguration: no such month.
        """
        return names.next_version(self.versions(), year, month)

    def remember(self, aliases: Aliases) -> None:
        """Keep a copy of another registry's aliases, whether or not their versions are here; nothing where it cannot."""
        unfinished = self._folder / f"{_UNFINISHED}{os.getpid()}-{ALIASES}"
        with contextlib.suppress(OSError, CorruptVersion):
            if self._aliases() != aliases:
                self._folder.mkdir(parents=True, exist_ok=True)
                unfinished.write_bytes(aliases.encoded())
                unfinished.replace(self._folder / ALIASES)

    def keep_only(self, versions: set[str]) -> list[str]:
        """Remove every other version, aliases or not: for a copy that can be made again. Returns what was removed."""
        superfluous = [version for version in self.versions() if version not in versions]
        if superfluous:
            with self._writing():
                for version in set(superfluous) & set(self.versions()):
                    self._remove(version)
                    (self._folder / f"{version}{SIGNATURE}").unlink(missing_ok=True)
        return superfluous

    def _aliases(self) -> Aliases:
        try:
            return Aliases.read((self._folder / ALIASES).read_bytes())
        except FileNotFoundError:
            return Aliases({}, {})
        except OSError as error:
            raise CorruptVersion(f"{ALIASES}: {error}") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Wait for other writers, and clear away what a killed one left."""
        with artefact.writing_to(str(self)):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)  # released by closing, also by the system where we are killed
                for remains in self._folder.glob(f"{_UNFINISHED}*"):
                    if remains.is_dir():
                        shutil.rmtree(remains)
                    else:
                        remains.unlink(missing_ok=True)
                yield
            finally:
                os.close(lock)

    def _put(self, version: str, fill: Callable[[Path], None]) -> None:
        parent = self._folder / f"{_UNFINISHED}{version}"
        copy = parent / version  # by its own name, which complaints about its files begin with
        try:
            copy.mkdir(parents=True)
            fill(copy)
            check_name(artefact.read(copy).manifest, version)
            artefact.flush_tree(copy)
            if version in self.versions():
                self._remove(version)
            copy.rename(self._folder / version)
        finally:
            shutil.rmtree(parent, ignore_errors=True)
        artefact.flush(self._folder)

    def _remove(self, version: str) -> None:
        doomed = self._folder / f"{_UNFINISHED}old-{version}"
        (self._folder / version).rename(doomed)
        artefact.flush(self._folder)
        shutil.rmtree(doomed)

    def _sign(self, version: str, signature: Path | None) -> None:
        target = self._folder / f"{version}{SIGNATURE}"
        if signature is None:
            target.unlink(missing_ok=True)
            return
        unfinished = self._folder / f"{_UNFINISHED}{target.name}"
        shutil.copyfile(signature, unfinished)
        artefact.flush(unfinished)
        unfinished.replace(target)

    def _write_aliases(self, aliases: Aliases) -> None:
        unfinished = self._folder / f"{_UNFINISHED}{ALIASES}"
        unfinished.write_bytes(aliases.encoded())
        artefact.flush(unfinished)
        unfinished.replace(self._folder / ALIASES)
        artefact.flush(self._folder)


def check_staged(staged: Path, alias: str | None) -> Manifest:
    """The manifest of a version that may be published. Raises as `LocalRegistry.publish`."""
    if alias is not None:
        names.check_alias(alias)
    manifest = artefact.read(staged).manifest
    if manifest.name != NAME:
        raise InvalidConfiguration(f"name={manifest.name!r}: a registry holds {NAME}")
    return manifest


def check_name(manifest: Manifest, version: str) -> None:
    """Raises CorruptVersion where a manifest lies under another version's name."""
    if (manifest.name, manifest.version) != (NAME, version):
        raise CorruptVersion(f"version {version} is corrupt: {MANIFEST}: says {manifest.name} {manifest.version}")
