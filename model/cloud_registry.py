"""Many versions and their aliases below a gs:// prefix, laid out as in a folder, and a copy on disk of what was opened.

A version exists from the moment that its manifest does, which is uploaded last and removed first.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from model import artefact, names
from model.artefact import MANIFEST, Artefact, Manifest
from model.bucket import Bucket
from model.errors import (
    AliasConflict,
    CorruptVersion,
    IncompleteVersion,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    VersionExists,
    VersionNotFound,
)
from model.local_registry import SIGNATURE, LocalRegistry, check_name, check_staged
from model.names import ALIASES, NAME, Aliases, Expected

MAX_MANIFEST_BYTES = 4 * 2**20
MAX_SIGNATURE_BYTES = 4 * 2**20
ATTEMPTS = 20  # to change the aliases while others change them too
_BINARY, _JSON = "application/octet-stream", "application/json"


class CloudRegistry:
    """<bucket>/disc-cup/<version>/ and <bucket>/disc-cup/aliases.json.

    Args:
        bucket: where the versions are.
        copies: a folder of this machine for what was downloaded. It is itself a registry, and serves as one while the
            storage is away. Processes may share it.
    Every method but `str` and `copies` raises as `Bucket`, beside its own errors.
    """

    def __init__(self, bucket: Bucket, copies: Path) -> None:
        self._bucket = bucket
        self.copies = LocalRegistry(copies)
        self._copies_folder = copies / NAME

    def __str__(self) -> str:
        return str(self._bucket)

    def versions(self) -> list[str]:
        """All whole versions, the newest first; whether their files are right is not looked at."""
        return self._known()[0]

    def incomplete(self) -> list[str]:
        """Versions whose upload is under way or was broken off."""
        return self._known()[1]

    def aliases(self) -> dict[str, str]:
        """Alias → version, in alphabetical order. Raises CorruptVersion where aliases.json is malformed."""
        return self._aliases()[0].now

    def previous(self) -> dict[str, str]:
        """Alias → the version that it stood for before its last move. Raises CorruptVersion as `aliases`."""
        return self._aliases()[0].before

    def resolve(self, name: str = "production") -> str:
        """The version that a version's name or an alias stands for.

        Raises:
            VersionNotFound; IncompleteVersion where only a part of it is there.
        """
        if names.is_version(name):
            version = name
        elif names.is_alias(name) and name in (aliases := self.aliases()):
            version = aliases[name]
        else:
            raise names.not_found(name, self.versions())
        try:
            self._bucket.find(_path(version, MANIFEST))
        except ObjectNotFound:
            raise self._absent(version, name) from None
        return version

    def open(self, name: str) -> Artefact:
        """A version, or an alias's version, on this machine's disk with every file checked; downloaded if need be.

        Raises:
            VersionNotFound, UnknownSchema, CorruptVersion, CannotWrite.
            IncompleteVersion: files are missing in the bucket.
        """
        version = name if names.is_version(name) else self.aliases().get(name, name)
        if not names.is_version(version):
            raise names.not_found(name, self.versions())
        try:
            encoded, _ = self._bucket.read(_path(version, MANIFEST), MAX_MANIFEST_BYTES)
        except ObjectNotFound:
            raise self._absent(version, name) from None
        with contextlib.suppress(OSError, CorruptVersion, VersionNotFound):
            if (self._copies_folder / version / MANIFEST).read_bytes() == encoded:
                return self.copies.open(version)
        manifest = self._checked(version, encoded)
        return self.copies.receive(version, lambda folder: self._download(manifest, encoded, folder))

    def manifest(self, version: str) -> Manifest:
        """Of a version all of whose files are there; they are not downloaded, and so not checked. Raises as `open`."""
        try:
            encoded, _ = self._bucket.read(_path(version, MANIFEST), MAX_MANIFEST_BYTES)
        except ObjectNotFound:
            raise self._absent(version, version) from None
        manifest = self._checked(version, encoded)
        missing = manifest.files.keys() - {
            name.removeprefix(f"{NAME}/{version}/") for name in self._bucket.list(_path(version, ""))
        }
        if missing:
            raise IncompleteVersion(f"version {version}: not in {self}: {', '.join(sorted(missing))}")
        return manifest

    def signature(self, version: str) -> Path | None:
        """The file with a version's signature, fetched beside the copy of an opened version; None where there is none."""
        try:
            content, _ = self._bucket.read(f"{NAME}/{version}{SIGNATURE}", MAX_SIGNATURE_BYTES)
        except ObjectNotFound:
            return None
        kept = self.copies.signature(version)
        if kept is None or kept.read_bytes() != content:
            with artefact.writing_to(str(self._copies_folder)):
                fetched = self._copies_folder / f".fetched-{version}{SIGNATURE}"
                fetched.write_bytes(content)
                self.copies.sign(version, fetched)
                fetched.unlink()
        return self.copies.signature(version)

    def publish(self, staged: Path, alias: str | None = None, signature: Path | None = None) -> Artefact:
        """Upload a version that `artefact.write` completed, its manifest last, then point the alias at it.

        Nothing is overwritten: of two publishers of the same version one wins, and of two that move the same alias one.
        One that was broken off can be run again; files that are there already and right are not sent again.

        Returns:
            The version as it was staged.
        Raises:
            VersionExists: versions are immutable; or somebody left or is uploading other files under this name.
            AliasConflict: somebody else moved the alias meanwhile; the version is published all the same.
            CorruptVersion, InvalidConfiguration: as `LocalRegistry.publish`; nothing was published.
        """
        manifest = check_staged(staged, alias)
        version = manifest.version
        before = self.aliases().get(alias) if alias is not None else None
        there = self._bucket.list(_path(version, ""))
        if _path(version, MANIFEST) in there:
            raise VersionExists(f"version {version} is published already")
        for path in sorted(manifest.files):
            self._upload(_path(version, path), staged / path, version)
        if signature is not None:
            self.sign(version, signature, whole=False)
        try:
            self._bucket.write(_path(version, MANIFEST), (staged / MANIFEST).read_bytes(), 0, _JSON)
        except ObjectExists:
            raise VersionExists(f"version {version} was published by somebody else just now") from None
        if alias is not None:
            try:
                self._change(lambda aliases: aliases.moved(alias, version, before))
            except AliasConflict as error:
                raise AliasConflict(f"version {version} is published, but {error}: somebody else moved it") from None
        return artefact.read(staged)

    def sign(self, version: str, signature: Path, whole: bool = True) -> None:
        """Put a signature beside a version, in place of an earlier one.

        Args:
            whole: False while the version is being published.
        Raises:
            VersionNotFound, IncompleteVersion.
        """
        if whole:
            self.resolve(version)
        name = f"{NAME}/{version}{SIGNATURE}"
        try:
            generation = self._bucket.find(name).generation
        except ObjectNotFound:
            generation = 0
        self._bucket.write(name, signature, generation, _JSON)

    def set_alias(self, alias: str, version: str, expected: Expected = ...) -> None:
        """Point an alias at a version; arguments and errors as `LocalRegistry.set_alias`."""
        names.check_alias(alias)
        if not names.is_version(version):
            raise names.not_found(version, self.versions())
        self.resolve(version)
        self._change(lambda aliases: aliases.moved(alias, version, expected))

    def roll_back(self, alias: str, expected: Expected = ...) -> str:
        """Point an alias at what it pointed to before; as `LocalRegistry.roll_back`."""

        def back(aliases: Aliases) -> Aliases:
            changed = aliases.moved_back(alias, expected)
            self.resolve(changed.now[alias])
            return changed

        return self._change(back).now[alias]

    def remove_alias(self, alias: str, expected: Expected = ...) -> None:
        """Forget an alias; its version stays. Raises AliasConflict, VersionNotFound."""
        self._change(lambda aliases: aliases.without(alias, expected))

    def delete(self, version: str) -> None:
        """Remove a version, or what a broken upload left of one.

        Raises:
            AliasConflict: an alias points to it.
            VersionNotFound.
        """
        if not names.is_version(version):
            raise names.not_found(version, self.versions())
        there = self._bucket.list(_path(version, ""))
        if not there:
            raise names.not_found(version, self.versions())
        self._check_unprotected(version)
        manifest = _path(version, MANIFEST)
        if manifest in there:
            encoded, _ = self._bucket.read(manifest, MAX_MANIFEST_BYTES)
            self._bucket.delete(manifest)
            try:
                self._check_unprotected(version)  # whoever set an alias just now still saw the manifest
            except AliasConflict:
                self._bucket.write(manifest, encoded, 0, _JSON)
                raise
        for name in there.keys() - {manifest}:
            self._bucket.delete(name)
        self._bucket.delete(f"{NAME}/{version}{SIGNATURE}")

    def next_version(self, year: int, month: int) -> str:
        """As `LocalRegistry.next_version`; the names of broken uploads are not used again."""
        whole, incomplete = self._known()
        return names.next_version([*whole, *incomplete], year, month)

    def _known(self) -> tuple[list[str], list[str]]:
        """Whole versions and others, the newest first."""
        parts = [name.split("/", 2) for name in self._bucket.list(f"{NAME}/")]
        files = [(part[1], part[2]) for part in parts if len(part) == 3]
        whole = {version for version, path in files if path == MANIFEST}
        return names.newest_first(whole), names.newest_first({version for version, _ in files} - whole)

    def _absent(self, version: str, name: str) -> VersionNotFound | IncompleteVersion:
        whole, incomplete = self._known()
        if version in incomplete:
            return IncompleteVersion(
                f"version {version} is not whole in {self}: it is being uploaded, or that was broken off"
            )
        return names.not_found(name, whole, None if name == version else version)

    def _aliases(self) -> tuple[Aliases, int]:
        """With their generation; 0 where there is no file yet."""
        try:
            encoded, generation = self._bucket.read(f"{NAME}/{ALIASES}", MAX_MANIFEST_BYTES)
        except ObjectNotFound:
            return Aliases({}, {}), 0
        aliases = Aliases.read(encoded)
        self.copies.remember(aliases)
        return aliases, generation

    def _change(self, change: Callable[[Aliases], Aliases]) -> Aliases:
        for _ in range(ATTEMPTS):
            aliases, generation = self._aliases()
            changed = change(aliases)
            if changed == aliases:
                return aliases
            with contextlib.suppress(ObjectChanged, ObjectExists):
                self._bucket.write(f"{NAME}/{ALIASES}", changed.encoded(), generation, _JSON)
                self.copies.remember(changed)
                return changed
        raise AliasConflict(f"{self}/{NAME}/{ALIASES} is changed by others all the time")

    def _check_unprotected(self, version: str) -> None:
        if protected := self._aliases()[0].of(version):
            raise AliasConflict(f"version {version} is what {', '.join(protected)} points to")

    def _checked(self, version: str, encoded: bytes) -> Manifest:
        try:
            manifest = artefact.parse_manifest(encoded)
        except CorruptVersion as error:
            raise CorruptVersion(f"version {version} is corrupt: {MANIFEST}: {error}") from error
        check_name(manifest, version)
        unsafe = [path for path in manifest.files if not artefact.is_safe(path)]
        if unsafe:
            raise CorruptVersion(f"version {version} is corrupt: {MANIFEST}: not inside the version: {unsafe}")
        return manifest

    def _download(self, manifest: Manifest, encoded: bytes, folder: Path) -> None:
        missing = []
        for path in manifest.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                self._bucket.download(_path(manifest.version, path), folder / path)
            except ObjectNotFound:
                missing.append(path)
        if missing:
            raise IncompleteVersion(f"version {manifest.version}: not in {self}: {', '.join(missing)}")
        (folder / MANIFEST).write_bytes(encoded)

    def _upload(self, name: str, file: Path, version: str) -> None:
        """Send a file, unless the same content is there."""
        try:
            self._bucket.write(name, file, 0, _BINARY)
        except ObjectExists:
            if self._bucket.holds(name, file):
                return
            raise VersionExists(
                f"version {version} is being uploaded by somebody else, or was left half-uploaded with other files"
                f" ({self._bucket.uri(name)}); take another name, or delete it first"
            ) from None


def _path(version: str, path: str) -> str:
    return f"{NAME}/{version}/{path}"
