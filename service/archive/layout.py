"""What lies where in the folder of an archive's results."""

import hashlib

from model.bucket import SCHEME

RESULTS = "results"  # tables of what was answered
DEAD = "failed"  # tables of what could not be used
MASKS = "masks"
SUMMARY = "summary"
UNFINISHED = ".unfinished"
SEGMENTS = f"{UNFINISHED}/segments"  # rows of a run that lasts, or was broken off
LOCK = f"{UNFINISHED}/lock"
MADE_WITH = "made_with.json"  # what all rows have in common; made first
SUCCESS = "_SUCCESS"  # made last, empty: all is there
OURS = (RESULTS, DEAD, SEGMENTS, MASKS, SUMMARY)
LONGEST_PART, LONGEST_NAME = (
    200,
    600,
)  # bytes; disks take 255 and 4096, buckets 1024, and something is put before and behind


def pictures_name(key: str) -> str:
    """Where a photograph's masks go: its whole name, so that no two photographs share one.

    What no disk would take is shortened, and then ends with a digest of what it was. Nothing leads out of the folder.

    Args:
        key: the photograph's name, as tables hold it.
    """
    name = key.removeprefix(SCHEME).lstrip("/")
    parts = [_short(part.replace(".", "%2E") if part in (".", "..") else part or "%") for part in name.split("/")]
    whole = "/".join(parts)
    if len(whole.encode()) <= LONGEST_NAME:
        return whole
    return f"{parts[0]}/{_digest(name)}/{parts[-1]}"


def _short(part: str) -> str:
    content = part.encode()
    if len(content) <= LONGEST_PART:
        return part
    return f"{content[:LONGEST_PART].decode(errors='ignore')}-{_digest(part)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
