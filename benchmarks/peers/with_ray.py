"""Ray Serve, by its tutorial for TensorFlow, PyTorch and scikit-learn: a deployment that gets Starlette's request.

docs.ray.io/en/latest/serve/tutorials/serve-ml-models.html, /serve/resource-allocation.html
"""

import os
from typing import Any

from ray import serve
from starlette.requests import Request

from benchmarks.peers import work


@serve.deployment(num_replicas=int(os.environ["CUPDISC_PEER_WORKERS"]))
class Segmentation:
    """Loaded once in each replica."""

    def __init__(self) -> None:
        self.segment = work.load()

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Disc, cup and ratio of the photograph in the body."""
        return self.segment(await request.body())


app = Segmentation.bind()
