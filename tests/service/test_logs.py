"""What is logged, grepped for what must never be: names, metadata, queries, content, keys."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.keys import digest, new_key
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_keys import key_file
from tests.storage import Fault, FaultyProxy, Objects

SECRETS = ("Jane", "Doe", "1957", "4711-PATIENT", "hunter2", "Zeiss")
KEY = new_key()
WRITTEN = re.compile("|".join(SECRETS))


SERVER = """
import logging, sys, warnings
from pathlib import Path
import structlog
from fastapi import Request
from service import logs, server
from service.app import create_app
from service.settings import Settings

settings = Settings(
    registry=sys.argv[1],
    keys=Path(sys.argv[2]),
    log_level="debug",
    photograph_prefixes="gs://hunter2/in, gs://hunter2-none",
    output_prefixes="gs://hunter2/out",
    storage_timeout_s=2,
    storage_patience_s=2,
)
logs.configure(settings.log_format, settings.log_level)
app = create_app(settings)

@app.post("/v1/broken")
async def broken(request: Request) -> None:
    logging.getLogger("PIL.TiffImagePlugin").debug("tag: Artist (315) - value: Jane Doe")
    logging.getLogger("PIL.PngImagePlugin").info("STREAM Jane")
    warnings.warn("Corrupt EXIF data of Jane")
    structlog.get_logger("cupdisc").info("two\\nlines", other='"quoted"\\r\\n')
    logging.getLogger("cupdisc").warning("version %s is left out", "2026.1.1")
    try:
        raise KeyError("Jane")
    except KeyError:
        structlog.get_logger("cupdisc").exception("failed")
    raise ValueError(f"{await request.body()!r} of Jane Doe")

server.run(app, settings, "127.0.0.1", 0)
"""


def photographs() -> list[tuple[str, bytes]]:
    """Each format with a patient's name in its metadata, whole and damaged."""
    eye = Image.fromarray(draw_eye())
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x010F], exif[0x0132] = "Jane Doe", "Dr Doe", "Zeiss", "1957:01:01 00:00:00"
    text = PngInfo()
    text.add_text("Patient", "Jane Doe 4711-PATIENT")
    text.add_itxt("Comment", "hunter2", zip=True)
    made = []
    for kind, options in (
        ("JPEG", {"exif": exif, "comment": b"Jane Doe 1957"}),
        ("PNG", {"pnginfo": text, "exif": exif}),
        ("TIFF", {"exif": exif, "compression": "tiff_lzw"}),
        ("WEBP", {"exif": exif}),
    ):
        file = io.BytesIO()
        eye.save(file, kind, **options)
        media_type = f"image/{kind.lower()}"
        made += [(media_type, file.getvalue()), (media_type, file.getvalue()[:-300])]
        made += [(media_type, file.getvalue().replace(b"Doe", b"\xff\0\xfe"))]
    return made


