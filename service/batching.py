"""Many photographs, one network call: engines that are shared by everybody who is at work."""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.engines import Engine
from model.segmenter import Segmenter


@dataclass(frozen=True)
class Rules:
    """How callers share a network."""

    most: int  # photographs in one call
    at_once: int  # calls of one network at the same time
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

    Args:
        seen: told the number of photographs of every call.
    """

    def __init__(self, engine: Engine, rules: Rules, seen: Callable[[int], None] = lambda size: None) -> None:
        self.name, self.precision = engine.name, engine.precision
        self._engine, self._rules, self._seen = engine, rules, seen
        self._changed = threading.Condition()
        self._waiting: deque[_Part] = deque()
        self._running = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """As `Engine`; what the engine raises for one of those who shared a call, all of them get."""
        mine = _Part(images)
        with self._changed:
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

    def _next_batch(self, mine: _Part, until: float) -> list[_Part]:
        """What this caller is to run now; empty when its own part is done."""
        with self._changed:
            while True:
                if mine.result is not None or mine.error is not None:
                    return []
                left = until - time.monotonic()
                if not mine.taken and (self._running < self._rules.at_once or left <= 0):
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
            results = self._engine(images)
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
    """

    def __init__(self, rules: Rules, seen: Callable[[str, int], None] = lambda network, size: None) -> None:
        self._rules, self._seen = rules, seen
        self._lock = threading.Lock()
        self._shared: weakref.WeakKeyDictionary[Segmenter, Segmenter] = weakref.WeakKeyDictionary()

    def of(self, segmenter: Segmenter) -> Segmenter:
        """Always the same one, for as long as the segmenter is loaded."""
        with self._lock:
            if segmenter not in self._shared:
                self._shared[segmenter] = segmenter.sharing(self._share)
            return self._shared[segmenter]

    def _share(self, network: str, engine: Engine) -> Engine:
        return SharedEngine(engine, self._rules, lambda size: self._seen(network, size))
