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
READY = {
    **HEALTH,
    "degraded": {
        "summary": "The registry cannot be read; what was there before serves",
        "value": {"status": "degraded", "reasons": ["storage_unavailable"]},
    },
}
NAMED = {
    "named": {
        "summary": "A photograph on Cloud Storage, the results beside it",
        "value": {"uri": "gs://clinic/photographs/0001.jpg", "output": "gs://clinic/results/0001"},
    }
}
SERVING = {
    "swapped": {
        "summary": "A new version has just taken over",
        "value": {
            "default": "2026.11.8",
            "candidate": None,
            "degraded": {},
            "refused": {},
            "events": [
                {
                    "time": "2026-11-23T09:30:00.125+00:00",
                    "event": "loaded",
                    "version": "2026.11.8",
                    "detail": "openvino f32, probe 21 ms",
                },
                {
                    "time": "2026-11-23T09:30:00.126+00:00",
                    "event": "swapped",
                    "version": "2026.11.8",
                    "detail": "production: 2026.11.7 → 2026.11.8",
                },
            ],
        },
    }
}
METRICS = {
    "shortened": {
        "summary": "Shortened",
        "value": "# TYPE cupdisc_queue_length gauge\ncupdisc_queue_length 0.0\n",
    }
}