@pytest.fixture(scope="module")
def logged(published: Path, storage_url: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every line, which must be JSON, of a service that was asked all kinds of things."""
    Objects(storage_url, "hunter2").write("in/Jane_Doe_1957.jpg", EYE)
    storage = FaultyProxy(storage_url)
    storage.faults.append(Fault("Zeiss", "status", 503))
    environment = {**os.environ, "STORAGE_EMULATOR_HOST": storage.url}
    folder = tmp_path_factory.mktemp("logs")
    keys = key_file(folder, {"name": "clinic", "sha256": digest(KEY), "scopes": ["segment", "admin"]})
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(published), str(keys)], stderr=file, env=environment
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ask(found[0])
    finally:
        process.terminate()
        assert process.wait(60) == 0
        storage.close()
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def ask(address: str) -> None:
    right = {"X-API-Key": KEY, "X-Request-ID": "visit-1", "User-Agent": "Jane/1957", "Referer": "http://x/?Doe"}
    with httpx2.Client(base_url=address, headers=right, timeout=120) as client:
        for media_type, data in photographs():
            typed = {"Content-Type": media_type}
            client.post("/v1/segmentations?patient=Jane+Doe", content=data, headers=typed)
            files = {"image": ("Jane_Doe_1957.jpg", data, media_type)}
            client.post("/v1/segmentations?masks=4711-PATIENT", files=files)
            client.post("/page/picture", content=data, headers=typed)
        client.post("/v2/models/disc-cup/infer", json={"id": "Jane Doe 1957", "inputs": [{"name": "4711-PATIENT"}]})
        client.post("/v2/models/Jane-Doe/infer", json={})
        client.post("/v1/models/disc-cup:predict", json={"instances": [{"b64": "hunter2"}], "signature_name": "Jane"})
        form = {"Content-Type": "multipart/form-data; boundary=Jane"}
        client.post("/v1/segmentations", content=b"--Jane\r\nDoe\x00: 1957\r\n\r\n4711-PATIENT", headers=form)
        client.post("/v1/segmentations", json={"uri": "gs://hunter2/Jane_Doe_1957.jpg"})
        for name, status in (
            ("hunter2/in/Jane_Doe_1957.jpg", 200),
            ("hunter2/in/4711-PATIENT.jpg", 404),
            ("hunter2/in/Zeiss.jpg", 503),
            ("hunter2-none/Doe.jpg", 502),
        ):
            assert client.post("/v1/segmentations", json={"uri": f"gs://{name}"}).status_code == status
        both = {"uri": "gs://hunter2/in/Jane_Doe_1957.jpg", "output": "gs://hunter2/out/Jane_Doe"}
        assert client.post("/v1/segmentations", json=both).status_code == 200
        assert client.post("/v1/segmentations", json=both).status_code == 409
        client.get("/v1/versions/Jane-Doe?password=hunter2")
        client.get("/Jane/Doe")
        client.post("/v1/measurements", json={"Jane": "Doe"})
        client.get("/v1/versions", headers={"X-API-Key": "hunter2-hunter2-hunter2-hunter2"})
        assert client.post("/v1/broken", content=b"Jane Doe").status_code == 500


def test_nothing_of_a_photograph_of_a_query_or_of_a_key_is_logged(logged: list[dict[str, Any]]) -> None:
    whole = json.dumps(logged)
    assert not WRITTEN.search(whole)
    assert KEY not in whole
    assert digest(KEY) not in whole


def test_every_request_is_told_by_its_id_its_path_and_its_caller(logged: list[dict[str, Any]]) -> None:
    requests = [line for line in logged if line["event"] == "request"]
    assert len(requests) >= 40
    first = requests[0]
    assert {"method", "route", "status", "ms", "caller", "request_id", "level", "timestamp"} == set(first) - {"event"}
    assert (first["caller"], first["request_id"], first["route"]) == ("clinic", "visit-1", "/v1/segmentations")
    assert {line["request_id"] for line in requests} == {"visit-1"}
    (refused,) = [line for line in logged if line["event"] == "refused"]
    assert (refused["reason"], refused["address"]) == ("key_invalid", "127.0.0.1")


def test_an_unexpected_error_is_told_by_kind_and_place_alone(logged: list[dict[str, Any]]) -> None:
    errors = {line["error"]: line for line in logged if "error" in line}
    assert set(errors) == {"ValueError", "KeyError"}
    for line in errors.values():
        assert any(place.endswith("broken") for place in line["where"])


def test_what_libraries_chatter_is_not_logged_and_a_line_is_one_line(logged: list[dict[str, Any]]) -> None:
    events = [line["event"] for line in logged]
    assert "two\nlines" in events
    assert "version 2026.1.1 is left out" in events


def test_every_photograph_that_the_tests_log_has_something_to_leak() -> None:
    for _, data in photographs()[::3]:
        assert WRITTEN.search(data.decode("latin-1"))
    assert encode(draw_eye())  # the drawn eye itself has no metadata
