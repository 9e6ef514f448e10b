"""The steps of the pipeline: each takes one photograph on its way a little further. Beam calls them."""

import datetime
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import PredictionResult
from apache_beam.pvalue import TaggedOutput

from model.errors import BucketNotFound, CupDiscError, StorageUnavailable
from model.images import Limits
from model.masks import Label
from service import rendering, table
from service.archive import lists, places, rows
from service.archive.handler import Answered, Taken
from service.archive.layout import DEAD, MASKS, RESULTS, SEGMENTS, SUMMARY, pictures_name
from service.archive.patterns import Pattern
from service.archive.pinned import Pinned
from service.archive.places import Found
from service.archive.rows import Row
from service.archive.tally import Tally, folder_of
from service.decoding import Decoders
from service.worker import FILE_ERRORS

NAMESPACE = "cupdisc"  # of the metrics
FAILED = "failed"  # the tag of what could not be used
FIRST_KEPT_S, KEPT_EVERY_S = 1.0, 60.0  # of work that a kill can cost each worker, doubling from first to last
ROWS_KEPT_TOGETHER = 10_000  # at most, however fast they come
FOLDERS_TOLD = 200  # in the summary, the largest ones


class Listed(beam.DoFn):
    """A pattern → its photographs."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, element: Pattern | str) -> Iterator[tuple[str, Found]]:
        found = places.listed(element, self._out) if isinstance(element, Pattern) else lists.listed(element)
        for each in found:
            Metrics.counter(NAMESPACE, "listed").inc()
            yield rows.key(each.name), each


class Known(beam.DoFn):
    """The name of a table of an earlier run → its rows."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, element: str) -> Iterator[Row]:
        content = places.folder(self._out).read(element)
        if content is not None:
            yield from rows.from_parquet(content)


class Missing(beam.DoFn):
    """A name with all that is known of it → the photograph once, if it has to be worked on."""

    def process(self, element: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Found]:
        _, both = element
        found = list(both["found"])
        if not found:
            return
        if len(found) > 1:
            Metrics.counter(NAMESPACE, "named_again").inc(len(found) - 1)
        photograph = max(found, key=lambda one: one.revision)  # a listing knows more than a list
        if any(rows.still_true(revision, error, photograph.revision) for revision, error in both["done"]):
            Metrics.counter(NAMESPACE, "done_before").inc()
            return
        yield photograph


class Read(beam.DoFn):
    """A photograph → its pixels. What is no photograph is a dead letter; where storage is away, the run stops."""

    def __init__(self, pinned: Pinned, limits: Limits, memory_bytes: int, timeout_s: float) -> None:
        self._pinned, self._limits = pinned, limits
        self._memory_bytes, self._timeout_s = memory_bytes, timeout_s
        self._decoders: Decoders | None = None

    def setup(self) -> None:
        self._decoders = Decoders(1, self._memory_bytes, self._timeout_s)

    def teardown(self) -> None:
        if self._decoders is not None:
            self._decoders.close()

    def process(self, element: Found) -> Iterator[Taken | TaggedOutput]:
        data, digest = b"", ""
        try:
            began = time.perf_counter()
            if not element.revision:
                element = places.look(element.name)
            data = places.fetch(element, self._limits.max_bytes)
            read = time.perf_counter()
            digest = hashlib.sha256(data).hexdigest()
            assert self._decoders is not None  # noqa: S101 - set up before
            decoded = self._decoders.decode(data, self._limits, self._pinned.smallest_side)
            timings = {"read": (read - began) * 1000, "decode": (time.perf_counter() - read) * 1000}
        except (StorageUnavailable, BucketNotFound):
            raise  # every other photograph would meet it too
        except FILE_ERRORS as error:
            yield TaggedOutput(FAILED, _dead(element, error, self._pinned, len(data), digest))
        else:
            Metrics.distribution(NAMESPACE, "bytes").update(len(data))
            yield Taken(element, data, digest, decoded, timings)


