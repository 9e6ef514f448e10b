"""Which form of the answer a client wants: the header `Accept` (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Iterable, Sequence

from service.problems import NotAcceptable

_RANGE = re.compile(r"\s*([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)\s*(;.*)?", re.ASCII | re.DOTALL)
_QUALITY = re.compile(r";\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.ASCII | re.IGNORECASE)


def choose(accept: Iterable[str], offered: Sequence[str]) -> str:
    """The media type of `offered` that the client likes best; the first of equals.

    Args:
        accept: the values of all `Accept` headers; what is malformed in them counts as not written.
        offered: media types in lower case, the default first.
    Raises:
        NotAcceptable: the client excludes all of them.
    """
    wanted = dict(parsed for part in ",".join(accept).split(",") if (parsed := _parse(part)))
    if not wanted:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, wanted))
    if _quality(best, wanted) == 0:
        raise NotAcceptable(f"the answer can be {' or '.join(offered)}")
    return best


def _parse(part: str) -> tuple[str, float] | None:
    found = _RANGE.fullmatch(part)
    if not found:
        return None
    parameters = found[3] or ""
    quality = _QUALITY.search(parameters)
    if not quality and re.search(r";\s*q\s*=", parameters, re.IGNORECASE):
        return None
    return f"{found[1]}/{found[2]}".lower(), float(quality[1]) if quality else 1.0


def _quality(media_type: str, wanted: dict[str, float]) -> float:
    """The most specific range decides."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((wanted[one] for one in ranges if one in wanted), 0.0)
