"""Versions for tests: a manifest with plausible numbers, and a folder whose networks are bytes that nothing can run."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from model import artefact
from model.artefact import Artefact, Manifest, NetworkEntry
from model.normalisation import Distribution
from model.segmenter import Thresholds

THRESHOLDS = Thresholds(disc=0.5, cup=0.5, disc_confidence=0.6, cup_confidence=0.6, distance=3.0, sharpness=0.3)
DISTRIBUTION = Distribution(
    mean=(150.0, 75.0, 40.0),
    deviation=(35.0, 25.0, 15.0),
    feature_mean=(5.0, 4.3, 3.7, 3.6, 3.2, 2.7),
    feature_precision=tuple(tuple(map(float, row)) for row in np.eye(6)),
    sharpness=0.2,
)


def manifest(version: str = "2026.1.1", **changes: Any) -> Manifest:
    """A manifest as `artefact.write` takes it."""
    entry = NetworkEntry(config={}, input_size=32, outputs=("disc", "cup"), parameters=1)
    whole = Manifest(
        schema=artefact.SCHEMA,
        name="disc-cup",
        version=version,
        created="2026-11-23T09:30:00Z",
        code_version="0.1.0",
        locator=dataclasses.replace(entry, outputs=("disc",)),
        segmenter=entry,
        preprocessing={"roi_diameters": 2.0, "refinements": 1},
        normalisation=DISTRIBUTION.as_dict(),
        thresholds=dataclasses.asdict(THRESHOLDS),
        calibration={"vertical_half_width": 0.1, "coverage": 0.9},
        sources=[{"name": "drawn", "trained_on": 0, "terms": "none"}],
        metrics=[],
        training={"seconds": {"locator": 0}},
        files={},
    )
    return dataclasses.replace(whole, **changes)


def stage(folder: Path, version: str = "2026.1.1") -> Artefact:
    """A whole version in a new folder, right down to its digests; no engine can load it."""
    for network in artefact.NETWORKS:
        (folder / network / "variables").mkdir(parents=True)
        (folder / network / "saved_model.pb").write_bytes(f"{network} of {version}".encode())
        (folder / network / "variables" / "variables.index").write_bytes(b"weights")
    (folder / "card.md").write_text("# Card\n", encoding="utf-8")
    return artefact.write(folder, manifest(version))
