"""Which versions are known and live: verify them at start, load them when asked for, leave the corrupt ones out."""

import logging
import threading
from collections import OrderedDict

from model.artefact import Artefact
from model.errors import CorruptVersion, NoVersionLive, UnknownSchema, VersionNotFound
from model.registry import Registry
from model.segmenter import Segmenter
from service.settings import Settings

logger = logging.getLogger("cupdisc")


class LiveVersions:
    """The versions of one registry. Safe to call from several threads.

    A version that fails its check is reported once, by file name, and is not served. Where that is the version of the
    settings, the newest good one takes its place; where there is none, `default` is None.

    Raises:
        VersionNotFound: the settings name a version that the registry, though not empty, does not have.
        EngineUnavailable, InvalidConfiguration: as `Segmenter`.
    """

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry, self._settings = registry, settings
        self._lock = threading.Lock()
        self._good: dict[str, Artefact] = {}
        self.refused: dict[str, str] = {}  # version: why it is not served
        self._loaded: OrderedDict[str, Segmenter] = OrderedDict()  # the least recently asked for first
        self.default: str | None = None
        names = registry.versions()
        candidates = [registry.resolve(settings.version), *names] if names else []
        for version in candidates:
            if self._artefact(version) and self._load(version):
                self.default = version
                break
        if self.default and self.default != candidates[0]:
            logger.warning("serving %s in place of %s", self.default, candidates[0])

    def get(self, name: str | None = None) -> Segmenter:
        """The version to use, loaded; without a name the one that was chosen at start.

        Raises:
            NoVersionLive, VersionNotFound.
        """
        if self.default is None:
            raise NoVersionLive("no version could be loaded")
        if name is None:
            return self._loaded[self.default]  # stays loaded, so it waits for no lock
        with self._lock:
            version = self._registry.resolve(name)
            segmenter = self._loaded.get(version) or (self._load(version) if self._artefact(version) else None)
            if segmenter is None:
                raise VersionNotFound(f"version {version} is not served here")
            self._loaded.move_to_end(version)
            while len(self._loaded) > self._settings.max_live_versions:
                del self._loaded[next(old for old in self._loaded if old not in (self.default, version))]
            return segmenter

    def artefact(self, name: str) -> Artefact:
        """The verified files of a version or alias.

        Raises:
            VersionNotFound: there is none, or it is corrupt.
        """
        with self._lock:
            version = self._registry.resolve(name)
            artefact = self._artefact(version)
            if artefact is None:
                raise VersionNotFound(f"version {version} is not served here")
            return artefact

    def artefacts(self) -> list[Artefact]:
        """Every good version, the newest first."""
        with self._lock:
            return [artefact for version in self._registry.versions() if (artefact := self._artefact(version))]

    def aliases(self) -> dict[str, str]:
        """The movable names of good versions."""
        with self._lock:
            return {name: version for name, version in self._registry.aliases().items() if self._artefact(version)}

    def is_loaded(self, version: str) -> bool:
        """Whether the version's networks are in memory."""
        return version in self._loaded

    def _artefact(self, version: str) -> Artefact | None:
        """Verified once: a version never changes."""
        if version not in self._good and version not in self.refused:
            try:
                self._good[version] = self._registry.open(version)
            except (CorruptVersion, UnknownSchema, VersionNotFound) as error:
                self._refuse(version, error)
        return self._good.get(version)

    def _load(self, version: str) -> Segmenter | None:
        settings = self._settings
        try:
            loaded = Segmenter(self._good[version], settings.engine, settings.precision, settings.threads)
        except CorruptVersion as error:  # the files are as published, but this code cannot use them
            del self._good[version]
            self._refuse(version, error)
            return None
        self._loaded[version] = loaded
        return loaded

    def _refuse(self, version: str, error: Exception) -> None:
        self.refused[version] = str(error)
        logger.warning("version %s is left out: %s", version, error)
