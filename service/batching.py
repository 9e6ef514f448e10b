"""Many photographs, one network call: engines that are shared by everybody who is at work."""

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import structlog

from model import engines
from model.engines import Engine
from model.segmenter import Segmenter

logger = structlog.get_logger("cupdisc")


@dataclass(frozen=True)
class Rules:
    """How callers share a network."""

    most: int  # photographs in one call
    at_once: int  # calls of one network at the same time, where several photographs are under way
    longest_wait_s: float  # for which a busy network may keep a caller waiting; then a further call begins


@dataclass(eq=False)
class _Part:
    """What one caller wants, and then what came of it."""

    images: np.ndarray
    taken: bool = False  # into somebody's call
    result: np.ndarray | None = None
    error: BaseException | None = None


class SharedEngine:
    """An engine whose callers on several threads share calls.

    A caller who finds the network idle runs it at once. While it is busy, callers gather; the first of them to see it
    idle again runs it for all, in the order in which they came. There is no thread of its own, and nobody waits for
    company.

    A photograph that is alone has all cores for each call. As soon as others are under way, the network is made ready
    for several calls at a time too, on a thread of its own; from then on such calls are used while there are others.
    Cores that work on different photographs never wait for each other.

    Args:
        seen: told the number of photographs of every call.
        crowded: whether there is more than one photograph under way.
        for_many: the network once more, made ready for several calls at a time; None where that cannot be had.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        seen: Callable[[int], None] = lambda size: None,
        crowded: Callable[[], bool] = lambda: False,
        for_many: Callable[[], Engine | None] = lambda: None,
    ) -> None:
        self.name, self.precision = engine.name, engine.precision
        self._alone, self._rules, self._seen, self._crowded = engine, rules, seen, crowded
        self._for_many = for_many
        self._many: Engine | None = None
        self._preparing: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: deque[_Part] = deque()
        self._running = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """As `Engine`; what the engine raises for one of those who shared a call, all of them get."""
        mine = _Part(images)
        with self._changed:
            if self._preparing is None and self._rules.at_once > 1 and self._crowded():
                self._preparing = threading.Thread(target=self._prepare, name="prepare network")
                with contextlib.suppress(RuntimeError):  # no more threads: the photographs can do without
                    self._preparing.start()
            self._waiting.append(mine)
        until = time.monotonic() + self._rules.longest_wait_s
        while batch := self._next_batch(mine, until):
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.result is not None  # noqa: S101 - for the type checker
        return mine.result

    def _prepare(self) -> None:
        try:
            many = self._for_many()
        except Exception:  # the photographs can do without
            logger.exception("cannot make a network ready for several calls at a time")
            return
        with self._changed:
            self._many = many
            self._changed.notify_all()

    def _next_batch(self, mine: _Part, until: float) -> list[_Part]:
        """What this caller is to run now; empty when its own part is done."""
        with self._changed:
            while True:
                if mine.result is not None or mine.error is not None:
                    return []
                left = until - time.monotonic()
                at_once = self._rules.at_once if self._many is not None else 1
                if not mine.taken and (self._running < at_once or left <= 0):
                    self._running += 1
                    return self._take()
                self._changed.wait(None if mine.taken else left)

    def _take(self) -> list[_Part]:
        batch: list[_Part] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].images) <= self._rules.most):
            part = self._waiting.popleft()
            part.taken = True
            batch.append(part)
            size += len(part.images)
        return batch

    def _run(self, batch: list[_Part]) -> None:
        try:
            images = batch[0].images if len(batch) == 1 else np.concatenate([part.images for part in batch])
            self._seen(len(images))
            many = self._many
            results = (many if many is not None and self._crowded() else self._alone)(images)
            if len(results) != len(images):
                raise RuntimeError(f"{len(results)} answers to {len(images)} images")
        except BaseException as error:
            for part in batch:
                part.error = error
            return
        first = 0
        for part in batch:
            part.result = results[first : first + len(part.images)]
            first += len(part.images)


class SharedSegmenters:
    """The same segmenters with shared engines. Safe to call from several threads.

    Args:
        seen: told the network's name and the number of photographs of every call.
        crowded: as for `SharedEngine`.
    """

    def __init__(
        self,
        rules: Rules,
        seen: Callable[[str, int], None] = lambda network, size: None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._rules, self._seen, self._crowded = rules, seen, crowded
        self._lock = threading.Lock()
        self._shared: weakref.WeakKeyDictionary[Segmenter, Segmenter] = weakref.WeakKeyDictionary()
        # by the engine's id: conventions of one version have one locator
        self._engines: weakref.WeakValueDictionary[int, SharedEngine] = weakref.WeakValueDictionary()

    def of(self, segmenter: Segmenter) -> Segmenter:
        """Always the same one, for as long as the segmenter is loaded."""
        with self._lock:
            if segmenter not in self._shared:
                self._shared[segmenter] = segmenter.sharing(self._share)
            return self._shared[segmenter]

    def _share(self, network: str, engine: Engine) -> Engine:
        found = self._engines.get(id(engine))
        if found is None:
            found = self._engines[id(engine)] = SharedEngine(
                engine,
                self._rules,
                lambda size: self._seen(network, size),
                self._crowded,
                lambda: engines.for_many(engine, self._rules.at_once),
            )
        return found
