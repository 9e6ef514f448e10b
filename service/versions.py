"""Which versions are live: verified, probed and loaded beside the old one, then swapped in between two requests."""

import contextlib
import logging
import os
import random
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from model import names, signature
from model.artefact import MANIFEST, Artefact
from model.bucket import Patience
from model.cloud_registry import CloudRegistry
from model.errors import (
    CorruptVersion,
    CupDiscError,
    EngineUnavailable,
    IncompleteVersion,
    InvalidConfiguration,
    NoRoom,
    NoVersionLive,
    StorageError,
    StorageUnavailable,
    VersionError,
    VersionNotFound,
)
from model.local_registry import LocalRegistry
from model.registry import BUNDLED, Registry, open_registry
from model.segmenter import Segmenter
from service.observability import Metrics
from service.probe import probe
from service.replicas import State
from service.settings import Settings

Role = Literal["production", "candidate"]
EVENTS_KEPT = 50
PASSING = (StorageError, NoRoom, IncompleteVersion, VersionNotFound)  # may be otherwise when looked at again

logger = logging.getLogger("cupdisc")


@dataclass(frozen=True)
class Event:
    """Something that happened to a version."""

    time: str  # ISO 8601, UTC
    event: str  # loaded, swapped, rolled_back, refused, unloaded, ended
    version: str
    detail: str


@dataclass(frozen=True)
class Roles:
    """Who answers now. Replaced as a whole, so that a request sees one state or the other."""

    production: Segmenter | None = None
    candidate: Segmenter | None = None


def registry_of(settings: Settings) -> Registry:
    """The registry that the settings name. Raises InvalidConfiguration."""
    patience = Patience(settings.storage_timeout_s, settings.storage_patience_s)
    return open_registry(settings.registry, Path(settings.cache), patience)


