"""Which versions are live: the registry's aliases are followed, and who answers is swapped between two requests."""

import contextlib
import logging
import os
import random
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from model import names
from model.artefact import Artefact
from model.bucket import Patience
from model.cloud_registry import CloudRegistry
from model.errors import (
    CorruptVersion,
    CupDiscError,
    EngineUnavailable,
    InvalidConfiguration,
    NoVersionLive,
    StorageError,
    StorageUnavailable,
    VersionError,
    VersionNotFound,
)
from model.registry import Registry, open_registry
from model.segmenter import Segmenter
from service.loading import PASSING, LoadedVersions
from service.observability import Metrics
from service.replicas import State
from service.settings import Settings
from service.version_events import Event, History

Role = Literal["production", "candidate"]
logger = logging.getLogger("cupdisc")


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
        self._history = History(self._metrics)
        self._versions = LoadedVersions(registry, settings, self._metrics, self._history)
        self.troubles: dict[str, str] = {}  # why readiness is degraded: a code, and words for the operator
        self._roles = Roles()
        self._followed: dict[str, str] = {}  # alias: the version that serves for it, once it did
        self._aliases: dict[str, str] = {}  # as last read, together or one by one
        self._in_place: str | None = None  # the package's version, while the registry's own cannot be had
        with self._versions.changing:
            self._start()

    @property
    def default(self) -> str | None:
        """The version that answers where a request names none."""
        production = self._roles.production
        return production.version if production else None

    @property
    def production(self) -> Segmenter | None:
        """The same, loaded."""
        return self._roles.production

    @property
    def candidate(self) -> str | None:
        """The version that is tried beside it."""
        return self._roles.candidate.version if self._roles.candidate else None

    @property
    def refused(self) -> dict[str, str]:
        """Version: why it is not served."""
        return self._versions.refused

    @property
    def events(self) -> deque[Event]:
        """What happened to versions, the oldest first."""
        return self._history.events

    def ready(self, name: str | None) -> Segmenter | None:
        """The version for a request, if that takes no work. Raises NoVersionLive."""
        roles = self._roles
        if roles.production is None:
            raise NoVersionLive("no version could be loaded")
        if name is None:
            share = self._settings.candidate_share
            tried = roles.candidate is not None and share > 0 and random.random() < share
            return roles.candidate if tried else roles.production
        found = self._versions.ready(self._followed.get(name) or self._aliases.get(name, name))
        if found is not None:
            self._versions.asked_for(found.version)
        return found

    def get(self, name: str | None = None) -> Segmenter:
        """The version for a request, fetched, checked and loaded if need be.

        Raises:
            NoVersionLive, VersionNotFound; StorageError where it cannot be fetched.
        """
        if (found := self.ready(name)) is not None:
            return found
        assert name is not None  # noqa: S101 - otherwise it was ready
        with self._versions.changing:
            version = self._resolve(name)
            if names.is_alias(name):  # a folder's is read anew, and `ready` shall know what it stands for
                self._aliases = {**self._aliases, name: version}
            segmenter = self._versions.get(version)
            self._versions.asked_for(version)
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
        return self._versions.artefact(self._resolve(name))

    def artefacts(self) -> list[Artefact]:
        """Every good version, the newest first; of a registry on Cloud Storage those that are on this machine."""
        if isinstance(self._registry, CloudRegistry):
            good = self._versions.good()
            return [good[version] for version in names.newest_first(good)]
        found = []
        for version in self._registry.versions():
            with contextlib.suppress(VersionNotFound):
                found.append(self.artefact(version))
        return found

    def aliases(self) -> dict[str, str]:
        """The movable names of good versions, as they are served here."""
        if isinstance(self._registry, CloudRegistry):
            good = self._versions.good()
            known = {name: version for name, version in self._aliases.items() if version in good}
            return {**known, **self._followed}
        known = {}
        with contextlib.suppress(CorruptVersion):
            for name, version in self._registry.aliases().items():
                with contextlib.suppress(VersionNotFound):
                    known[name] = self.artefact(version).manifest.version
        return {**known, **self._followed}

    def is_loaded(self, version: str) -> bool:
        """Whether the version's networks are in memory."""
        return self._versions.ready(version) is not None

    def state(self, replica: str) -> State:
        """What this process runs, under its name."""
        reasons = tuple(sorted(self.troubles))
        return State(replica, os.getpid(), self.default, self.candidate, self._versions.in_memory(), reasons)

    def refresh(self, again: bool = False) -> None:
        """Look what the aliases stand for now, and serve that. Whatever goes wrong, what serves goes on serving.

        Args:
            again: also look again at versions that were refused.
        """
        with self._versions.changing:
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
            self._versions.tidy({*self._aliases.values(), *self._followed.values()})

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
            self._in_place = self._versions.open_bundled()
        except VersionError as error:
            self._history.add("refused", "bundled", str(error))
            return
        self._take("production", self._in_place, None)

    def _take(self, role: Role, version: str, alias: str | None) -> str | None:
        """Let a version fill a role; or the reason why not.

        Raises:
            EngineUnavailable, InvalidConfiguration: at start.
        """
        if version in self.refused:
            return self.refused[version]
        try:
            segmenter = self._versions.load(version)
        except PASSING as error:
            return str(error)
        except CupDiscError as error:
            if isinstance(error, EngineUnavailable | InvalidConfiguration) and self.default is None:
                raise
            self._versions.refuse(version, error)
            return str(error)
        before = self._filling(role)
        if before is not None:
            self._make_ready(segmenter, before.ready_conventions)
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
            self._history.add("rolled_back" if back else "swapped", version, f"{role}: {before.version} → {version}")
        return None

    def _make_ready(self, segmenter: Segmenter, conventions: tuple[str, ...]) -> None:
        """Those that were drawn before the swap, so that no request after it waits for a network."""
        for name in filter(segmenter.can_draw, conventions):
            try:
                segmenter.in_convention(name)
            except Exception:  # an engine fails in ways of its own; whoever asks for it will be told
                logger.exception("version %s: the convention %s is not ready", segmenter.version, name)

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
                self._history.add("ended", serving.version, "no candidate any more")
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
        if self._in_place != version:
            return False
        self._versions.forget(version)
        return True

    def _resolve(self, name: str) -> str:
        if name in self._followed:
            return self._followed[name]
        if not isinstance(self._registry, CloudRegistry):
            return self._registry.resolve(name)
        version = self._aliases.get(name, name)
        if not names.is_version(version):
            raise names.not_found(name, names.newest_first(self._versions.good()))
        return version

    def _unload(self) -> None:
        self._versions.unload({self.default, self.candidate})

    def _trouble(self, code: str, detail: str, version: str | None = None) -> None:
        if self.troubles.get(code) == detail:
            return
        self.troubles[code] = detail
        if version is None or version not in self.refused:
            event = "refused" if code.endswith("_refused") else code
            self._history.add(event, version or self.default or "none", detail)

    def _fine(self, *codes: str) -> None:
        for code in codes:
            if self.troubles.pop(code, None) is not None and code == "storage_unavailable":
                self._history.add("storage_available", self.default or "none", "the registry can be read again")


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
