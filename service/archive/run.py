"""One run over an archive: look at what is wanted and what is there, let Beam work, tell what came of it."""

import datetime
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bucket import SCHEME
from model.errors import CupDiscError, InvalidConfiguration
from model.images import Limits
from service.archive import lists, places, plots, runners, turn
from service.archive.layout import DEAD, MADE_WITH, OURS, RESULTS, SEGMENTS, SUCCESS, SUMMARY, UNFINISHED
from service.archive.meanwhile import repeated
from service.archive.patterns import Pattern, pattern
from service.archive.pinned import Pinned
from service.archive.places import Folder, folder
from service.archive.tally import Tally
from service.settings import Settings

SHARDS = 16  # tables, if nobody says otherwise; each is put together in the memory of one worker
DELETED_AT_A_TIME = 16
LOOK_EVERY_S = 2.0  # at how far a run has come; ten times as seldom in a bucket


class Stopped(CupDiscError):
    """The run ended before all photographs were done; what is done stays done."""

    code = "run_stopped"


@dataclass(frozen=True)
class Wish:
    """What a person asks for."""

    patterns: Sequence[str]
    lists: Sequence[str]
    out: str
    runner: str
    workers: int  # processes of the runner on this machine
    options: Sequence[str]  # Beam's own
    masks: bool
    shards: int | None  # None: as before, or SHARDS
    overwrite: bool
    convention: str | None = None  # whose annotation to draw; None for the one that the version was published to draw


@dataclass(frozen=True)
class Outcome:
    """What came of it. `counters` are Beam's metrics of this run; `total` counts all that the folder holds."""

    total: Tally
    counters: dict[str, int]
    seconds: float

    @property
    def answered(self) -> int:
        """Photographs that the networks saw in this run."""
        return self.counters.get("gradable", 0) + self.counters.get("not_gradable", 0)

    @property
    def failed(self) -> int:
        """Dead letters of this run."""
        return sum(count for name, count in self.counters.items() if name.startswith("failed_"))


def run(wish: Wish, settings: Settings, progress: Callable[[int, float], None]) -> Outcome:
    """Do what is missing.

    Args:
        progress: told now and then how many photographs are done in this run, and after how many seconds.
    Raises:
        InvalidConfiguration: nothing fits a pattern; the folder holds something else, or results made otherwise; the
            runner or an option cannot be taken; Beam is not installed.
        Stopped: on the way; the same command goes on.
        VersionError, StorageError, CannotBeRead, CannotWrite: before anything was done.
    """
    runner = runners.checked(wish.runner, wish.options)
    limits = Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
    wanted = _wanted(wish)
    pinned = Pinned.of(settings, runners.threads(runner, wish.workers), wish.convention)
    at, own = folder(wish.out), uuid.uuid4().hex[:12]
    with turn.alone(wish.out, own):
        made_with = _agreed(at, wish, pinned)
        beam_pipeline = runners.pipeline(runner, wish.workers, wish.options)

        from service.archive.pipeline import Work, build

        if wish.overwrite:
            _delete(at, _ours(at))
        if at.read(MADE_WITH) is None:
            at.write(MADE_WITH, json.dumps(made_with, indent=1).encode(), "application/json")
        at.delete(SUCCESS)
        known = [
            name for place in (RESULTS, DEAD, SEGMENTS) for name in at.names(f"{place}/") if name.endswith(".parquet")
        ]
        decoding = (settings.decode_memory_bytes, settings.decode_timeout_s)
        work = Work(wanted, known, _absolute(wish.out), own, pinned, limits, *decoding, wish.masks, made_with["shards"])
        began = time.monotonic()
        build(beam_pipeline, work)
        try:
            with _watched(at, f"{SEGMENTS}/{own}", wish.out, progress):
                result = beam_pipeline.run()
                state = result.wait_until_finish()
        except Exception as error:  # whatever a runner raises
            raise Stopped(runners.cause(error)) from error
        if state not in (None, "DONE"):
            raise Stopped(f"the runner says {state}")
        counters, seconds = _counters(result), time.monotonic() - began
        outcome = Outcome(_summarised(at, work, counters, seconds), counters, seconds)
        _measured(at, outcome, _distributions(result))
        at.write(SUCCESS, b"", "text/plain")
        # not only those that we knew of: a worker of a broken run may have kept some since
        _delete(at, at.names(f"{SEGMENTS}/"))
    return outcome


def _wanted(wish: Wish) -> list[Pattern | str]:
    wanted: list[Pattern | str] = []
    for text in wish.patterns:
        each = pattern(text)
        if next(places.listed(each, _absolute(wish.out)), None) is None:
            raise InvalidConfiguration(f"no photograph fits {text}")
        wanted.append(each)
    for location in wish.lists:
        if next(lists.listed(location), None) is None:
            raise InvalidConfiguration(f"{location} names no photograph")
        wanted.append(location if location.startswith(SCHEME) else _absolute(location))
    if not wanted:
        raise InvalidConfiguration("neither a pattern nor a list of photographs was given")
    return wanted


