"""What a user of KServe's SDK writes. Takes a URL, a photograph, the network's side."""

import asyncio
import base64
import json
import sys
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

MODEL = "disc-cup"


async def main(url: str, photograph: Path, side: int) -> None:
    second = InferenceRESTClient(RESTConfig(protocol="v2", timeout=120))
    told = {
        "live": await second.is_server_live(url),
        "ready": await second.is_server_ready(url),
        "model_ready": await second.is_model_ready(url, MODEL),
    }
    given = InferInput("photograph", [1], "BYTES")
    given.set_data_from_numpy(np.array([photograph.read_bytes()], dtype=np.object_), binary_data=True)
    answer = await second.infer(url, InferRequest(MODEL, [given]), model_name=MODEL)
    outputs = {each.name: each for each in answer.outputs}
    told["binary"] = json.loads(outputs["answer"].as_numpy()[0])["cup_to_disc_ratio"]["vertical"]
    text = base64.b64encode(photograph.read_bytes()).decode()
    listed = {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    answer = await second.infer(url, listed, model_name=MODEL)
    told["in JSON"] = json.loads({each.name: each for each in answer.outputs}["answer"].data[0])["gradable"]
    image = InferInput("image", [1, side, side, 3], "FP32")
    image.set_data_from_numpy(np.zeros((1, side, side, 3), np.float32), binary_data=False)
    (probabilities,) = (await second.infer(url, InferRequest(MODEL, [image]), model_name=MODEL)).outputs
    told["probabilities"] = probabilities.as_numpy().shape

    first = InferenceRESTClient(RESTConfig(protocol="v1", timeout=120))
    told["first_ready"] = await first.is_model_ready(url, MODEL)
    found = await first.infer(url, {"instances": [{"b64": text}]}, model_name=MODEL)
    told["first"] = found["predictions"][0]["cup_to_disc_ratio"]["vertical"]
    try:
        await first.infer(url, {"instances": []}, model_name=MODEL)
    except httpx.HTTPStatusError as error:
        told["error"] = str(error)
    print(json.dumps(told))  # noqa: T201


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
