"""Lists of photographs: CSV with a column `file`, on disk or in a bucket."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from model.bucket import SCHEME
from model.errors import InvalidConfiguration
from service.archive.places import CannotBeRead, Found, fetch, look, named

COLUMN = "file"
LARGEST_BYTES = 2**30  # of one list; a longer one is split into several


def listed(location: str) -> Iterator[Found]:
    """The photographs that a list names; paths in it are relative to the list. A name twice is given twice.

    Raises:
        InvalidConfiguration: no CSV in UTF-8 with that column, or a line without a name.
        TooManyBytes, CannotBeRead, StorageError.
    """
    whole = location if location.startswith(SCHEME) else str(Path(location).absolute())
    try:
        text = fetch(look(whole), LARGEST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidConfiguration(f"{location}: not UTF-8") from None
    except CannotBeRead:
        raise
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if COLUMN not in (reader.fieldnames or ()):
        raise InvalidConfiguration(f"{location}: its first line names no column {COLUMN!r}")
    for row in reader:
        name = (row[COLUMN] or "").strip()
        if not name:
            raise InvalidConfiguration(f"{location}, line {reader.line_num}: no file is named")
        yield named(_absolute(name, whole))


def _absolute(name: str, listing: str) -> str:
    if name.startswith((SCHEME, "/")):
        return name
    return f"{listing.rpartition('/')[0]}/{name}"
