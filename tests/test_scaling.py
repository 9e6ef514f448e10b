"""The simulation gives what queueing theory knows, and is held against the real run that is kept."""

import json
import math
import random

import pytest

from benchmarks.scaling import plan
from benchmarks.scaling.simulation import Scaling, Shape, replayed, scaled


def poisson(rate: float, count: int, mean_s: float, seed: int = 0) -> list[tuple[float, float]]:
    """Arrivals by chance, of exponential cost."""
    lots, now, found = random.Random(seed), 0.0, []
    for _ in range(count):
        now += lots.expovariate(rate)
        found.append((now, lots.expovariate(1 / mean_s)))
    return found


def mean(latencies: list[tuple[float, float]]) -> float:
    return sum(took for _, took in latencies) / len(latencies)


@pytest.mark.parametrize("parallel", [1, 1000])
def test_one_core_is_the_textbooks_queue(parallel: int) -> None:
    """M/M/1, one after the other or all at once: 1 / (service rate - arrival rate) = 1 / (10 - 5)."""
    found = replayed(poisson(5, 12_000, 0.1), Shape(1, parallel, queue=10_000), 1, shared=False)
    assert mean(found.latencies_s) == pytest.approx(0.2, rel=0.1)
    assert found.refused == 0


def test_two_cores_of_one_machine_are_the_textbooks_too() -> None:
    """M/M/2 at 70 %: mean time 0.1 / (1 - 0.7²)."""
    found = replayed(poisson(14, 12_000, 0.1), Shape(2, 2, queue=10_000), 1, shared=False)
    assert mean(found.latencies_s) == pytest.approx(0.1 / (1 - 0.49), rel=0.1)


def test_work_that_shares_a_core_takes_twice_as_long() -> None:
    found = replayed([(0.0, 1.0), (0.0, 1.0)], Shape(1, 1), 2, shared=True)
    assert [took for _, took in found.latencies_s] == [pytest.approx(2.0)] * 2
    apart = replayed([(0.0, 1.0), (0.0, 1.0)], Shape(1, 1), 2, shared=False)
    assert [took for _, took in apart.latencies_s] == [pytest.approx(1.0)] * 2


def test_a_full_queue_refuses() -> None:
    found = replayed([(0.0, 1.0)] * 5, Shape(1, 1, queue=2), 1, shared=False)
    assert (len(found.latencies_s), found.refused) == (3, 2)


def test_the_autoscaler_adds_what_is_needed_and_takes_it_away() -> None:
    rules = Scaling(least=1, most=8, calm_s=60)
    rise = scaled(lambda now: 25.0 if now < 300 else 1.0, [0.1], Shape(1, 2), rules, 1500, seed=0)
    assert max(count for at, count in rise.replicas if at < 300) >= 3
    assert rise.replicas[-1][1] == 1
    assert rise.refused > 0  # until the first new ones were there
    assert rise.quantile_s(0.95, after_s=600) < 0.3
    assert math.isnan(rise.quantile_s(0.5, after_s=1e9))


@pytest.mark.parametrize(
    ("kept", "up_to"),
    [
        pytest.param("2026-11-25-two-replicas.json", 0.7, id="one core that both share"),
        pytest.param("2026-11-26-two-replicas.json", 0.8, id="a core each"),
    ],
)
def test_the_simulation_is_as_near_to_the_real_runs_as_the_documentation_says(kept: str, up_to: float) -> None:
    run = json.loads((plan.RESULTS / kept).read_text(encoding="utf-8"))
    found = {check.share: check.error for check in plan.checks(run)}
    assert set(found) == {0.3, 0.5, 0.7, 0.8}
    assert max(abs(error) for share, error in found.items() if share <= up_to) <= 0.2, found  # of p95
