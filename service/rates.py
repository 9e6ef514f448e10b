"""How much one caller may ask for in a time, counted in windows that slide."""

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.problems import RateExceeded, RateTooSmall


class Rates:
    """What all callers have asked for lately, in this process."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.limiter = SlidingWindowCounterRateLimiter(self.storage)

    def of(self, limit: RateLimitItem | None, *whose: str) -> "Allowance":
        """What one of them may ask for; None where there is no limit."""
        return Allowance(self, limit, whose)


class Allowance:
    """Of one caller, for one request. Its headers tell how much is left, and who is refused when to go on."""

    def __init__(self, rates: Rates, limit: RateLimitItem | None, whose: tuple[str, ...]) -> None:
        self._rates, self._limit, self._whose = rates, limit, whose
        self.headers: dict[str, str] = {}

    def begin(self, message: str = "") -> None:
        """Count the request, as one.

        Args:
            message: to refuse it with.
        Raises:
            RateExceeded: it is too much.
        """
        if self._limit is None:
            return
        allowed = self._rates.limiter.hit(self._limit, *self._whose)
        self._tell(self._limit)
        if not allowed:
            self.headers["Retry-After"] = self.headers["RateLimit-Reset"]
            raise RateExceeded(message or f"more than {self._limit.amount} requests per {_span(self._limit)}")

    def grow(self, photographs: int) -> None:
        """Count the request, which has begun, as so many. One that is refused has counted as one.

        Raises:
            RateExceeded: it is too much now; after the time told, all of it fits if nothing else has been asked for.
            RateTooSmall: it will always be too much.
        """
        limit = self._limit
        if limit is None or photographs <= 1:
            return
        if photographs > limit.amount:
            raise RateTooSmall(
                f"{photographs} in one request, and the rate is {limit.amount} per {_span(limit)}:"
                f" send {limit.amount} at most"
            )
        allowed = self._rates.limiter.hit(limit, *self._whose, cost=photographs - 1)
        self._tell(limit)
        if not allowed:
            self.headers["Retry-After"] = str(self._seconds_until(limit, photographs))
            left = self.headers["RateLimit-Remaining"]
            raise RateExceeded(
                f"{photographs} in one request, of {limit.amount} per {_span(limit)}; left beside this one: {left}"
            )

    def _tell(self, limit: RateLimitItem) -> None:
        stats = self._rates.limiter.get_window_stats(limit, *self._whose)
        self.headers |= {
            "RateLimit-Policy": f"{limit.amount};w={limit.get_expiry()}",
            "RateLimit-Limit": str(limit.amount),
            "RateLimit-Remaining": str(stats.remaining),
            "RateLimit-Reset": str(max(1, math.ceil(stats.reset_time - time.time()))),
        }

    def _seconds_until(self, limit: RateLimitItem, cost: int) -> int:
        """Until so much fits. RateLimit-Reset only tells when there is any more.

        What counts is all of this window, and of the one before the share that still lies within the window's length.
        """
        length = limit.get_expiry()
        before, _, now, lasts = self._rates.storage.get_sliding_window(limit.key_for(*self._whose), length)
        left, room = lasts - length, limit.amount - cost + 1  # s of this window; what counts has to be below the room
        if now < room:
            wait = left - length * (room - now) / before if before else 0.0
        else:
            wait = left + length * (1 - room / now)
        return math.ceil(max(0.0, wait)) + 1  # at that very moment it does not fit yet


def _span(limit: RateLimitItem) -> str:
    return f"{limit.multiples} {limit.GRANULARITY.name}"
