"""The one version that a run works with, on every machine and until its end."""

from dataclasses import dataclass
from pathlib import Path

import cv2

from model.bucket import Patience
from model.cores import usable_cores
from model.errors import CorruptVersion
from model.registry import open_registry
from model.segmenter import Segmenter
from service.settings import Settings
from service.versions import registry_of


@dataclass(frozen=True)
class Pinned:
    """The version that every worker must run, and how."""

    registry: str
    version: str  # its name, no alias: what an alias points to may change during a run
    digest: str  # of its manifest
    engine: str
    precision: str
    threads: int  # of one worker process; 0: all cores that it may use
    smallest_side: int  # pixels to which photographs may be reduced as they are decoded
    farthest: float  # from the training distribution, that is still gradable
    convention: str | None  # whose annotation is drawn
    cache: str
    storage_timeout_s: float
    storage_patience_s: float

    @classmethod
    def of(cls, settings: Settings, threads: int, convention: str | None = None) -> "Pinned":
        """What an operator's settings mean now; the version is loaded once, to see that it can be.

        Args:
            convention: as for `Segmenter.in_convention`.
        Raises:
            VersionError, InvalidConfiguration, EngineUnavailable, StorageError.
        """
        opened = registry_of(settings).open(settings.version)
        loaded = Segmenter(opened, settings.engine, settings.precision, 1).in_convention(convention)
        return cls(
            settings.registry,
            loaded.version,
            loaded.digest,
            settings.engine,
            settings.precision,
            threads,
            loaded.smallest_side,
            float(opened.manifest.thresholds["distance"]),
            loaded.convention,
            settings.cache,
            settings.storage_timeout_s,
            settings.storage_patience_s,
        )

    def load(self) -> Segmenter:
        """The version, loaded.

        Raises:
            VersionNotFound, CorruptVersion and so on: it disappeared, or is not the one that the run began with.
        """
        patience = Patience(self.storage_timeout_s, self.storage_patience_s)
        artefact = open_registry(self.registry, Path(self.cache), patience).open(self.version)
        if artefact.digest != self.digest:
            raise CorruptVersion(f"version {self.version} is not the one that the run began with")
        cv2.setNumThreads(1)
        loaded = Segmenter(artefact, self.engine, self.precision, self.threads or usable_cores())
        return loaded.in_convention(self.convention)
