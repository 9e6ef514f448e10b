"""MLServer, by its page on custom runtimes: load and predict, decoding and encoding by its codecs.

docs.seldon.ai/mlserver/user-guide/custom, /user-guide/parallel-inference
"""

import json

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.codecs.base64 import Base64Codec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers import work


class Segmentation(MLModel):
    """Loaded once in each worker."""

    async def load(self) -> bool:
        """Called by the server."""
        self.segment = work.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Disc, cup and ratio as a string of JSON: the protocol knows tensors alone."""
        (photograph,) = Base64Codec.decode_input(payload.inputs[0])
        output = StringCodec.encode_output("answer", [json.dumps(self.segment(photograph))])
        return InferenceResponse(model_name=self.name, outputs=[output])
