"""A service of many replicas as discrete events: arrivals, queues, shared cores, autoscaling, cold starts.

A replica works on a few photographs at a time, which share its machine's cores evenly; others wait in its queue, and
beyond that are refused. What each photograph costs alone is measured, and how much less cores do that are shared
(`real.py`); nothing is fitted to how long clients waited.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

Times = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Shape:
    """What a replica is."""

    cores: float  # of its machine
    parallel: int  # photographs worked on at a time
    queue: int = 32  # more wait than this many, and the next is refused
    efficiency: float = 1.0  # of cores that are shared by more photographs than there are cores


@dataclass(frozen=True)
class Scaling:
    """An autoscaler as Kubernetes has it: so many photographs may wait per replica."""

    least: int
    most: int
    waiting: float = 2.0  # per replica, wanted on average
    period_s: float = 15.0  # between two looks
    tolerance: float = 0.1
    double_every_s: float = 30.0  # at most twice as many
    calm_s: float = 300.0  # before fewer
    one_less_every_s: float = 60.0
    cold_start_s: float = 15.0  # until a new replica answers


@dataclass
class Outcome:
    """What the clients saw."""

    latencies_s: list[tuple[float, float]] = field(default_factory=list)  # when it arrived, how long it took
    refused: int = 0
    replicas: list[tuple[float, int]] = field(default_factory=list)  # how many there were, at each look

    def quantile_s(self, share: float, after_s: float = 0.0) -> float:
        """Of those that arrived later than that; NaN without any."""
        ordered = sorted(took for arrived, took in self.latencies_s if arrived >= after_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


class Machine:
    """Cores that all photographs under work on it share evenly, each having one core at most."""

    def __init__(self, env: simpy.Environment, shape: Shape) -> None:
        self._env, self._cores, self._efficiency = env, shape.cores, shape.efficiency
        self._left: dict[simpy.Event, float] = {}  # seconds of a core that each still needs
        self._since = 0.0
        self._round = 0

    def work(self, seconds: float) -> simpy.Event:
        """When so much has been done."""
        self._go_on()
        done = self._env.event()
        self._left[done] = seconds
        self._plan()
        return done

    def _rate(self) -> float:
        count = len(self._left)
        return 1.0 if count <= self._cores else self._efficiency * self._cores / count

    def _go_on(self) -> None:
        """Account for the time that has gone by."""
        done = (self._env.now - self._since) * self._rate()
        self._since = self._env.now
        for each in self._left:
            self._left[each] -= done

    def _plan(self) -> None:
        self._round += 1
        if self._left:
            self._env.process(self._wake(self._round, max(0.0, min(self._left.values())) / self._rate()))

    def _wake(self, number: int, seconds: float) -> Times:
        yield self._env.timeout(seconds)
        if number != self._round:
            return  # somebody came or went meanwhile
        self._go_on()
        for each in [each for each, left in self._left.items() if left <= 1e-9]:
            del self._left[each]
            each.succeed()
        self._plan()


class Replica:
    """One process of the service."""

    def __init__(self, env: simpy.Environment, shape: Shape, machine: Machine | None = None) -> None:
        self._env, self._shape = env, shape
        self._machine = machine or Machine(env, shape)
        self._waiting: deque[tuple[float, simpy.Event]] = deque()
        self.at_work = 0

    @property
    def waiting(self) -> int:
        """Photographs in its queue."""
        return len(self._waiting)

    @property
    def load(self) -> int:
        """Photographs that it has."""
        return self.at_work + len(self._waiting)

    def take(self, cost_s: float) -> simpy.Event | None:
        """When the answer is there; None where it refuses."""
        if self.at_work >= self._shape.parallel and len(self._waiting) >= self._shape.queue:
            return None
        done = self._env.event()
        self._waiting.append((cost_s, done))
        self._begin()
        return done

    def _begin(self) -> None:
        while self._waiting and self.at_work < self._shape.parallel:
            cost_s, done = self._waiting.popleft()
            self.at_work += 1
            self._env.process(self._work(cost_s, done))

    def _work(self, cost_s: float, done: simpy.Event) -> Times:
        yield self._machine.work(cost_s)
        self.at_work -= 1
        done.succeed()
        self._begin()


class Service:
    """Replicas behind one address."""

    def __init__(self, env: simpy.Environment, replicas: list[Replica], choose: Callable[["Service"], Replica]) -> None:
        self.env, self.replicas, self._choose = env, replicas, choose
        self.asked = 0
        self.outcome = Outcome()

    def ask(self, cost_s: float) -> Times:
        """One photograph, from its arrival to its answer."""
        arrived = self.env.now
        replica = self._choose(self)
        self.asked += 1
        answer = replica.take(cost_s)
        if answer is None:
            self.outcome.refused += 1
            return
        yield answer
        self.outcome.latencies_s.append((arrived, self.env.now - arrived))

    def scale(self, rules: Scaling, new: Callable[[], Replica]) -> Times:
        """For ever."""
        starting, last_up, last_down, busy_at = 0, -math.inf, -math.inf, 0.0

        def start() -> Times:
            nonlocal starting
            starting += 1
            yield self.env.timeout(rules.cold_start_s)
            starting -= 1
            self.replicas.append(new())

        while True:
            yield self.env.timeout(rules.period_s)
            now, running = self.env.now, len(self.replicas)
            ratio = sum(each.waiting for each in self.replicas) / running / rules.waiting
            wanted = running if abs(ratio - 1) <= rules.tolerance else math.ceil(running * ratio)
            wanted = min(rules.most, max(rules.least, wanted))
            busy_at = now if wanted >= running else busy_at
            if wanted > running + starting and now - last_up >= rules.double_every_s:
                for _ in range(min(wanted, 2 * running) - running - starting):
                    self.env.process(start())
                last_up = now
            elif wanted < running and now - busy_at >= rules.calm_s and now - last_down >= rules.one_less_every_s:
                self.replicas.remove(min(self.replicas, key=lambda each: each.load))  # it finishes what it has
                last_down = now
            self.outcome.replicas.append((now, len(self.replicas)))


def in_turn(service: Service) -> Replica:
    """As a proxy without any knowledge."""
    return service.replicas[service.asked % len(service.replicas)]


def better_of_two(seed: int) -> Callable[[Service], Replica]:
    """The less busy one of two by lot, as many balancers do it."""
    lots = random.Random(seed)

    def choose(service: Service) -> Replica:
        return min(lots.choice(service.replicas), lots.choice(service.replicas), key=lambda each: each.load)

    return choose


def replayed(arrivals: Iterable[tuple[float, float]], shape: Shape, replicas: int, shared: bool) -> Outcome:
    """Replicas that stay as they are, asked in turn.

    Args:
        arrivals: seconds, and what each photograph costs alone.
        shared: one machine for all of them, instead of one each.
    """
    env = simpy.Environment()
    machine = Machine(env, shape) if shared else None
    service = Service(env, [Replica(env, shape, machine) for _ in range(replicas)], in_turn)

    def arrive() -> Times:
        for at_s, cost_s in arrivals:
            yield env.timeout(max(0.0, at_s - env.now))
            env.process(service.ask(cost_s))

    env.process(arrive())
    env.run()
    return service.outcome


def scaled(
    rate: Callable[[float], float], costs_s: Sequence[float], shape: Shape, rules: Scaling, seconds: float, seed: int
) -> Outcome:
    """A service under an autoscaler, from the least number of replicas on.

    Args:
        rate: photographs per second, by the time; it may change, and is looked at with every arrival.
    """
    env, lots = simpy.Environment(), random.Random(seed)
    service = Service(env, [Replica(env, shape) for _ in range(rules.least)], better_of_two(seed + 1))

    def arrive() -> Times:
        while True:
            yield env.timeout(lots.expovariate(rate(env.now)))
            env.process(service.ask(lots.choice(costs_s)))

    env.process(arrive())
    env.process(service.scale(rules, lambda: Replica(env, shape)))
    env.run(until=seconds)
    return service.outcome
