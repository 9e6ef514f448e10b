"""Worked examples for the documentation. A test holds each of them against its schema."""

from typing import Any

_VERSION = {
    "name": "disc-cup",
    "version": "2026.11.1",
    "sha256": "9f2b6c1e0d7a4853b1c09d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a",
    "engine": "openvino",
    "precision": "f32",
}

GRADABLE: dict[str, Any] = {
    "version": _VERSION,
    "image": {"width": 2048, "height": 1755, "format": "JPEG"},
    "gradable": True,
    "reasons": [],
    "disc": {
        "mask": {"encoding": "png", "data": "iVBORw0KGgoAAAANSUhEUgAACAAAAAbbCAAAAAB..."},
        "box": {"left": 812, "top": 640, "width": 371, "height": 389},
        "centre": {"x": 997.2, "y": 834.0},
        "area": 113214,
        "ellipse": {"x": 997.0, "y": 834.1, "width": 370.4, "height": 388.9, "angle_deg": 4.1},
        "confidence": 0.98,
    },
    "cup": {
        "mask": {"encoding": "png", "data": "iVBORw0KGgoAAAANSUhEUgAACAAAAAbbCAAAAAB..."},
        "box": {"left": 890, "top": 716, "width": 215, "height": 241},
        "centre": {"x": 996.8, "y": 836.3},
        "area": 40757,
        "ellipse": {"x": 996.9, "y": 836.1, "width": 215.3, "height": 240.6, "angle_deg": -2.7},
        "confidence": 0.94,
    },
    "cup_to_disc_ratio": {
        "vertical": 0.6195,
        "horizontal": 0.5795,
        "area": 0.36,
        "vertical_interval": {"low": 0.55, "high": 0.69, "coverage": 0.9},
    },
    "quality": {"distance_from_training": 0.8, "sharpness": 0.7},
    "timings_ms": {"decode": 26.1, "locate": 13.9, "segment": 38.2, "measure": 11.4, "encode": 12.2},
}

NOT_GRADABLE: dict[str, Any] = {
    **GRADABLE,
    "gradable": False,
    "reasons": ["disc_not_found", "outside_training_distribution"],
    "disc": None,
    "cup": None,
    "cup_to_disc_ratio": None,
    "quality": {"distance_from_training": 7.3, "sharpness": None},
}

SEGMENTATIONS = {
    "gradable": {"summary": "Disc, cup and ratio", "value": GRADABLE},
    "not_gradable": {"summary": "No disc to be seen", "value": NOT_GRADABLE},
    "rle": {
        "summary": "`masks=rle`",
        "value": {
            **GRADABLE,
            "disc": {**GRADABLE["disc"], "mask": {"encoding": "rle", "size": [1755, 2048], "counts": "Ug_h15eR1^O..."}},
            "cup": {**GRADABLE["cup"], "mask": {"encoding": "rle", "size": [1755, 2048], "counts": "cSdi11fR16N..."}},
        },
    },
    "polygon": {
        "summary": "`masks=polygon`",
        "value": {
            **GRADABLE,
            "disc": {
                **GRADABLE["disc"],
                "mask": {"encoding": "polygon", "rings": [[[996, 640], [812, 833], [996, 1028], [1182, 834]]]},
            },
            "cup": {
                **GRADABLE["cup"],
                "mask": {"encoding": "polygon", "rings": [[[996, 716], [890, 836], [997, 956], [1104, 837]]]},
            },
        },
    },
}

_SUMMARY = {
    "name": "disc-cup",
    "version": "2026.11.1",
    "sha256": _VERSION["sha256"],
    "created": "2026-11-23T10:00:00Z",
    "aliases": ["production"],
    "loaded": True,
}

HEALTH = {"ok": {"summary": "In good health", "value": {"status": "ok"}}}

VERSIONS = {"one": {"summary": "One version", "value": {"default": "2026.11.1", "versions": [_SUMMARY]}}}

VERSION = {
    "one": {
        "summary": "Shortened",
        "value": {
            **_SUMMARY,
            "manifest": {"schema": 1, "name": "disc-cup", "version": "2026.11.1", "created": "2026-11-23T10:00:00Z"},
            "card": "# disc-cup 2026.11.1\n\nOutlines optic disc and optic cup ...",
        },
    }
}
