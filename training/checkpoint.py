"""A training run's state on disk: written whole or not at all, refused by a run of another configuration."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import CupDiscError


class InvalidCheckpoint(CupDiscError):
    """The checkpoint cannot be read, or belongs to another configuration, data or seed."""

    code = "invalid_checkpoint"


def save(path: Path, model: Any, step: int, fingerprint: str) -> None:
    """Every weight and every optimiser variable after `step` steps.

    Args:
        path: of one .npz file; replaced in one move.
        fingerprint: whatever must be equal for the run to go on.
    """
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v.value) for i, v in enumerate(_variables(model))}
    header = json.dumps({"step": step, "fingerprint": fingerprint})
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, header=np.array(header), **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path, model: Any, fingerprint: str) -> int:
    """Put a saved state back into a compiled and built model.

    Returns:
        The number of steps done.
    Raises:
        InvalidCheckpoint: unreadable, or of another fingerprint or network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = [file[f"v{i}"] for i in range(len(file.files) - 1)]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidCheckpoint(f"{path}: {error}") from error
    variables = _variables(model)
    same = len(arrays) == len(variables) and all(
        tuple(a.shape) == tuple(v.shape) for a, v in zip(arrays, variables, strict=True)
    )
    if header["fingerprint"] != fingerprint or not same:
        raise InvalidCheckpoint(
            f"{path}: belongs to another configuration, data or seed; take another --out, or delete it to start anew"
        )
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return int(header["step"])


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
