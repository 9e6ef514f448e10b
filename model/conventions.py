"""Ways of annotating that a version learnt apart: whose outlines it can draw, and by which numbers they differ.

Experts of one source draw larger cups than those of another. A segmenter that learnt them apart has biases of its own
for each; its SavedModel draws by one of them, and a small file beside it holds those of the others.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from model.errors import CorruptVersion

FILE = "conventions.npz"
STANDING, THRESHOLDS = ".standing", "thresholds"  # no convention's name begins with a dot
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a source's or a group's, which is a folder's too

Biases = tuple[np.ndarray, ...]  # each (channels,) float32, in the order of the network's layers


@dataclass(frozen=True)
class Convention:
    """One way of annotating: the segmenter's biases, and the probabilities from which a pixel is disc and cup."""

    biases: Biases
    disc: float
    cup: float


@dataclass(frozen=True)
class Conventions:
    """Those of a version, by the name of the source, or group of sources, whose experts annotate so."""

    standing: Biases  # as they are in the SavedModel
    each: dict[str, Convention]

    @property
    def drawn(self) -> str | None:
        """The one that the SavedModel draws; None where it draws a mean of several."""
        for name, convention in self.each.items():
            if all(np.array_equal(*pair) for pair in zip(convention.biases, self.standing, strict=True)):
                return name
        return None


NONE = Conventions((), {})


def write(conventions: Conventions, version: Path) -> None:
    """Into a version's folder, before its manifest."""
    arrays = _numbered(STANDING, conventions.standing)
    for name, convention in conventions.each.items():
        arrays |= _numbered(name, convention.biases)
        arrays[f"{name}/{THRESHOLDS}"] = np.array([convention.disc, convention.cup])
    with (version / FILE).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read(version: Path) -> Conventions:
    """Of a version whose digests were checked; `NONE` where it learnt none apart.

    Raises:
        CorruptVersion: the file does not hold what `write` writes.
    """
    if not (version / FILE).is_file():
        return NONE
    try:
        with (version / FILE).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in file.files}
        names = sorted({key.partition("/")[0] for key in arrays} - {STANDING})
        standing = _biases(arrays, STANDING)
        each = {}
        for name in names:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name")
            disc, cup = (float(value) for value in arrays[f"{name}/{THRESHOLDS}"])
            each[name] = Convention(_biases(arrays, name), disc, cup)
            if [one.shape for one in each[name].biases] != [one.shape for one in standing]:
                raise ValueError(f"{name} has other layers")
    except (OSError, EOFError, BadZipFile, zlib.error, ValueError, KeyError, TypeError) as error:
        raise CorruptVersion(f"{FILE}: {error!r}") from error
    return Conventions(standing, each)


def found(values: Sequence[np.ndarray], biases: Biases) -> list[int]:
    """Where among a network's values each of the biases stands, in whatever shape.

    Raises:
        CorruptVersion: some stands nowhere, or twice.
    """
    places: dict[bytes, list[int]] = {}
    for number, value in enumerate(values):
        places.setdefault(np.asarray(value, np.float32).tobytes(), []).append(number)
    each = [places.get(np.asarray(bias, np.float32).tobytes(), []) for bias in biases]
    if not all(len(numbers) == 1 for numbers in each):
        raise CorruptVersion(f"{FILE}: not of this network")
    return [numbers[0] for numbers in each]


def _numbered(name: str, biases: Biases) -> dict[str, np.ndarray]:
    return {f"{name}/{number}": bias.astype(np.float32) for number, bias in enumerate(biases)}


def _biases(arrays: dict[str, np.ndarray], name: str) -> Biases:
    own = [key for key in arrays if key.startswith(f"{name}/") and key != f"{name}/{THRESHOLDS}"]
    return tuple(arrays[f"{name}/{number}"].astype(np.float32) for number in range(len(own)))
