"""The servers that are compared: how each is started, asked, and read."""

import base64
import json
import os
import struct
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDARY = "cupdisc-benchmark"
HERE = "benchmarks.peers"
TRITON_HEAD = 256  # bytes of JSON before a photograph
Answer = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A server in an environment of its own."""

    name: str
    environment: str  # of `requirements/`
    package: str  # whose version is told
    command: Callable[[Path, int, int, Path], list[str]]  # folder of the environment, port, workers, scratch folder
    path: str
    content_type: str
    body: Callable[[bytes], bytes]  # of a photograph
    read: Callable[[bytes, dict[str, str]], Answer]  # body and headers of an answer
    headers: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


def form(field: str) -> Callable[[bytes], bytes]:
    """A multipart form with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="eye.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return lambda photograph: head.encode() + photograph + f"\r\n--{BOUNDARY}--\r\n".encode()


def _json(body: bytes, headers: dict[str, str]) -> Answer:
    answer: Answer = json.loads(body)
    return answer


def _v2_body(photograph: bytes) -> bytes:
    """The open inference protocol: a tensor of bytes in base64."""
    encoded = base64.b64encode(photograph).decode("ascii")
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    return json.dumps({"inputs": [{**tensor, "parameters": {"content_type": "base64"}}]}).encode()


def _v2(body: bytes, headers: dict[str, str]) -> Answer:
    answer: Answer = json.loads(json.loads(body)["outputs"][0]["data"][0])
    return answer


def _triton_body(photograph: bytes) -> bytes:
    """The protocol's binary extension: JSON, here of a fixed length, then each string behind its own length."""
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES"}
    head = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": 4 + len(photograph)}}],
        "outputs": [{"name": "answer", "parameters": {"binary_data": True}}],
    }
    return json.dumps(head).ljust(TRITON_HEAD).encode() + struct.pack("<I", len(photograph)) + photograph


def _triton(body: bytes, headers: dict[str, str]) -> Answer:
    rest = body[int(headers["inference-header-content-length"]) :]
    (length,) = struct.unpack_from("<I", rest)
    answer: Answer = json.loads(rest[4 : 4 + length])
    return answer


def _mlserver(folder: Path, port: int, workers: int, scratch: Path) -> list[str]:
    model = {"name": "segmentation", "implementation": f"{HERE}.with_mlserver.Segmentation"}
    settings = {
        **{"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2},
        **{"parallel_workers": workers, "kafka_enabled": False},
    }
    (scratch / "model-settings.json").write_text(json.dumps(model))
    (scratch / "settings.json").write_text(json.dumps(settings))
    return [str(folder / "bin" / "mlserver"), "start", str(scratch)]


def _ray(folder: Path, port: int, workers: int, scratch: Path) -> list[str]:
    settings = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [{"name": "default", "import_path": f"{HERE}.with_ray:app", "route_prefix": "/"}],
    }
    (scratch / "serve.json").write_text(json.dumps(settings))
    return [str(folder / "bin" / "serve"), "run", str(scratch / "serve.json")]


def _module(name: str) -> Callable[[Path, int, int, Path], list[str]]:
    return lambda folder, port, workers, scratch: [str(folder / "bin" / "python"), "-m", f"{HERE}.{name}"]


PEERS = (
    Peer(
        name="FastAPI",
        environment="fastapi",
        package="fastapi",
        command=lambda folder, port, workers, scratch: [
            *(str(folder / "bin" / "uvicorn"), f"{HERE}.with_fastapi:app", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", str(workers), "--no-access-log"),
        ],
        path="/predict",
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
        body=form("file"),
        read=_json,
    ),
    Peer(
        name="LitServe",
        environment="litserve",
        package="litserve",
        command=_module("with_litserve"),
        path="/predict",
        content_type="application/json",
        body=lambda photograph: json.dumps({"image": base64.b64encode(photograph).decode("ascii")}).encode(),
        read=_json,
    ),
    Peer(
        name="BentoML",
        environment="bentoml",
        package="bentoml",
        command=lambda folder, port, workers, scratch: [
            *(str(folder / "bin" / "bentoml"), "serve", f"{HERE}.with_bentoml:Segmentation"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        path="/predict",
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
        body=form("image"),
        read=_json,
        variables=(("BENTOML_DO_NOT_TRACK", "True"),),
    ),
    Peer(
        name="Ray Serve",
        environment="ray",
        package="ray",
        command=_ray,
        path="/",
        content_type="image/jpeg",
        body=bytes,
        read=_json,
        variables=(("RAY_USAGE_STATS_ENABLED", "0"),),
    ),
    Peer(
        name="MLServer",
        environment="mlserver",
        package="mlserver",
        command=_mlserver,
        path="/v2/models/segmentation/infer",
        content_type="application/json",
        body=_v2_body,
        read=_v2,
    ),
    Peer(
        name="Triton (PyTriton)",
        environment="triton",
        package="nvidia-pytriton",
        command=_module("with_triton"),
        path="/v2/models/segmentation/infer",
        content_type="application/octet-stream",
        body=_triton_body,
        read=_triton,
        headers=(("Inference-Header-Content-Length", str(TRITON_HEAD)),),
        # its Python backend takes the libpython that it finds, which must be the one of the environment's interpreter
        variables=(("LD_LIBRARY_PATH", str(sysconfig.get_config_var("LIBDIR"))),),
    ),
)


def cupdisc(table: str, processes: int = 1) -> Peer:
    """The service itself, as it comes or in several processes, with the masks that the peers of a table give."""
    several = ("--workers", str(processes)) if processes > 1 else ()
    return Peer(
        name="CupDisc",
        environment="",
        package="cupdisc",
        command=lambda folder, port, workers, scratch: [
            *(str(Path(sys.executable).with_name("cupdisc")), "serve", "--port", str(port), *several),
        ],
        path="/v1/segmentations?masks=" + {"a": "png", "b": "rle"}[table],
        content_type="image/jpeg",
        body=bytes,
        read=_json,
    )


def variables(peer: Peer, table: str, port: int, workers: int) -> dict[str, str]:
    """What a peer's process finds in its environment."""
    cores = len(os.sched_getaffinity(0))
    return {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CUPDISC_PEER_TABLE": table,
        "CUPDISC_PEER_PORT": str(port),
        "CUPDISC_PEER_WORKERS": str(workers),
        "CUPDISC_PEER_THREADS": str(max(1, cores // workers)),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **({"OPENBLAS_NUM_THREADS": "1"} if table == "b" else {}),  # as the service does; NumPy reads it when it loads
        **dict(peer.variables),
    }
