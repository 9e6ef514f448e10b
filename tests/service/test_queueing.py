"""Whose turn it is: order, fairness, bounds, deadlines, and those who have gone."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from model.errors import DeadlineExceeded, Overloaded
from service.observability import Metrics
from service.queueing import Abandoned, Queue, Terms


async def stays() -> dict[str, Any]:
    """A client that waits for its answer."""
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


class Worker:
    """Work that waits for a sign, and tells what is begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gates: dict[str, threading.Event] = {}

    def job(self, name: str, gated: bool = True) -> Callable[[Callable[[], None]], str]:
        gate = self.gates.setdefault(name, threading.Event())

        def work(check: Callable[[], None]) -> str:
            self.begun.append(name)
            if gated:
                assert gate.wait(20)
            check()
            return name

        return work


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def queue(workers: int = 1, most_waiting: int = 32, deadline_s: float = 25.0) -> Queue:
    return Queue(Terms(workers, most_waiting, deadline_s), Metrics())


def test_first_come_first_served() -> None:
    async def test() -> None:
        work, line = Worker(), queue()
        names = [f"{number}" for number in range(6)]
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(line.run(work.job(name, gated=name == "0"), "somebody", stays)))
            await asyncio.sleep(0)
        work.gates["0"].set()
        assert await asyncio.gather(*tasks) == names
        assert work.begun == names
        line.close()

    run(test)


def test_one_with_a_hundred_does_not_keep_one_with_one_waiting() -> None:
    async def test() -> None:
        work, line = Worker(), queue(most_waiting=200)
        tasks = [
            asyncio.create_task(line.run(work.job(f"bulk {number}", gated=number == 0), "bulk", stays))
            for number in range(100)
        ]
        await until(lambda: line._waiting == 99)
        tasks.append(asyncio.create_task(line.run(work.job("single", gated=False), "clinic", stays)))
        await until(lambda: line._waiting == 100)
        work.gates["bulk 0"].set()
        await asyncio.gather(*tasks)
        assert work.begun.index("single") <= 2
        line.close()

    run(test)


def test_callers_take_turns() -> None:
    async def test() -> None:
        work, line = Worker(), queue()
        first = asyncio.create_task(line.run(work.job("0"), "x", stays))
        await until(lambda: work.begun == ["0"])
        tasks = []
        for caller in "aaaabbcc":
            tasks.append(asyncio.create_task(line.run(work.job(caller, gated=False), caller, stays)))
            await asyncio.sleep(0)
        work.gates["0"].set()
        await asyncio.gather(first, *tasks)
        assert work.begun == ["0", *"abcabcaa"]
        line.close()

    run(test)


def test_heavy_photographs_leave_a_worker_to_the_others() -> None:
    async def test() -> None:
        work, line = Worker(), queue(workers=2)
        heavy = [asyncio.create_task(line.run(work.job(f"heavy {n}"), "x", stays, heavy=True)) for n in range(3)]
        await until(lambda: work.begun == ["heavy 0"])
        assert await line.run(work.job("light", gated=False), "y", stays) == "light"
        assert work.begun == ["heavy 0", "light"]
        for gate in work.gates.values():
            gate.set()
        await asyncio.gather(*heavy)
        line.close()

    run(test)


def test_beyond_its_length_the_queue_refuses_and_says_when_to_come_again() -> None:
    async def test() -> None:
        work, line = Worker(), queue(most_waiting=2)
        tasks = [asyncio.create_task(line.run(work.job(f"{number}"), "x", stays)) for number in range(3)]
        await until(lambda: line._waiting == 2)
        with pytest.raises(Overloaded) as refused:
            line.check_room()
        assert refused.value.retry_after_s >= 1
        with pytest.raises(Overloaded):
            await line.run(work.job("one more"), "y", stays)
        for gate in work.gates.values():
            gate.set()
        await asyncio.gather(*tasks)
        line.check_room()
        assert work.begun == ["0", "1", "2"]
        line.close()

    run(test)


