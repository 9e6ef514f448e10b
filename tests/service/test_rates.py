"""What a caller may ask for, and when it may go on; by a clock that the test sets."""

import time
from collections.abc import Callable

import pytest
from limits import parse

from service.problems import RateExceeded, RateTooSmall
from service.rates import Allowance, Rates

MIDNIGHT = 1_798_761_600.0  # a window of any length begins here
SetClock = Callable[[float], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set everybody's clock to so many seconds after midnight."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: MIDNIGHT + seconds)

    set_clock(0)
    return set_clock


def ask(rates: Rates, photographs: int) -> Allowance:
    allowance = rates.of(parse("10/minute"), "clinic")
    allowance.begin()
    allowance.grow(photographs)
    return allowance


def test_a_request_counts_as_many_as_it_brings(at: SetClock) -> None:
    rates = Rates()
    assert [ask(rates, number).headers["RateLimit-Remaining"] for number in (1, 8, 1)] == ["9", "1", "0"]
    with pytest.raises(RateExceeded, match="10 requests per 1 minute"):
        ask(rates, 1)


@pytest.mark.parametrize(
    ("before", "asked_at", "photographs", "wait"),
    [
        (4, 30, 8, 55),  # at 85 s, 5 of the window before weigh 5 × 35 / 60, below 3
        (9, 66, 4, 15),  # at 81 s, 9 of it weigh 9 × 39 / 60, and with the 1 of this window below 7
        (1, 30, 10, 61),  # at 91 s, 2 of it weigh 2 × 29 / 60, below 1
    ],
)
def test_after_the_time_told_all_of_a_request_fits(
    at: SetClock, before: int, asked_at: int, photographs: int, wait: int
) -> None:
    rates = Rates()
    ask(rates, before)
    at(asked_at)
    allowance = rates.of(parse("10/minute"), "clinic")
    allowance.begin()
    with pytest.raises(RateExceeded, match=f"{photographs} in one request"):
        allowance.grow(photographs)
    assert allowance.headers["Retry-After"] == str(wait)
    at(asked_at + wait)
    ask(rates, photographs)


def test_what_is_refused_has_counted_as_one(at: SetClock) -> None:
    rates = Rates()
    ask(rates, 7)
    with pytest.raises(RateExceeded, match="left beside this one: 2"):
        ask(rates, 4)
    assert ask(rates, 2).headers["RateLimit-Remaining"] == "0"


def test_more_than_the_rate_ever_allows_is_not_told_to_wait(at: SetClock) -> None:
    allowance = Rates().of(parse("10/minute"), "clinic")
    allowance.begin()
    with pytest.raises(RateTooSmall, match="send 10 at most"):
        allowance.grow(11)
    assert "Retry-After" not in allowance.headers


def test_without_a_rate_nothing_is_counted() -> None:
    allowance = Rates().of(None, "clinic")
    allowance.begin()
    allowance.grow(8)
    assert allowance.headers == {}
