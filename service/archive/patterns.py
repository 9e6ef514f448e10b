"""Which files and objects a pattern means: `*` and `?` inside a folder's name, `**` across folders, `[…]`.

The same on disk and in a bucket. Nothing is listed here.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from model.bucket import SCHEME, split
from service.files import SUFFIXES

MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Pattern:
    """What is looked for.

    Attributes:
        text: as it was given, absolute.
        beginning: what every name begins with, up to the last `/` before the first `*`, `?` or `[`.
        expression: what the whole name must fit.
        whole_folder: it ends with `**` or names a folder: photographs alone, told by their suffix; nothing hidden.
    """

    text: str
    beginning: str
    expression: str
    whole_folder: bool

    def fits(self, name: str) -> bool:
        """Whether a file or object of this name, absolute or gs://, is meant."""
        if re.fullmatch(self.expression, name, re.DOTALL) is None:
            return False
        if not self.whole_folder:
            return True
        below = name.removeprefix(self.beginning)
        return name.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in below.split("/"))


def pattern(text: str) -> Pattern:
    """The pattern that a person wrote: gs://bucket/…, a path with or without `*`, or a folder.

    Raises:
        InvalidConfiguration: gs:// and no bucket's name behind it.
    """
    if text.startswith(SCHEME):
        split(MAGIC.split(text)[0].removesuffix("/"))
        if text.endswith("/") or text.count("/") == 2:
            text = f"{text.removesuffix('/')}/**"
    else:
        literal = Path(text).exists()
        place = str(Path(text).absolute())
        if literal:  # a file's name may hold such characters
            found = re.escape(place)
            if not Path(text).is_dir():
                return Pattern(place, place, found, False)
            return Pattern(place, f"{place}/", f"{found}/.*", True)
        text = place
    magic = MAGIC.search(text)
    beginning = text[: text.rindex("/", 0, magic.start()) + 1] if magic else text
    return Pattern(text, beginning, _expression(text), text.endswith("/**"))


def _expression(text: str) -> str:
    parts, at = [], 0
    while at < len(text):
        if text.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            parts.append(".*")
            at += 2
        elif text[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif text[at] == "?":
            parts.append("[^/]")
            at += 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            parts.append(f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
            at = end + 1
        else:
            parts.append(re.escape(text[at]))
            at += 1
    return "".join(parts)
