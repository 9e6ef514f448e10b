"""A training run's state on disk: written whole or not at all, refused by a run of another configuration."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import CupDiscError
from training.whole_file import whole_file

MOST_DIFFERENCES = 5  # that a refusal names


class InvalidCheckpoint(CupDiscError):
    """The checkpoint cannot be read, or belongs to another configuration, data or seed."""

    code = "invalid_checkpoint"


def save(path: Path, model: Any, step: int, seconds: float, facts: dict[str, Any]) -> None:
    """Every weight and every optimiser variable after `step` steps.

    Args:
        path: of one .npz file; replaced in one move.
        seconds: that training took so far.
        facts: whatever must be equal for the run to go on; JSON types.
    Raises:
        CannotWrite: e.g. no space left; the checkpoint that was there is as it was.
    """
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v.value) for i, v in enumerate(_variables(model))}
    header = json.dumps({"step": step, "seconds": seconds, "facts": facts})
    with whole_file(path) as partial:
        np.savez(partial, header=np.array(header), **arrays)


def load(path: Path, model: Any, facts: dict[str, Any]) -> tuple[int, float]:
    """Put a saved state back into a compiled and built model.

    Returns:
        The number of steps done, and the seconds that they took.
    Raises:
        InvalidCheckpoint: unreadable, or of other facts or another network; the message names what differs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = [file[f"v{i}"] for i in range(len(file.files) - 1)]
        there, step, seconds = header["facts"], int(header["step"]), float(header["seconds"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidCheckpoint(f"{path}: not a whole checkpoint of this code: {error}") from error
    variables = _variables(model)
    differences = list(_differences(there, json.loads(json.dumps(facts)), ""))
    if not differences and [tuple(a.shape) for a in arrays] != [tuple(v.shape) for v in variables]:
        differences = ["the network's weights have other shapes"]
    if differences:
        named = "; ".join(differences[:MOST_DIFFERENCES])
        more = f"; and {len(differences) - MOST_DIFFERENCES} more" if len(differences) > MOST_DIFFERENCES else ""
        raise InvalidCheckpoint(
            f"{path}: belongs to another configuration, data or seed: {named}{more}. Take another --out, or delete it "
            "to start anew"
        )
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return step, seconds


def _differences(there: Any, here: Any, where: str) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from _differences(there.get(key), here.get(key), f"{where}.{key}" if where else key)
    elif there != here:
        yield f"{where}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
