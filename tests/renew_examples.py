"""Make `service/examples.json` anew: what the service really answers to examples/normal_left_eye.jpg.

    python -m tests.renew_examples [REGISTRY]

To be run after a new version was bundled; `tests/service/test_examples.py` says when.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.photographs import EXAMPLE, REPOSITORY
from tests.service.conftest import encode

FILE = REPOSITORY / "service" / "examples.json"
EYE = {"laterality": "left"}  # which eye the photograph shows
POINTS = 12  # of each outline in the worked example of a measurement


def examples(client: TestClient) -> dict[str, Any]:
    """Every answer that `service/examples.py` shows, by name."""
    segmentations = {kind: _segment(client, masks=kind) for kind in ("png", "rle", "polygon")}
    found = segmentations["polygon"]
    outlines = {
        "width": found["image"]["width"],
        "height": found["image"]["height"],
        **{name: [_thinned(found[name]["mask"]["rings"][0])] for name in ("disc", "cup")},
    }
    for name in ("disc", "cup"):
        png, polygon = segmentations["png"][name]["mask"], segmentations["polygon"][name]["mask"]
        png["data"] = png["data"][:48] + "..."
        polygon["rings"] = [polygon["rings"][0][:8]]
    black = encode(np.zeros((480, 640, 3), np.uint8), "PNG")
    version = client.get("/v1/versions/production").json()
    kept = ("schema", "name", "version", "created", "code_version", "locator", "segmenter")
    version["manifest"] = {key: version["manifest"][key] for key in kept}
    version["card"] = (version["card"] or "")[:120] + "..."
    return {
        **segmentations,
        "not_gradable": client.post("/v1/segmentations", files={"image": black}).json(),
        "outlines": outlines,
        "measurement": client.post("/v1/measurements", json=outlines, params=EYE).json(),
        "versions": client.get("/v1/versions").json(),
        "version": version,
    }


def _segment(client: TestClient, **query: str) -> Any:
    return client.post("/v1/segmentations", params={**EYE, **query}, files={"image": EXAMPLE.read_bytes()}).json()


def _thinned(ring: list[Any]) -> list[Any]:
    return [ring[round(k * len(ring) / POINTS)] for k in range(POINTS)]


if __name__ == "__main__":
    registry = sys.argv[1] if len(sys.argv) > 1 else "bundled"
    with TestClient(create_app(Settings(registry=registry, replica="replica-1"))) as client:
        text = json.dumps(examples(client), indent=1, ensure_ascii=False)
    Path(FILE).write_text(text + "\n", encoding="utf-8")
