"""The number of requests that keeps a container busy is not where noise happened to be high."""

import pytest

from benchmarks.concurrency import chosen
from benchmarks.load import Report, Sample


def rounds(*rates: int) -> list[Report]:
    """As many answers in one second."""
    return [Report(1, 1.0, [Sample(0.0, 0.1, "200", None)] * rate, 0.0) for rate in rates]


@pytest.mark.parametrize(
    ("rates", "busy"),
    [
        ({1: 100, 3: 150, 6: 200, 12: 202}, 6),
        ({1: 100, 3: 199, 6: 150, 12: 200}, 12),  # three were lucky: six fell below again
        ({1: 100, 3: 200, 6: 196, 12: 200}, 3),  # a ripple
    ],
)
def test_it_is_busy_from_where_more_requests_do_not_help(rates: dict[int, int], busy: int) -> None:
    wanted, rows = chosen({clients: rounds(rate - 9, rate, rate + 1) for clients, rate in rates.items()})
    assert wanted == {3: 5, 6: 10, 12: 20}[busy]
    assert rows.splitlines()[0].startswith("| 1 | 100.0 | 91.0 | 101.0 | 100.0 | 100 | 100 | 0")


def test_answers_that_were_none_are_counted() -> None:
    _, rows = chosen({1: [Report(1, 1.0, [Sample(0.0, 0.1, "200", None), Sample(0.0, 0.1, "422", None)], 0.0)]})
    assert rows.endswith("| 1 |")