class Measured(beam.DoFn):
    """An answer → its row. Masks are written before, where they are asked for, so that a row promises nothing."""

    def __init__(self, out: str, pinned: Pinned, masks: bool) -> None:
        self._out, self._pinned, self._masks = out, pinned, masks

    def process(self, element: PredictionResult) -> Iterator[Row | TaggedOutput]:
        taken: Taken = element.example
        answered: Answered = element.inference
        found, error = answered.segmentation, answered.error
        if found is None:
            assert isinstance(error, FILE_ERRORS)  # noqa: S101 - the handler lets nothing else by
            yield TaggedOutput(FAILED, _dead(taken.found, error, self._pinned, len(taken.data), taken.digest))
            return
        name = rows.key(taken.found.name)
        row = {
            "file": name,
            **table.row_here(found, self._pinned),
            "revision": taken.found.revision,
            "bytes": str(len(taken.data)),
            "digest": taken.digest,
            "engine": answered.engine,
            "precision": answered.precision,
            **{f"{stage}_ms": f"{ms:.2f}" for stage, ms in {**taken.timings_ms, **found.timings_ms}.items()},
            "answered": _now(),
        }
        row = {column: value for column, value in row.items() if column in rows.COLUMNS}
        if self._masks:
            row["output"] = f"{MASKS}/{pictures_name(name)}"
            folder, shown = places.folder(self._out), found.shown
            if found.disc:
                disc = rendering.mask_png(shown.having(np.greater_equal(shown.values, Label.RIM)))
                folder.write(f"{row['output']}.disc.png", disc, "image/png")
            if found.cup:
                cup = rendering.mask_png(shown.having(np.equal(shown.values, Label.CUP)))
                folder.write(f"{row['output']}.cup.png", cup, "image/png")
        Metrics.counter(NAMESPACE, "gradable" if found.gradable else "not_gradable").inc()
        for reason in found.reasons:
            Metrics.counter(NAMESPACE, f"reason_{reason}").inc()
        for stage in ("read", "decode"):
            Metrics.distribution(NAMESPACE, f"{stage}_us").update(round(taken.timings_ms[stage] * 1000))
        yield row


class Kept(beam.DoFn):
    """Rows as they are; on the way they are written down, so that a run that is killed has not worked in vain.

    Args:
        run: of this run alone; the segments' names begin with it and end with the number of their rows.
    """

    def __init__(self, out: str, run: str) -> None:
        self._out, self._run = out, run
        self._waiting: list[Row] = []
        self._since = self._patience_s = 0.0

    def start_bundle(self) -> None:
        self._waiting = []
        self._since, self._patience_s = time.monotonic(), FIRST_KEPT_S

    def process(self, element: Row) -> Iterator[Row]:
        self._waiting.append(element)
        if len(self._waiting) >= ROWS_KEPT_TOGETHER or time.monotonic() - self._since >= self._patience_s:
            self._write()
            self._since, self._patience_s = time.monotonic(), min(KEPT_EVERY_S, 2 * self._patience_s)
        yield element

    def finish_bundle(self) -> None:
        self._write()

    def _write(self) -> None:
        if self._waiting:
            name = f"{SEGMENTS}/{self._run}-{uuid.uuid4().hex[:12]}-{len(self._waiting)}.parquet"
            places.folder(self._out).write(name, rows.to_parquet(self._waiting))
            self._waiting = []


class Written(beam.DoFn):
    """All rows of one shard → its tables, of answers and of dead letters; and each row once, for the summary.

    A row belongs to the same shard in every run, and a shard is replaced as a whole: nothing is ever there twice.
    """

    def __init__(self, out: str, shards: int) -> None:
        self._out, self._shards = out, shards

    def process(self, element: tuple[int, Iterable[Row]]) -> Iterator[tuple[str, Row]]:
        number, all_rows = element
        kept = rows.newest(all_rows)
        name = f"part-{number:05}-of-{self._shards:05}.parquet"
        answered = [row for row in kept if not row.get("error")]
        dead = [row for row in kept if row.get("error")]
        folder = places.folder(self._out)
        for place, its, columns in ((RESULTS, answered, rows.ANSWERED), (DEAD, dead, rows.NOT_ANSWERED)):
            if its:
                folder.write(f"{place}/{name}", rows.to_parquet(its, columns))
            else:
                folder.delete(f"{place}/{name}")  # what could not be used once may have been mended
        for row in kept:
            yield folder_of(row["file"]), row


class Tallied(beam.CombineFn):
    """Rows → their `Tally`."""

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, accumulator: Tally, row: Row) -> Tally:
        return accumulator.add(row)

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        whole = Tally()
        for one in accumulators:
            whole.merge(one)
        return whole

    def extract_output(self, accumulator: Tally) -> Tally:
        return accumulator


class Summed(beam.DoFn):
    """The largest folders with their tallies, beside all of them together → one file of JSON."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, element: Tally, largest: list[tuple[str, Tally]], folders: int) -> None:
        told = {
            "all": element.as_dict(),
            "folders": {name: tally.as_dict() for name, tally in largest},
            "more_folders": folders - len(largest),
        }
        content = json.dumps(told, indent=1).encode()
        places.folder(self._out).write(f"{SUMMARY}/counts.json", content, "application/json")


def shard_of(row: Row, shards: int) -> int:
    """The same one in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(row["file"].encode()).digest()[:8], "big") % shards


def _dead(found: Found, error: Exception, pinned: Pinned, size: int, digest: str) -> Row:
    match error:
        case CupDiscError():
            code, detail = error.code, str(error)
        case OSError():
            code, detail = "cannot_be_read", error.strerror or str(error)
        case _:
            code, detail = "out_of_memory", "there is not enough memory for it"
    Metrics.counter(NAMESPACE, f"failed_{code}").inc()
    return {
        "file": rows.key(found.name),
        "error": code,
        "detail": rows.key(detail),
        "revision": found.revision,
        "bytes": str(size or found.size),
        "digest": digest,
        "version": pinned.version,
        "sha256": pinned.digest,
        "answered": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
