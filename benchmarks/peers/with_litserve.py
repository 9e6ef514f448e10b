"""LitServe, by its quick start: setup, decode_request, predict, encode_response; the image as base64 in JSON.

lightning.ai/docs/litserve/get-started, /features/request-response-format
"""

import base64
import os
from typing import Any

import litserve

from benchmarks.peers import work


class Segmentation(litserve.LitAPI):
    """One photograph at a time in each worker."""

    def setup(self, device: str) -> None:
        """Called once in each worker."""
        self.segment = work.load()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """The body, parsed."""
        return base64.b64decode(request["image"])

    def predict(self, x: bytes) -> dict[str, Any]:
        """The work."""
        return self.segment(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Segmentation(), accelerator="cpu", workers_per_device=int(os.environ["CUPDISC_PEER_WORKERS"])
    )
    server.run(host="127.0.0.1", port=int(os.environ["CUPDISC_PEER_PORT"]), generate_client_file=False)
