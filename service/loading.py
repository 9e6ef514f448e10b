"""Versions of a registry beside those that answer: fetched, verified, loaded, warmed up, probed; and let go again."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from model import signature
from model.artefact import MANIFEST, Artefact
from model.cloud_registry import CloudRegistry
from model.errors import (
    CorruptVersion,
    CupDiscError,
    EngineUnavailable,
    IncompleteVersion,
    InvalidConfiguration,
    NoRoom,
    StorageError,
    VersionNotFound,
)
from model.local_registry import LocalRegistry
from model.registry import BUNDLED, Registry
from model.segmenter import Segmenter
from service.observability import Metrics
from service.probe import probe
from service.settings import Settings
from service.version_events import History

PASSING = (StorageError, NoRoom, IncompleteVersion, VersionNotFound)  # may be otherwise when looked at again


class LoadedVersions:
    """The versions that passed their checks, and those of them whose networks are in memory. Knows no alias, no role.

    What takes work holds `changing` meanwhile, so that one version at a time is fetched and loaded. What takes none
    does not wait for it.
    """

    def __init__(self, registry: Registry, settings: Settings, metrics: Metrics, history: History) -> None:
        self._registry, self._settings, self._metrics, self._history = registry, settings, metrics, history
        self.changing = threading.RLock()  # held while versions are fetched, checked and loaded
        self.refused: dict[str, str] = {}  # version: why it is not served
        self._good: dict[str, Artefact] = {}
        self._loaded: OrderedDict[str, Segmenter] = OrderedDict()  # the least recently asked for first

    def good(self) -> dict[str, Artefact]:
        """Every version whose files were verified."""
        return dict(self._good)

    def in_memory(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted(self._loaded))

    def ready(self, version: str) -> Segmenter | None:
        """The version if it is in memory."""
        return self._loaded.get(version)

    def asked_for(self, version: str) -> None:
        """It is now the one that was asked for most recently. Waits for nobody: one step of the dictionary's own."""
        with contextlib.suppress(KeyError):  # it has been let go meanwhile
            self._loaded.move_to_end(version)

    def get(self, version: str) -> Segmenter:
        """A version that a request names, loaded if need be.

        Raises:
            VersionNotFound: there is none, or it is refused. StorageError: it cannot be fetched.
        """
        with self.changing:
            if (segmenter := self._loaded.get(version)) is not None:
                return segmenter
            if version in self.refused:
                raise _not_served(version)
            try:
                return self.load(version)
            except (EngineUnavailable, InvalidConfiguration, *PASSING):
                raise
            except CupDiscError as error:
                self.refuse(version, error)
                raise _not_served(version) from error

    def load(self, version: str) -> Segmenter:
        """Fetch, verify, load, warm up, probe; or as it is already in memory.

        Raises:
            ProbeFailed, whatever else a version can be refused for, and PASSING.
        """
        with self.changing:
            return self._loaded.get(version) or self._load(version)

    def artefact(self, version: str) -> Artefact:
        """The verified files of a version.

        Raises:
            VersionNotFound: there is none, or it is refused. StorageError: it cannot be fetched.
        """
        if (found := self._good.get(version)) is not None:
            return found  # without waiting for a version that is being loaded
        with self.changing:
            if version not in self._good and version not in self.refused:
                try:
                    self._open(version)
                except PASSING:
                    raise
                except CupDiscError as error:
                    self.refuse(version, error)
            if version not in self._good:
                raise _not_served(version)
            return self._good[version]

    def open_bundled(self) -> str:
        """The package's own version, among the good ones from now on. Raises VersionError."""
        found = LocalRegistry(BUNDLED).open("production")
        if self._settings.trusted_key:
            signature.verify(found, None, self._settings.trusted_key)
        self._good[found.manifest.version] = found
        return found.manifest.version

    def forget(self, version: str) -> None:
        """Fetch and load it anew when it is next wanted."""
        self._good.pop(version, None)
        self._loaded.pop(version, None)

    def refuse(self, version: str, error: CupDiscError) -> None:
        """Do not serve it until `refused` forgets it."""
        self._good.pop(version, None)
        self.refused[version] = str(error)
        self._history.add("refused", version, str(error))

    def unload(self, needed: Collection[str | None]) -> None:
        """Free what is neither needed nor among those asked for most recently. Requests under way keep theirs."""
        for version in list(self._loaded):
            if len(self._loaded) <= self._settings.max_live_versions:
                return
            if version not in needed and version != list(self._loaded)[-1]:
                gone = self._loaded.pop(version)
                self._metrics.no_engine(version, gone.engine, gone.precision)
                self._history.add("unloaded", version, "others are asked for")

    def tidy(self, needed: Collection[str]) -> None:
        """Remove downloaded versions that are neither needed nor in memory; they can be fetched again."""
        if isinstance(self._registry, CloudRegistry):
            with contextlib.suppress(OSError, CupDiscError):
                for version in self._registry.copies.keep_only({*self._loaded, *needed}):
                    self._good.pop(version, None)

    def _load(self, version: str) -> Segmenter:
        artefact, settings = self._good.get(version), self._settings
        if artefact is None or not (artefact.folder / MANIFEST).is_file():  # another process may have tidied copies up
            artefact = self._open(version)
        try:
            segmenter = Segmenter(
                artefact, settings.engine, settings.precision, settings.threads, compiled=settings.compiled
            )
            took_s = probe(segmenter, settings.slowest_probe_s) if settings.probe else 0.0
        except CupDiscError:
            raise
        except Exception as error:  # an engine that cannot run it fails in ways of its own
            raise CorruptVersion(f"version {version} cannot be run: {type(error).__name__}") from error
        self._loaded[version] = segmenter
        self._metrics.engine(version, segmenter.engine, segmenter.precision)
        self._history.add("loaded", version, f"{segmenter.engine} {segmenter.precision}, probe {took_s * 1000:.0f} ms")
        return segmenter

    def _open(self, version: str) -> Artefact:
        """Fetched and verified once: a version never changes."""
        kept: Path | None
        try:
            found = self._registry.open(version)
            kept = self._registry.signature(version) if self._settings.trusted_key else None
        except StorageError:
            if not isinstance(self._registry, CloudRegistry) or version not in self._registry.copies.versions():
                raise
            copies = self._registry.copies
            found, kept = copies.open(version), copies.signature(version)
        if self._settings.trusted_key:
            signature.verify(found, kept, self._settings.trusted_key)
        self._good[version] = found
        return found


def _not_served(version: str) -> VersionNotFound:
    return VersionNotFound(f"version {version} is not served here")