@pytest.mark.parametrize("gated", [False, True], ids=["waiting", "at work"])
def test_who_has_waited_too_long_is_told_so(gated: bool) -> None:
    """Whether still waiting for a turn or already worked on; and the worker is free for others after that."""

    async def test() -> None:
        work, line = Worker(), queue(deadline_s=0.5)
        busy = asyncio.create_task(line.run(work.job("busy"), "x", stays))
        await until(lambda: work.begun == ["busy"])
        if not gated:
            with pytest.raises(DeadlineExceeded):
                await line.run(work.job("late"), "y", stays)
        with pytest.raises(DeadlineExceeded):
            await busy
        assert work.begun == ["busy"]
        assert line._free == 0  # the thread cannot be stopped in the middle
        work.gates["busy"].set()
        await until(lambda: line._free == 1)
        line.close()

    run(test)


def test_who_hangs_up_gives_up_the_place() -> None:
    async def test() -> None:
        work, line = Worker(), queue()
        busy = asyncio.create_task(line.run(work.job("busy"), "x", stays))
        await until(lambda: work.begun == ["busy"])

        async def goes() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        with pytest.raises(ClientDisconnect):
            await line.run(work.job("unwanted"), "y", goes)
        assert line._waiting == 0
        work.gates["busy"].set()
        await busy
        assert work.begun == ["busy"]
        line.close()

    run(test)


def test_work_for_who_has_gone_is_ended_at_its_next_check() -> None:
    async def test() -> None:
        line, hang_up, ended = queue(), asyncio.Event(), threading.Event()
        begun = threading.Event()

        async def goes() -> dict[str, Any]:
            await hang_up.wait()
            return {"type": "http.disconnect"}

        def endless(check: Callable[[], None]) -> None:
            begun.set()
            try:
                while True:
                    check()
                    threading.Event().wait(0.001)
            except Abandoned:
                ended.set()
                raise

        task = asyncio.create_task(line.run(endless, "x", goes))
        await until(begun.is_set)
        hang_up.set()
        with pytest.raises(ClientDisconnect):
            await task
        await until(ended.is_set)
        await until(lambda: line._free == 1)
        line.close()

    run(test)


def test_a_cancelled_request_gives_its_place_back() -> None:
    async def test() -> None:
        work, line = Worker(), queue()
        busy = asyncio.create_task(line.run(work.job("busy"), "x", stays))
        await until(lambda: work.begun == ["busy"])
        waiting = asyncio.create_task(line.run(work.job("waiting"), "y", stays))
        await until(lambda: line._waiting == 1)
        for task in (waiting, busy):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert line._waiting == 0
        work.gates["busy"].set()
        await until(lambda: line._free == 1)
        assert await line.run(work.job("next", gated=False), "z", stays) == "next"
        line.close()

    run(test)


def test_what_a_job_raises_is_raised_and_the_worker_goes_on() -> None:
    async def test() -> None:
        work, line = Worker(), queue()

        def fails(check: Callable[[], None]) -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            await line.run(fails, "x", stays)
        assert await line.run(work.job("next", gated=False), "x", stays) == "next"
        line.close()

    run(test)


def test_where_no_thread_can_be_started_nothing_is_lost_but_that_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        work, line = Worker(), queue()

        def fails(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fails)
            with pytest.raises(Overloaded):
                await line.run(work.job("unlucky", gated=False), "x", stays)
        assert (line._free, line._waiting) == (1, 0)
        assert await line.run(work.job("next", gated=False), "x", stays) == "next"
        assert work.begun == ["next"]
        line.close()

    run(test)


def test_heavy_ones_that_wait_do_not_keep_a_light_one_from_a_free_worker() -> None:
    async def test() -> None:
        work, line = Worker(), queue(workers=2, most_waiting=1)
        heavy = [asyncio.create_task(line.run(work.job(name), "a", stays, heavy=True)) for name in ("one", "two")]
        await until(lambda: work.begun == ["one"] and line._waiting == 1)
        with pytest.raises(Overloaded):
            await line.run(work.job("three"), "b", stays, heavy=True)
        line.check_room()  # there is a worker that heavy ones do not get
        assert await line.run(work.job("light", gated=False), "b", stays) == "light"
        for name in ("one", "two"):
            work.gates[name].set()
        assert await asyncio.gather(*heavy) == ["one", "two"]
        line.close()

    run(test)
