"""A bulk run as discrete events: workers take bundles of photographs; some are slower, some die on the way.

What is simulated are bundles, not photographs: a worker that is lost has its whole bundle done again, by another one or
by the one that replaces it, as Beam does it. A stage begins when the one before it has ended. A slow machine is slow in
all of them, in listing names too.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import simpy

from benchmarks.scaling.simulation import Times

HOUR_S = 3600


@dataclass(frozen=True)
class Crew:
    """Workers of a core each."""

    workers: int
    startup_s: float = 0.0  # of each, until it takes its first bundle; paid for
    slow_share: float = 0.0  # of machines, by lot
    slow_times: float = 1.0  # as long as others they need
    lost_per_hour: float = 0.0  # of each worker, by chance
    lives_s: Sequence[float] = ()  # after which the first workers are lost, instead of by chance
    replaced_after_s: float = 0.0  # until another machine begins to start; not paid for


@dataclass
class Outcome:
    """What it took."""

    ends_s: list[float] = field(default_factory=list)  # of each stage
    paid_s: float = 0.0  # of cores
    lost: int = 0  # workers
    again: int = 0  # bundles that were begun anew
    vain_s: float = 0.0  # of cores, at work on bundles that were lost

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.ends_s[-1]


class _Run:
    def __init__(self, env: simpy.Environment, crew: Crew, seed: int) -> None:
        self._env, self._crew, self._lots = env, crew, random.Random(seed)
        self._waiting: deque[float] = deque()
        self._left = 0  # bundles of this stage that nobody has finished
        self._more, self._stage_done = env.event(), env.event()
        self._began: dict[int, float] = {}  # worker: its present life
        self.outcome = Outcome()
        for number in range(crew.workers):
            env.process(self._worker(number))

    def conduct(self, stages: Sequence[Sequence[float]]) -> Times:
        """One stage after the other; what they cost is in `outcome` at the end."""
        for stage in stages:
            self._waiting.extend(stage)
            self._left, self._stage_done = len(stage), self._env.event()
            self._tell()
            yield self._stage_done
            self.outcome.ends_s.append(self._env.now)
        self.outcome.paid_s += sum(self._env.now - began for began in self._began.values())

    def _worker(self, number: int) -> Times:
        own = self._env.active_process
        lives = list(self._crew.lives_s[number : number + 1])
        while True:
            self._began[number] = self._env.now
            life = lives.pop() if lives else self._life()
            if life is not None:
                self._env.process(self._end(own, life))
            try:
                yield from self._work()
            except simpy.Interrupt:
                self.outcome.lost += 1
                self.outcome.paid_s += self._env.now - self._began.pop(number)
            yield self._env.timeout(self._crew.replaced_after_s)

    def _life(self) -> float | None:
        rate = self._crew.lost_per_hour
        return self._lots.expovariate(rate / HOUR_S) if rate else None

    def _end(self, worker: simpy.Process, after_s: float) -> Times:
        yield self._env.timeout(after_s)
        worker.interrupt()

    def _work(self) -> Times:
        slower = self._crew.slow_times if self._lots.random() < self._crew.slow_share else 1.0
        yield self._env.timeout(self._crew.startup_s)
        while True:
            while not self._waiting:
                yield self._more
            cost_s = self._waiting.popleft()
            began = self._env.now
            try:
                yield self._env.timeout(cost_s * slower)
            except simpy.Interrupt:
                self.outcome.again += 1
                self.outcome.vain_s += self._env.now - began
                self._waiting.appendleft(cost_s)
                self._tell()
                raise
            self._left -= 1
            if not self._left:
                self._stage_done.succeed()

    def _tell(self) -> None:
        """Everybody who waits for a bundle."""
        self._more.succeed()
        self._more = self._env.event()


def worked(stages: Sequence[Sequence[float]], crew: Crew, seed: int) -> Outcome:
    """A run from its start to its end.

    Args:
        stages: seconds of a core that each bundle takes; no stage is empty.
    """
    env = simpy.Environment()
    run = _Run(env, crew, seed)
    env.run(until=env.process(run.conduct(stages)))
    return run.outcome