def _agreed(at: Folder, wish: Wish, pinned: Pinned) -> dict[str, Any]:
    """What all rows will have in common, where results may go there. Nothing is written or removed yet."""
    there = None if wish.overwrite else at.read(MADE_WITH)
    if there is None:
        ours = set(_ours(at)) if wish.overwrite else set()
        foreign = [name for name in at.names() if name not in ours and not name.startswith(f"{UNFINISHED}/")]
        if foreign:
            raise InvalidConfiguration(f"{wish.out} is not empty and holds no results of ours: {foreign[0]} …")
    before = json.loads(there) if there is not None else {}
    now = {
        "format": 2,
        "version": pinned.version,
        "sha256": pinned.digest,
        "engine": pinned.engine,
        "precision": pinned.precision,
        "convention": pinned.convention,
        "masks": wish.masks,
        "shards": wish.shards or before.get("shards", SHARDS),
    }
    differing = [f"{name} {before.get(name)}, now {value}" for name, value in now.items() if before.get(name) != value]
    if before and before.get("format") != now["format"]:
        raise InvalidConfiguration(
            f"{wish.out} holds results of another release of CupDisc, with other columns: "
            "take another folder, or begin anew with --overwrite"
        )
    if before and differing:
        raise InvalidConfiguration(
            f"{wish.out} holds results made with {'; '.join(differing)}: "
            "go on with the same options, take another folder, or begin anew with --overwrite"
        )
    return now


def _ours(at: Folder) -> list[str]:
    return [MADE_WITH, SUCCESS, *(name for place in OURS for name in at.names(f"{place}/"))]


def _delete(at: Folder, names: Sequence[str]) -> None:
    with ThreadPoolExecutor(DELETED_AT_A_TIME) as threads:
        for _ in threads.map(at.delete, names):
            pass


def _summarised(at: Folder, work: Any, counters: dict[str, int], seconds: float) -> Tally:
    """Draw what was counted; returns all of it together."""
    told = json.loads(at.read(f"{SUMMARY}/counts.json") or b"{}")
    total = Tally.from_dict(told["all"])
    folders = [(name, Tally.from_dict(values)) for name, values in told["folders"].items()]
    worked_on = counters.get("gradable", 0) + counters.get("not_gradable", 0)
    facts = {
        "version": f"{work.pinned.version}, {work.pinned.digest[:12]}",
        "convention": work.pinned.convention or "none: by looks",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "answered in this run": worked_on,
        "done before": counters.get("done_before", 0),
        "seconds": f"{seconds:.1f}",
        "photographs per second": f"{worked_on / seconds:.2f}",
    }
    drawn = {
        "ratios": plots.ratios(total, folders),
        "reasons": plots.reasons(total, folders),
        "drift": plots.drift(total, folders, work.pinned.farthest),
    }
    for name, content in drawn.items():
        at.write(f"{SUMMARY}/{name}.png", content, "image/png")
    page = plots.page(total, folders, told["more_folders"], facts)
    at.write(f"{SUMMARY}/summary.md", page.encode(), "text/markdown")
    return total


def _measured(at: Folder, outcome: Outcome, distributions: dict[str, dict[str, float]]) -> None:
    told = {
        "counters": outcome.counters,
        "distributions": distributions,
        "seconds": round(outcome.seconds, 2),
        "photographs_per_s": round(outcome.answered / outcome.seconds, 3),
    }
    at.write(f"{SUMMARY}/metrics.json", json.dumps(told, indent=1, sort_keys=True).encode(), "application/json")


def _counters(result: Any) -> dict[str, int]:
    """Beam's counters of this run that are ours."""
    found: Counter[str] = Counter()
    for each in result.metrics().query()["counters"]:
        if each.key.metric.namespace == "cupdisc":
            found[each.key.metric.name] += each.result or 0
    return dict(found)


def _distributions(result: Any) -> dict[str, dict[str, float]]:
    """What Beam's distributions of this run say, of our steps and of the networks."""
    return {
        each.key.metric.name: {name: getattr(each.result, name) for name in ("count", "min", "mean", "max", "sum")}
        for each in result.metrics().query()["distributions"]
        if each.key.metric.namespace.startswith("cupdisc") and each.result and each.result.count
    }


@contextmanager
def _watched(at: Folder, segments: str, out: str, progress: Callable[[int, float], None]) -> Iterator[None]:
    """How far the run has come, read from what it keeps: so it is known of every runner."""
    began = time.monotonic()

    def look() -> None:
        with suppress(CupDiscError):  # the next look may succeed
            names = at.names(segments)
            done = sum(int(name.removesuffix(".parquet").rpartition("-")[2]) for name in names)
            progress(done, time.monotonic() - began)

    with repeated(look, LOOK_EVERY_S * (10 if out.startswith(SCHEME) else 1)):
        yield


def _absolute(location: str) -> str:
    return location if location.startswith(SCHEME) else str(Path(location).absolute())
