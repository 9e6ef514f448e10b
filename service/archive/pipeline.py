"""The whole way of an archive, as a graph that Beam runs on one machine or on many.

    patterns, lists ─ Listed ─┐
                              ├─ Missing ─ Read ─ RunInference ─ Measured ─ Kept ─┐
    earlier runs ─ Known ─────┴──────────────────────────────────────────────────┴─ by shard ─ Written ─ summary

`Kept` writes rows down while the run lasts, for the next run; nothing else reads them. What counts is `Written`: there
Beam has brought together each row exactly once, however often a worker had to begin anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

from model.images import Limits
from service.archive.handler import DiscCupHandler
from service.archive.patterns import Pattern
from service.archive.pinned import Pinned
from service.archive.rows import Row
from service.archive.steps import (
    FAILED,
    FOLDERS_TOLD,
    Kept,
    Known,
    Listed,
    Measured,
    Missing,
    Read,
    Summed,
    Tallied,
    Written,
    shard_of,
)


@dataclass(frozen=True)
class Work:
    """What one run does."""

    wanted: Sequence[Pattern | str]  # patterns, and places of lists
    known: Sequence[str]  # tables of earlier runs, relative to the folder of results
    out: str
    run: str  # its own name
    pinned: Pinned
    limits: Limits
    decode_memory_bytes: int
    decode_timeout_s: float
    masks: bool
    shards: int


def build(root: Any, work: Work) -> None:
    """Put the graph of a run into a Beam pipeline."""
    found = root | "Wanted" >> beam.Create(work.wanted) | "Spread" >> beam.Reshuffle() | beam.ParDo(Listed(work.out))
    known = root | "Tables" >> beam.Create(work.known) | "SpreadTables" >> beam.Reshuffle()
    earlier = known | beam.ParDo(Known(work.out)).with_output_types(Row)
    done = earlier | "Done" >> beam.Map(_state).with_output_types(tuple[str, tuple[str, str]])
    missing = {"found": found, "done": done} | beam.CoGroupByKey() | beam.ParDo(Missing())
    taken = (
        missing
        | "SpreadPhotographs" >> beam.Reshuffle()
        | beam.ParDo(Read(work.pinned, work.limits, work.decode_memory_bytes, work.decode_timeout_s)).with_outputs(
            FAILED, main="photographs"
        )
    )
    answers = taken.photographs | RunInference(DiscCupHandler(work.pinned, work.limits))
    measured = answers | beam.ParDo(Measured(work.out, work.pinned, work.masks)).with_outputs(FAILED, main="rows")
    # each by itself: flattened first, they would be kept only when all of them are there
    kept = [
        rows | f"Keep{name}" >> beam.ParDo(Kept(work.out, work.run)).with_output_types(Row)
        for name, rows in (("Rows", measured.rows), ("Unread", taken[FAILED]), ("Unanswered", measured[FAILED]))
    ]
    sharded = (*kept, earlier) | beam.Flatten() | beam.Map(_sharded, work.shards).with_output_types(tuple[int, Row])
    counted = (
        sharded | beam.GroupByKey() | beam.ParDo(Written(work.out, work.shards)).with_output_types(tuple[str, Row])
    )
    folders = counted | beam.CombinePerKey(Tallied())
    largest = folders | beam.combiners.Top.Of(FOLDERS_TOLD, key=_photographs)
    number = folders | beam.combiners.Count.Globally()
    total = counted | beam.Values() | beam.CombineGlobally(Tallied())
    _ = total | beam.ParDo(Summed(work.out), beam.pvalue.AsSingleton(largest), beam.pvalue.AsSingleton(number))


def _state(row: Row) -> tuple[str, tuple[str, str]]:
    return row["file"], (row.get("revision", ""), row.get("error", ""))


def _sharded(row: Row, shards: int) -> tuple[int, Row]:
    return shard_of(row, shards), row


def _photographs(folder: tuple[str, Any]) -> int:
    count: int = folder[1].photographs
    return count
