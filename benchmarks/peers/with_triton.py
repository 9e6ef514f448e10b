"""Triton Inference Server through PyTriton, by its page on binding models; one callable for each instance.

triton-inference-server.github.io/pytriton/latest/binding_models, /inference_callables
"""

import json
import os

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers import work


class Segmentation:
    """Loaded once for each instance."""

    def __init__(self) -> None:
        self.segment = work.load()

    @batch
    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(batch, 1) encoded photographs → (batch, 1) strings of JSON: the protocol knows tensors alone."""
        answers = [[json.dumps(self.segment(one)).encode()] for (one,) in image]
        return {"answer": np.array(answers, dtype=np.object_)}


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["CUPDISC_PEER_PORT"]),
        allow_grpc=False,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="segmentation",
            infer_func=[Segmentation() for _ in range(int(os.environ["CUPDISC_PEER_WORKERS"]))],
            inputs=[Tensor(name="image", dtype=np.bytes_, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=np.bytes_, shape=(1,))],
            config=ModelConfig(max_batch_size=8),
        )
        triton.serve()
