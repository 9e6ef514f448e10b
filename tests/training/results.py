"""Results of made-up photographs, for tests of what is computed from results."""

import numpy as np

from training.evaluate import Result
from training.metrics import BINS


def result(
    source: str = "clinic",
    identity: str = "a",
    disc: float = 0.9,
    cup: float | None = 0.8,
    drawn: float = 0.5,
    truth: float = 0.5,
    **changes: object,
) -> Result:
    """One photograph; without `cup` its cup was not annotated."""
    values: dict[str, object] = {
        "source": source,
        "id": identity,
        "disc_dice": disc,
        "cup_dice": cup,
        "vertical": drawn,
        "vertical_truth": None if cup is None else truth,
        "missed": False,
        "gradable": True,
        "reasons": "",
        "disc_confidence": 0.9,
        "cup_confidence": 0.8,
        "cup_outside": 0.0,
        "distance": 1.0,
        "sharpness": 1.0,
        "interval_low": None,
        "interval_high": None,
        "disc_radii_ratio": 1.0,
        "cup_radii_ratio": None if cup is None else 1.1,
        "disc_hausdorff95": 5.0,
        "cup_hausdorff95": None if cup is None else 10.0,
        "disc_diameter": 100.0,
        "pixels": np.ones((2, BINS, 3)),
    }
    return Result(**{**values, **changes})  # type: ignore[arg-type]


def several(source: str, errors: list[float], truth: float = 0.5, **changes: object) -> list[Result]:
    """One result per error of the vertical ratio."""
    return [
        result(source, f"{number:03}", drawn=truth + error, truth=truth, **changes)
        for number, error in enumerate(errors)
    ]
