"""Worked examples for the documentation: what the service really answered to examples/normal_left_eye.jpg.

`python -m tests.renew_examples` makes them anew; a test holds each of them against its schema and the bundled version.
"""

import json
from pathlib import Path
from typing import Any

ANSWERS: dict[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))


def _shown(name: str, summary: str) -> dict[str, Any]:
    return {"summary": summary, "value": ANSWERS[name]}


SEGMENTATIONS = {
    "gradable": _shown("png", "Disc, cup and ratio; the masks are shortened here"),
    "not_gradable": _shown("not_gradable", "No disc to be seen"),
    "rle": _shown("rle", "`masks=rle`"),
    "polygon": _shown("polygon", "`masks=polygon`, the outlines shortened here"),
}
OUTLINES = {"outlines": _shown("outlines", "Disc and cup of twelve points each")}
MEASUREMENTS = {
    "measured": _shown("measurement", "The numbers of that, `laterality=left`"),
    "disc_alone": {
        "summary": "No cup was outlined",
        "value": {**ANSWERS["measurement"], "cup": None, "cup_to_disc_ratio": None, "rim": None},
    },
}
VERSIONS = {"versions": _shown("versions", "One version")}
VERSION = {"version": _shown("version", "Manifest and card are shortened here")}
HEALTH = {"ok": {"summary": "In good health", "value": {"status": "ok"}}}
METRICS = {
    "shortened": {
        "summary": "Shortened",
        "value": "# TYPE cupdisc_queue_length gauge\ncupdisc_queue_length 0.0\n",
    }
}
