"""The candidate too sees what production has answered; what differs becomes metrics, and no client sees it."""

import logging
import threading

import numpy as np

from model.images import Decoded
from model.masks import Label
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service.observability import Metrics

logger = logging.getLogger("cupdisc")


class Shadow:
    """Compares one photograph at a time, on a thread of its own. To be closed.

    While one is compared others are passed over: answering goes first, and no photograph waits in memory for this.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._free = threading.Semaphore(1)
        self._closed = False

    def compare(
        self, photograph: Decoded, answered: Segmentation, version: str, candidate: Segmenter, caller: str = ""
    ) -> None:
        """Segment a photograph with the candidate too, and count how it differs. Returns at once.

        Args:
            caller: as `Metrics.comparison`.
        """
        if self._closed or not self._free.acquire(blocking=False):
            self._pass_over(candidate)
            return
        work = (photograph, answered, version, candidate, caller)
        try:
            threading.Thread(target=self._compare, args=work, name="shadow", daemon=True).start()
        except (RuntimeError, MemoryError):  # the system has no thread left; the answer is there, and goes first
            self._free.release()
            self._pass_over(candidate)

    def close(self) -> None:
        """Begin nothing more; wait for what is under way."""
        self._closed = True
        if self._free.acquire(timeout=5.0):
            self._free.release()

    def _compare(
        self, photograph: Decoded, answered: Segmentation, version: str, candidate: Segmenter, caller: str
    ) -> None:
        try:
            (other,) = candidate.segment([photograph])
            if other.coarse:  # reduced for production's networks; what this one draws finer would look like its mistake
                self._pass_over(candidate)
                return
            difference = None
            if answered.drawn_ratios and other.drawn_ratios:
                difference = other.drawn_ratios.vertical - answered.drawn_ratios.vertical
            self._metrics.comparison(
                version,
                candidate.version,
                disc_dice=dice(answered.drawn >= Label.RIM, other.drawn >= Label.RIM),
                cup_dice=dice(answered.drawn == Label.CUP, other.drawn == Label.CUP),
                vcdr_difference=difference,
                caller=caller,
            )
            self._metrics.version_event("compared", candidate.version)
        except Exception as error:  # whatever it is, it is the candidate's trouble alone
            logger.warning("the candidate %s failed on a photograph: %s", candidate.version, type(error).__name__)
            self._metrics.version_event("failed", candidate.version)
        finally:
            self._free.release()

    def _pass_over(self, candidate: Segmenter) -> None:
        self._metrics.version_event("not_compared", candidate.version)


def dice(one: np.ndarray, other: np.ndarray) -> float | None:
    """Overlap of two (H, W) bool masks, in [0, 1]; None where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else None
