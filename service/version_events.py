"""What happened to versions: the last events for the administrator, each also counted and logged."""

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from service.observability import Metrics

EVENTS_KEPT = 50
EXPECTED = ("loaded", "swapped", "unloaded", "storage_available")  # nobody needs to be warned of them

logger = logging.getLogger("cupdisc")


@dataclass(frozen=True)
class Event:
    """Something that happened to a version."""

    time: str  # ISO 8601, UTC
    event: str  # loaded, swapped, rolled_back, refused, unloaded, ended
    version: str
    detail: str


class History:
    """The last events, the oldest first. Safe to add to from several threads."""

    def __init__(self, metrics: Metrics) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._metrics = metrics

    def add(self, event: str, version: str, detail: str) -> None:
        """Something has happened now."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.events.append(Event(now, event, version, detail))
        self._metrics.version_event(event, version)
        level = logging.INFO if event in EXPECTED else logging.WARNING
        logger.log(level, "version %s %s: %s", version, event, detail)
