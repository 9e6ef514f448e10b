"""A finished run in its folder: written whole, read back and checked."""

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model.artefact import NETWORKS
from model.errors import InvalidConfiguration
from model.normalisation import Distribution
from training.config import preset_from_dict
from training.conventions import Shifts
from training.run import Trained
from training.sources.example import digest
from training.split import read_splits
from training.whole_file import whole_file

SHIFTS = "conventions.npz"  # what each convention adds to the segmenter's weights


def save_run(trained: Trained, out: Path) -> None:
    """Keep a finished run in its folder: both networks, what was learnt of conventions and, last of all, `run.json`.

    Raises:
        CannotWrite: e.g. no space left.
    """
    for name, network in (("locator", trained.locator), ("segmenter", trained.segmenter)):
        with whole_file(out / f"{name}.keras") as partial:
            network.save(partial)
    with whole_file(out / SHIFTS) as partial, partial.open("wb") as file:
        changed = {f"{name}/{i}": a for name, s in trained.shifts.items() for i, a in enumerate(s) if a.any()}
        np.savez(file, **changed)  # type: ignore[arg-type]
    facts = {
        "preset": trained.preset.as_dict(),
        "distribution": trained.distribution.as_dict(),
        "digests": trained.digests,
        "seconds": trained.seconds,
        "device": trained.device,
        "command": trained.command,
        "origin": trained.origin,
        "conventions": trained.conventions,
        "networks": {name: _sha256(out / f"{name}.keras") for name in NETWORKS},
    }
    with whole_file(out / "run.json") as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def run_facts(out: Path) -> tuple[dict[str, Any], str]:
    """What `run.json` of a finished run says, and its sha256. Raises InvalidConfiguration."""
    try:
        encoded = (out / "run.json").read_bytes()
        facts: dict[str, Any] = json.loads(encoded)
    except (OSError, ValueError) as error:
        raise InvalidConfiguration(f"{out}: holds no finished run: {error}") from error
    return facts, hashlib.sha256(encoded).hexdigest()


def load_networks(out: Path, facts: dict[str, Any]) -> list[keras.Model]:
    """Locator and segmenter of a finished run.

    Raises:
        InvalidConfiguration: they are missing, or are not those of `run.json`.
    """
    try:
        changed = [
            name for name, sha256 in facts.get("networks", {}).items() if _sha256(out / f"{name}.keras") != sha256
        ]
        if changed:
            raise InvalidConfiguration(f"{out}: not what run.json tells of: {', '.join(changed)}; train once more")
        return [keras.models.load_model(out / f"{name}.keras", compile=False) for name in NETWORKS]
    except (OSError, ValueError) as error:
        raise InvalidConfiguration(f"{out}: holds no finished run: {error}") from error


def load_run(out: Path, data: Path) -> Trained:
    """The inverse of `save_run`; the photographs are looked up again, for the held-out ones.

    Raises:
        InvalidConfiguration: no finished run, or the photographs are not those that it was trained on.
    """
    facts, _ = run_facts(out)
    locator, segmenter = load_networks(out, facts)
    preset = preset_from_dict(facts["preset"])
    splits = read_splits(preset, data)
    digests = {name: digest([*split.training, *split.held_out]) for name, split in splits.items()}
    if digests != facts["digests"]:
        changed = sorted(name for name in digests if digests[name] != facts["digests"].get(name))
        raise InvalidConfiguration(f"{data}: not what {out} was trained on: {', '.join(changed)} changed")
    return Trained(
        preset,
        locator,
        segmenter,
        Distribution.from_dict(facts["distribution"]),
        splits,
        digests,
        facts["seconds"],
        facts.get("device", ""),
        facts.get("command", ""),
        facts.get("origin", {}),
        facts.get("conventions", {}),
        _load_shifts(out, facts.get("conventions", {}), segmenter),
    )


def _load_shifts(out: Path, conventions: dict[str, Any], segmenter: keras.Model) -> Shifts:
    if not conventions:
        return {}
    try:
        with np.load(out / SHIFTS, allow_pickle=False) as found:
            return {
                name: [
                    found[f"{name}/{i}"] if f"{name}/{i}" in found else np.zeros_like(weight)
                    for i, weight in enumerate(segmenter.get_weights())
                ]
                for name in conventions
            }
    except (OSError, ValueError) as error:
        raise InvalidConfiguration(f"{out}: holds no finished run: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
