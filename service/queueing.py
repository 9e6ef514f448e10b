"""Whose photograph is worked on next: a bounded queue, fair to every caller, that forgets those who have gone."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from model.errors import DeadlineExceeded, Overloaded
from service.observability import Metrics

Result = TypeVar("Result")
Job = Callable[[Callable[[], None]], Result]  # gets a function to call now and then, which raises when it is to stop

LONGEST_RETRY_S = 60
MEMORY = 0.9  # share of the past in the mean time of a job


@dataclass(frozen=True)
class Terms:
    """How many may work and wait, and how long."""

    workers: int
    most_waiting: int
    deadline_s: float  # from entering the queue to the answer


class Abandoned(Exception):
    """Nobody wants the result any more. Never an answer."""


class _Place:
    """One photograph in the queue, then at work."""

    def __init__(self, caller: str, heavy: bool) -> None:
        self.caller, self.heavy = caller, heavy
        self.entered = time.monotonic()
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.abandoned = False

    def check(self) -> None:
        """Raises Abandoned where the work is in vain. Safe to call from another thread."""
        if self.abandoned:
            raise Abandoned


class Queue:
    """For one event loop. To be closed.

    Each free worker takes the next photograph of the next caller: whoever sends thousands keeps nobody else waiting
    for more than one of them.
    """

    def __init__(self, terms: Terms, metrics: Metrics) -> None:
        self._terms, self._metrics = terms, metrics
        self._free, self._free_for_heavy = terms.workers, max(1, terms.workers - 1)
        self._callers: OrderedDict[str, deque[_Place]] = OrderedDict()  # the one whose turn it is first
        self._waiting = 0
        self._mean_s = 0.05  # of a photograph's work
        self._threads = ThreadPoolExecutor(terms.workers, "photograph")

    def close(self) -> None:
        """Let the workers finish what they do, and end."""
        self._threads.shutdown(wait=False)

    @property
    def under_way(self) -> int:
        """Photographs that a worker is busy with."""
        return self._terms.workers - self._free

    def check_room(self, heavy: bool = False) -> None:
        """Is there any use in sending a photograph now? To be asked before it is read.

        Args:
            heavy: whether it is known to be; heavy ones that wait do not keep others from a worker that is free.
        Raises:
            Overloaded: as many wait as may.
        """
        if self._waiting >= self._terms.most_waiting and (heavy or not self._free):
            seconds = math.ceil(self._waiting * self._mean_s / self._terms.workers)
            raise Overloaded(f"{self._waiting} photographs are waiting already", min(max(1, seconds), LONGEST_RETRY_S))

    async def run(
        self, job: Job[Result], caller: str, receive: Receive, heavy: bool = False, let_in: bool = False
    ) -> Result:
        """Do a job on another thread when its turn has come.

        Args:
            caller: whose turn it has to be.
            receive: of the request, whose body has been read: it tells when the client has gone.
            heavy: whether it is one of those that never take all the workers.
            let_in: whether `check_room` has been asked for all the photographs of its request: however many there are,
                none of them is refused for the sake of the others.
        Raises:
            Overloaded: as many wait as may, or no thread can be started.
            DeadlineExceeded: it could not be done in time.
            ClientDisconnect: the client has gone.
        """
        if not let_in:
            self.check_room(heavy)
        place = _Place(caller, heavy)
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await self._take_turn(place, gone)
            self._metrics.stage("wait", time.monotonic() - place.entered)
            work = self._begin(job, place)
            await self._either(work, gone, place)
            return work.result()
        finally:
            place.abandoned = True
            gone.cancel()

    async def _take_turn(self, place: _Place, gone: "asyncio.Future[None]") -> None:
        self._callers.setdefault(place.caller, deque()).append(place)
        self._waiting += 1
        self._grant()
        if place.turn.done():
            return
        try:
            await self._either(place.turn, gone, place)
        except BaseException:
            if place.turn.done():  # it was given in this very moment
                self._give_back(place)
            else:
                self._remove(place)
                self._metrics.queue(self._waiting)
            raise

    def _begin(self, job: Job[Result], place: _Place) -> "asyncio.Future[Result]":
        """Hand a job whose turn has come to a worker's thread. Raises Overloaded where none can be started."""
        try:
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._timed, job, place)
        except Exception as error:  # the system has no thread or memory left
            place.abandoned = True  # the executor keeps the job all the same
            self._give_back(place)
            raise Overloaded("the thread that works on photographs cannot be started") from error
        work.add_done_callback(lambda done: self._leave(place, done))
        return work

    async def _either(self, wanted: "asyncio.Future[Any]", gone: "asyncio.Future[None]", place: _Place) -> None:
        """Wait for what is wanted, as long as somebody does."""
        left = place.entered + self._terms.deadline_s - time.monotonic()
        await asyncio.wait({wanted, gone}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return
        if gone.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"no answer within {self._terms.deadline_s:g} s")

    def _grant(self) -> None:
        """Give free workers to those whose turn it is."""
        while self._free and (place := self._next()):
            self._remove(place)
            if place.caller in self._callers:
                self._callers.move_to_end(place.caller)
            self._free -= 1
            self._free_for_heavy -= place.heavy
            place.turn.set_result(None)
        self._metrics.queue(self._waiting)

    def _next(self) -> _Place | None:
        for places in self._callers.values():
            for place in places:
                if self._free_for_heavy or not place.heavy:
                    return place
        return None

    def _remove(self, place: _Place) -> None:
        places = self._callers[place.caller]
        places.remove(place)
        if not places:
            del self._callers[place.caller]
        self._waiting -= 1

    def _leave(self, place: _Place, done: "asyncio.Future[Any]") -> None:
        """A worker is free again."""
        if not done.cancelled():
            done.exception()  # taken note of, also where nobody waits for it any more
        self._give_back(place)

    def _give_back(self, place: _Place) -> None:
        self._free += 1
        self._free_for_heavy += place.heavy
        self._grant()

    def _timed(self, job: Job[Result], place: _Place) -> Result:
        """The job, on a worker's thread."""
        started = time.monotonic()
        place.check()
        result = job(place.check)
        self._mean_s = MEMORY * self._mean_s + (1 - MEMORY) * (time.monotonic() - started)
        return result


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
