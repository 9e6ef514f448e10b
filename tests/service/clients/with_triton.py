"""What a user of NVIDIA's `tritonclient` writes. Takes a URL, a photograph, the network's side."""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http
from tritonclient.utils import InferenceServerException

MODEL = "disc-cup"


def main(url: str, photograph: Path, side: int) -> None:
    client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
    told = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "absent_ready": client.is_model_ready(MODEL, "2020.1.1"),
        "server": client.get_server_metadata()["name"],
        "inputs": [each["name"] for each in client.get_model_metadata(MODEL)["inputs"]],
    }
    data = np.array([photograph.read_bytes()] * 2, dtype=np.object_)
    for binary in (True, False):
        given = tritonclient.http.InferInput("photograph", [2], "BYTES")
        given.set_data_from_numpy(data, binary_data=True)
        wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("answer", "gradable")]
        result = client.infer(MODEL, [given], outputs=wanted, request_id="seven")
        assert result.get_response()["id"] == "seven"
        answers = [json.loads(each) for each in result.as_numpy("answer")]
        told[f"ratios, binary {binary}"] = [each["cup_to_disc_ratio"]["vertical"] for each in answers]
        told[f"gradable, binary {binary}"] = result.as_numpy("gradable").tolist()
    everything = client.infer(MODEL, [given], model_version="production")
    told["version"] = everything.get_response()["model_version"]
    told["png"] = [each[:4] == b"\x89PNG" for each in everything.as_numpy("label_mask")]
    image = tritonclient.http.InferInput("image", [3, side, side, 3], "FP32")
    image.set_data_from_numpy(np.zeros((3, side, side, 3), np.float32))
    told["probabilities"] = client.infer(MODEL, [image]).as_numpy("probabilities").shape
    try:
        client.infer("retina", [given])
    except InferenceServerException as error:
        told["error"] = [error.status(), error.message()]
    print(json.dumps(told))  # noqa: T201


main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