class LiveVersions:
    """The versions of one registry. Safe to call from several threads.

    A version that fails its checks is reported once, and is not served. Where that happens at start to the version of
    the settings, the newest good one takes its place; where there is none, `default` is None. Where Cloud Storage is
    away at start, what was downloaded earlier serves, or else the version in the package, which also serves where
    nothing can be downloaded, for want of room for instance.

    Raises:
        VersionNotFound: the settings name a version that the registry, though not empty, does not have.
        StorageError: the registry cannot be read and nothing was downloaded earlier, by a mistake that will not pass.
        EngineUnavailable, InvalidConfiguration: as `Segmenter`.
    """

    def __init__(self, registry: Registry, settings: Settings, metrics: Metrics | None = None) -> None:
        self._registry, self._settings, self._metrics = registry, settings, metrics or Metrics()
        self._changing = threading.RLock()  # held while versions are fetched, checked and loaded
        self._good: dict[str, Artefact] = {}
        self.refused: dict[str, str] = {}  # version: why it is not served
        self.troubles: dict[str, str] = {}  # why readiness is degraded: a code, and words for the operator
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._loaded: OrderedDict[str, Segmenter] = OrderedDict()  # the least recently asked for first
        self._roles = Roles()
        self._followed: dict[str, str] = {}  # alias: the version that serves for it, once it did
        self._aliases: dict[str, str] = {}  # as last read
        self._in_place: Artefact | None = None  # of the package, while the registry's own cannot be had
        with self._changing:
            self._start()

    @property
    def default(self) -> str | None:
        """The version that answers where a request names none."""
        production = self._roles.production
        return production.version if production else None

    @property
    def candidate(self) -> str | None:
        """The version that is tried beside it."""
        return self._roles.candidate.version if self._roles.candidate else None

    def ready(self, name: str | None) -> Segmenter | None:
        """The version for a request, if that takes no work. Raises NoVersionLive."""
        roles = self._roles
        if roles.production is None:
            raise NoVersionLive("no version could be loaded")
        if name is None:
            share = self._settings.candidate_share
            tried = roles.candidate is not None and share > 0 and random.random() < share
            return roles.candidate if tried else roles.production
        return self._loaded.get(self._followed.get(name, name))

    def get(self, name: str | None = None) -> Segmenter:
        """The version for a request, fetched, checked and loaded if need be.

        Raises:
            NoVersionLive, VersionNotFound; StorageError where it cannot be fetched.
        """
        if (found := self.ready(name)) is not None:
            with contextlib.suppress(KeyError):
                self._loaded.move_to_end(found.version)
            return found
        assert name is not None  # noqa: S101 - otherwise it was ready
        with self._changing:
            version = self._resolve(name)
            segmenter = self._loaded.get(version)
            if segmenter is None:
                if version in self.refused:
                    raise VersionNotFound(f"version {version} is not served here")
                try:
                    segmenter = self._load(version)
                except (EngineUnavailable, InvalidConfiguration, *PASSING):
                    raise
                except CupDiscError as error:
                    self._refuse(version, error)
                    raise VersionNotFound(f"version {version} is not served here") from error
            self._loaded.move_to_end(version)
            self._unload()
            return segmenter

    def shadow_of(self, segmenter: Segmenter) -> Segmenter | None:
        """The version that shall see the same photograph, unseen by the client; None for most."""
        roles, share = self._roles, self._settings.shadow_share
        wanted = roles.candidate is not None and segmenter is roles.production and random.random() < share
        return roles.candidate if wanted else None

    def artefact(self, name: str) -> Artefact:
        """The verified files of a version or alias.

        Raises:
            VersionNotFound: there is none, or it is refused. StorageError: it cannot be fetched.
        """
        version = self._resolve(name)
        if (found := self._good.get(version)) is not None:
            return found  # without waiting for a version that is being loaded
        with self._changing:
            if version not in self._good and version not in self.refused:
                try:
                    self._open(version)
                except PASSING:
                    raise
                except CupDiscError as error:
                    self._refuse(version, error)
            if version not in self._good:
                raise VersionNotFound(f"version {version} is not served here")
            return self._good[version]

    def artefacts(self) -> list[Artefact]:
        """Every good version, the newest first; of a registry on Cloud Storage those that are on this machine."""
        if isinstance(self._registry, CloudRegistry):
            good = dict(self._good)
            return [good[version] for version in names.newest_first(good)]
        found = []
        for version in self._registry.versions():
            with contextlib.suppress(VersionNotFound):
                found.append(self.artefact(version))
        return found

    def aliases(self) -> dict[str, str]:
        """The movable names of good versions, as they are served here."""
        if isinstance(self._registry, CloudRegistry):
            known = {name: version for name, version in self._aliases.items() if version in self._good}
            return {**known, **self._followed}
        known = {}
        with contextlib.suppress(CorruptVersion):
            for name, version in self._registry.aliases().items():
                with contextlib.suppress(VersionNotFound):
                    known[name] = self.artefact(version).manifest.version
        return {**known, **self._followed}

    def is_loaded(self, version: str) -> bool:
        """Whether the version's networks are in memory."""
        return version in self._loaded

    def state(self, replica: str) -> State:
        """What this process runs, under its name."""
        reasons = tuple(sorted(self.troubles))
        return State(replica, os.getpid(), self.default, self.candidate, tuple(sorted(self._loaded)), reasons)

    def refresh(self, again: bool = False) -> None:
        """Look what the aliases stand for now, and serve that. Whatever goes wrong, what serves goes on serving.

        Args:
            again: also look again at versions that were refused.
        """
        with self._changing:
            if again:
                self.refused.clear()
            try:
                self._aliases = self._registry.aliases()
            except (StorageError, CorruptVersion) as error:
                code = "storage_unavailable" if isinstance(error, StorageError) else error.code
                self._trouble(code, str(error))
                return
            self._follow("production", self._settings.version)
            self._follow("candidate", self._settings.candidate)
            self._fine("storage_unavailable", CorruptVersion.code)  # only now: readiness must not say so too early
            self._unload()
            self._tidy()

    def _start(self) -> None:
        try:
            known = self._registry.versions()
            self._aliases = self._registry.aliases() if known else {}
            wanted = self._wanted(self._settings.version) if known else None
        except StorageError as error:
            assert isinstance(self._registry, CloudRegistry)  # noqa: S101
            known = self._registry.copies.versions()
            if not known and not isinstance(error, StorageUnavailable):
                raise
            self._trouble("storage_unavailable", str(error))
            with contextlib.suppress(CorruptVersion):
                self._aliases = self._registry.copies.aliases()
            wanted = self._wanted(self._settings.version, known[:1])
        why: dict[str, str] = {}  # they do not serve
        for version in dict.fromkeys([*([wanted] if wanted else []), *known]):
            alias = self._settings.version if version == wanted else None
            if (found := self._take("production", version, alias)) is None:
                break
            why[version] = found
        unfetched = isinstance(self._registry, CloudRegistry) and bool(why.keys() - self.refused.keys())
        if self.default is None and ("storage_unavailable" in self.troubles or unfetched):
            self._serve_bundled()
        if self.default is not None and wanted is not None and (self.default != wanted or self._in_place):
            self._trouble("version_refused", f"serving {self.default} in place of {wanted}: {why.get(wanted)}")
        if "storage_unavailable" not in self.troubles:
            self._follow("candidate", self._settings.candidate)

    def _wanted(self, name: str, otherwise: list[str] | None = None) -> str | None:
        """The version that a version's name or an alias stands for, whether or not it is there."""
        if names.is_version(name) and otherwise is None:
            return self._registry.resolve(name)
        if names.is_version(name) or name in self._aliases:
            return self._aliases.get(name, name)
        if otherwise is None:
            return self._registry.resolve(name)  # which says what there is
        return otherwise[0] if otherwise else None

    def _serve_bundled(self) -> None:
        try:
            self._in_place = LocalRegistry(BUNDLED).open("production")
            if self._settings.trusted_key:
                signature.verify(self._in_place, None, self._settings.trusted_key)
        except VersionError as error:
            self._in_place = None
            self._event("refused", "bundled", str(error))
            return
        self._good[self._in_place.manifest.version] = self._in_place
        self._take("production", self._in_place.manifest.version, None)

    def _take(self, role: Role, version: str, alias: str | None) -> str | None:
        """Let a version fill a role; or the reason why not.

        Raises:
            EngineUnavailable, InvalidConfiguration: at start.
        """
        if version in self.refused:
            return self.refused[version]
        try:
            segmenter = self._loaded.get(version) or self._load(version)
        except PASSING as error:
            return str(error)
        except CupDiscError as error:
            if isinstance(error, EngineUnavailable | InvalidConfiguration) and self.default is None:
                raise
            self._refuse(version, error)
            return str(error)
        before = self._filling(role)
        # the swap, one assignment: requests see the old roles or the new ones
        if role == "production":
            self._roles = replace(self._roles, production=segmenter)
        else:
            self._roles = replace(self._roles, candidate=segmenter)
        if alias is not None:
            self._followed[alias] = version
        self._metrics.live_version(version, role)
        if before is not None:
            back = names.numbers(version) < names.numbers(before.version)
            self._event("rolled_back" if back else "swapped", version, f"{role}: {before.version} → {version}")
        return None

    def _filling(self, role: Role) -> Segmenter | None:
        return self._roles.production if role == "production" else self._roles.candidate

    def _follow(self, role: Role, alias: str) -> None:
        wanted = alias if names.is_version(alias) else self._aliases.get(alias)
        trouble = "version_refused" if role == "production" else "candidate_refused"
        serving = self._filling(role)
        if role == "candidate" and (not self._tries_candidates or wanted in (None, self.default)):
            self._fine(trouble)
            if serving is not None:
                self._roles = replace(self._roles, candidate=None)
                self._followed.pop(alias, None)
                self._metrics.no_longer_live(role)
                self._event("ended", serving.version, "no candidate any more")
            return
        if wanted is None:
            self._trouble(trouble, f"there is no alias {alias}; serving {self.default}")
            return
        if serving is not None and serving.version == wanted and not self._is_in_place(wanted):
            self._followed[alias] = wanted
        elif why := self._take(role, wanted, alias):
            self._trouble(trouble, f"{alias} is {wanted}, which is not served: {why}", wanted)
            return
        if role == "production":
            self._in_place = None
        self._fine(trouble)

    @property
    def _tries_candidates(self) -> bool:
        return self._settings.candidate_share > 0 or self._settings.shadow_share > 0

    def _is_in_place(self, version: str) -> bool:
        """Whether the package's version serves under a name for which the registry may hold something else."""
        if self._in_place is None or self._in_place.manifest.version != version:
            return False
        self._good.pop(version, None)
        self._loaded.pop(version, None)
        return True

    def _resolve(self, name: str) -> str:
        if name in self._followed:
            return self._followed[name]
        if not isinstance(self._registry, CloudRegistry):
            return self._registry.resolve(name)
        version = self._aliases.get(name, name)
        if not names.is_version(version):
            raise names.not_found(name, names.newest_first(self._good))
        return version

    def _load(self, version: str) -> Segmenter:
        """Fetch, verify, load, warm up, probe.

        Raises:
            ProbeFailed, whatever else a version can be refused for, and PASSING.
        """
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
        self._event("loaded", version, f"{segmenter.engine} {segmenter.precision}, probe {took_s * 1000:.0f} ms")
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

    def _refuse(self, version: str, error: CupDiscError) -> None:
        self._good.pop(version, None)
        self.refused[version] = str(error)
        self._event("refused", version, str(error))

    def _unload(self) -> None:
        """Free what is neither in a role nor among those asked for most recently. Requests under way keep theirs."""
        roles = {self.default, self.candidate}
        for version in list(self._loaded):
            if len(self._loaded) <= self._settings.max_live_versions:
                return
            if version not in roles and version != list(self._loaded)[-1]:
                gone = self._loaded.pop(version)
                self._metrics.no_engine(version, gone.engine, gone.precision)
                self._event("unloaded", version, "others are asked for")

    def _tidy(self) -> None:
        """Remove downloaded versions that nobody needs any more; they can be fetched again."""
        if isinstance(self._registry, CloudRegistry):
            needed = {*self._loaded, *self._aliases.values(), *self._followed.values()}
            with contextlib.suppress(OSError, CupDiscError):
                for version in self._registry.copies.keep_only(needed):
                    self._good.pop(version, None)

    def _trouble(self, code: str, detail: str, version: str | None = None) -> None:
        if self.troubles.get(code) == detail:
            return
        self.troubles[code] = detail
        if version is None or version not in self.refused:
            self._event("refused" if code.endswith("_refused") else code, version or self.default or "none", detail)

    def _fine(self, *codes: str) -> None:
        for code in codes:
            if self.troubles.pop(code, None) is not None and code == "storage_unavailable":
                self._event("storage_available", self.default or "none", "the registry can be read again")

    def _event(self, event: str, version: str, detail: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.events.append(Event(now, event, version, detail))
        self._metrics.version_event(event, version)
        level = logging.INFO if event in ("loaded", "swapped", "unloaded", "storage_available") else logging.WARNING
        logger.log(level, "version %s %s: %s", version, event, detail)


class Follower:
    """Looks at the registry again and again, in a thread of its own, until closed."""

    def __init__(self, live: LiveVersions, interval_s: float) -> None:
        self._live, self._interval_s, self._stopping = live, interval_s, threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        if interval_s > 0:
            self._thread.start()

    def close(self) -> None:
        """Stop; a look that is under way is not waited for long."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s * random.uniform(0.9, 1.1)):
            try:
                self._live.refresh()
            except Exception:
                logger.exception("following the registry failed; trying again")
