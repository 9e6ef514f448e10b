"""The simulation gives what queueing theory knows, and is held against the real run that is kept."""

import json
import math
import random
from pathlib import Path

import pytest

from benchmarks.scaling import archive, plan
from benchmarks.scaling.bundles import Crew, worked
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


def test_on_an_epyc_it_misses_beyond_a_small_load_as_the_documentation_says() -> None:
    run = json.loads((plan.RESULTS / "2026-11-26-epyc-two-replicas.json").read_text(encoding="utf-8"))
    found = {check.share: check.error for check in plan.checks(run)}
    assert abs(found[0.3]) <= 0.2
    assert all(found[share] < -0.2 for share in (0.5, 0.7, 0.8)), found


def test_the_plan_is_made_from_the_last_run_without_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    assert plan.newest() is None
    for name in ("2026-11-25", "2026-11-26", "2026-11-26-epyc", "2026-11-27-zen"):
        (tmp_path / f"{name}-two-replicas.json").touch()
    assert plan.newest() == tmp_path / "2026-11-26-two-replicas.json"


def test_a_bulk_run_without_mishaps_is_arithmetic() -> None:
    found = worked([[2.0] * 40], Crew(workers=4, startup_s=10), seed=0)
    assert found.seconds == 10 + 40 * 2 / 4
    assert (found.paid_s, found.lost, found.again, found.vain_s) == (4 * 30, 0, 0, 0)


def test_a_stage_begins_when_the_one_before_has_ended() -> None:
    assert worked([[4.0, 1.0], [1.0, 1.0]], Crew(workers=2), seed=0).ends_s == [4, 5]


def test_a_lost_worker_costs_its_bundle() -> None:
    """Of two that have a bundle of 10 s each, one is lost after 5; the one that replaces it begins anew."""
    found = worked([[10.0, 10.0]], Crew(workers=2, lives_s=[5]), seed=0)
    assert (found.seconds, found.lost, found.again, found.vain_s) == (15, 1, 1, 5)
    later = worked([[10.0, 10.0]], Crew(workers=2, lives_s=[5], startup_s=1, replaced_after_s=100), seed=0)
    assert later.seconds == 11 + 10  # by then the other one does it
    assert later.vain_s == 4
    assert later.paid_s == 5 + 21


def test_preemptible_workers_need_what_the_textbook_says() -> None:
    """A bundle of 1 h that begins anew at every loss, one in 2 h on average: (e^(1/2) - 1) / (1/2) h."""
    found = worked([[3600.0] * 3000], Crew(workers=1, lost_per_hour=0.5), seed=0)
    assert found.seconds / 3000 / 3600 == pytest.approx((math.exp(0.5) - 1) / 0.5, rel=0.03)


def test_slow_machines_are_as_many_as_told() -> None:
    found = worked([[1.0] * 40_000], Crew(workers=200, slow_share=0.25, slow_times=2), seed=0)
    assert found.seconds == pytest.approx(40_000 / (150 + 50 / 2), rel=0.05)


def test_an_archive_is_cut_into_bundles_that_cost_what_was_measured() -> None:
    of = {**archive.numbers(), "bundle": 100}
    listing, photographs, tables = archive.stages(of, 250_050, [1.0, 3.0], seed=0)
    assert sum(listing) == pytest.approx(250.05 * of["page_s"])
    assert len(photographs) == 2501
    assert sum(photographs) == pytest.approx(250_050 * archive.cost_s(of), rel=0.01)
    assert max(photographs[:-1]) > min(photographs[:-1]) > photographs[-1]
    assert sum(tables) == pytest.approx(250_050 * of["row_s"])
