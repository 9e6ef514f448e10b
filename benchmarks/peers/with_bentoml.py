"""BentoML, by its quick start: a service class, an API method, a file as input.

docs.bentoml.com/en/latest/get-started/hello-world.html, /build-with-bentoml/iotypes.html, /parallelize-requests.html
"""

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers import work


@bentoml.service(workers=int(os.environ["CUPDISC_PEER_WORKERS"]))
class Segmentation:
    """Loaded once in each worker."""

    def __init__(self) -> None:
        self.segment = work.load()

    @bentoml.api
    def predict(self, image: Path) -> dict[str, Any]:
        """Disc, cup and ratio."""
        return self.segment(image.read_bytes())
