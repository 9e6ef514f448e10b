"""One row for each photograph of an archive, answered or not; and tables of them as Parquet."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.errors import InvalidConfiguration
from service import table

Row = dict[str, str]  # by column; what is unknown is missing

MORE: dict[str, tuple[type, str]] = {
    "detail": (str, "What was wrong with the file, in words that may change."),
    "revision": (str, "Which content: an object's generation, or a file's size and time of change."),
    "bytes": (int, "Of the file."),
    "digest": (str, "SHA-256 of the file: the same one twice is the same photograph under two names."),
    "engine": (str, "What executed the networks."),
    "precision": (str, "In which they computed."),
    "read_ms": (float, "Until the file was here."),
    "decode_ms": (float, "Until it was pixels."),
    "locate_ms": (float, "Its share of the first network's call."),
    "segment_ms": (float, "And of the second one's."),
    "measure_ms": (float, "From probabilities to numbers."),
    "answered": (str, "When, in UTC."),
}
COLUMNS = {**table.COLUMNS, **MORE}
ANSWERED = tuple(name for name in COLUMNS if name not in ("error", "detail"))
NOT_ANSWERED = ("file", "error", "detail", "revision", "bytes", "digest", "version", "sha256", "answered")
# errors that lie in a file's content: to try again is in vain. Others pass, or end with a higher limit or more memory
LASTING = {"empty_photograph", "too_few_pixels", "unsupported_format", "unreadable_photograph", "invalid_photograph"}


def key(name: str) -> str:
    """A photograph's name as tables hold it: one that is not UTF-8 gets backslashes."""
    return name.encode("utf-8", "backslashreplace").decode()


def to_parquet(rows: Sequence[Mapping[str, str]], columns: Iterable[str] = COLUMNS) -> bytes:
    """With real types; what is unknown becomes null."""
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    types = {str: pyarrow.string(), bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
    values = {
        name: pyarrow.array([_value(row.get(name), COLUMNS[name][0]) for row in rows], types[COLUMNS[name][0]])
        for name in columns
    }
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(values), sink)
    return sink.getvalue()


def from_parquet(content: bytes) -> list[Row]:
    """The rows of such a table.

    Raises:
        InvalidConfiguration: it is none.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except pyarrow.ArrowException as error:
        raise InvalidConfiguration(f"not a table of ours: {error}") from error
    return [{name: _text(value) for name, value in row.items() if value is not None} for row in rows]


def newest(rows: Iterable[Row]) -> list[Row]:
    """One row for each photograph, the one that was answered last, in alphabetical order."""
    kept: dict[str, Row] = {}
    for row in rows:
        known = kept.get(row["file"])
        if known is None or row["answered"] >= known["answered"]:
            kept[row["file"]] = row
    return [kept[name] for name in sorted(kept)]


def still_true(revision: str, error: str, now: str) -> bool:
    """Whether a row of an earlier run need not be made anew.

    Args:
        revision: of the photograph when the row was made; "" if it was not known.
        error: the row's, or "".
        now: the photograph's revision today; "" if it is not known.
    """
    same = not now or not revision or revision == now
    return same and (not error or error in LASTING)


def _value(text: str | None, kind: type) -> Any:
    if text is None or (text == "" and kind is not str):
        return None
    if kind is bool:
        return text == "true"
    return text if kind is str else kind(text)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
