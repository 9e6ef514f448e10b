"""Photographs on Cloud Storage: read and written where the operator allows it, and nothing is asked of anybody else."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from model.errors import InvalidConfiguration
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import EYE, draw_eye, encode
from tests.storage import Fault, FaultyProxy, Objects

Post = Callable[..., Any]


@pytest.fixture
def post(published: Path, objects: Objects) -> Any:
    """Ask a service that may read `in/` of the bucket and write to `out/`."""
    objects.write("in/eye.jpg", EYE)
    settings = Settings(
        registry=str(published),
        photograph_prefixes=f"gs://elsewhere/x, gs://{objects.bucket}/in",
        output_prefixes=f"gs://{objects.bucket}/out/",
        storage_timeout_s=1,
        storage_patience_s=1,
        max_photograph_bytes=100_000,
    )
    with TestClient(create_app(settings)) as client:

        def post(uri: str, output: str | None = None, headers: dict[str, str] | None = None, **query: str) -> Any:
            body = {"uri": uri} | ({"output": output} if output else {})
            return client.post("/v1/segmentations", json=body, params=query, headers=headers)

        yield post


def problem_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_photograph_in_a_bucket_gets_the_answer_of_its_bytes(
    post: Post, objects: Objects, client: TestClient
) -> None:
    found = post(f"gs://{objects.bucket}/in/eye.jpg")
    assert found.status_code == 200
    sent = client.post("/v1/segmentations", content=EYE, headers={"content-type": "image/jpeg"})
    assert {**found.json(), "timings_ms": 0} == {**sent.json(), "timings_ms": 0}
    picture = post(f"gs://{objects.bucket}/in/eye.jpg", headers={"accept": "image/png"})
    assert picture.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "uri",
    [
        *("gs://{0}/other/eye.jpg", "gs://{0}/inside/eye.jpg", "gs://{0}/in", "gs://{0}/in/", "gs://{0}"),
        *("gs://{0}/in/../other/eye.jpg", "gs://{0}/in//eye.jpg", "gs://elsewhere/eye.jpg", "gs://{0}x/in/eye.jpg"),
        *("GS://{0}/in/eye.jpg", "gs:/{0}/in/eye.jpg", "file:///etc/passwd", "http://127.0.0.1/in/eye.jpg", "", "/in"),
        "gs://{0}/in/\n",
    ],
)
def test_anything_else_is_forbidden_and_nobody_is_asked(
    post: Post, objects: Objects, proxy: FaultyProxy, uri: str
) -> None:
    assert problem_of(post(uri.format(objects.bucket))) == (403, "uri_not_allowed")
    output = uri.format(objects.bucket).replace("/in", "/out")
    if output:
        assert problem_of(post(f"gs://{objects.bucket}/in/eye.jpg", output)) == (403, "uri_not_allowed")
    assert proxy.seen == []


def test_by_default_everything_is_forbidden(client: TestClient) -> None:
    answer = client.post("/v1/segmentations", json={"uri": "gs://bucket/eye.jpg"})
    assert problem_of(answer) == (403, "uri_not_allowed")


@pytest.mark.parametrize("body", [{}, {"uri": 1}, {"uri": "gs://b/x", "url": "gs://b/x"}, {"uri": "g" * 3000}])
def test_other_json_is_named(client: TestClient, body: Any) -> None:
    assert problem_of(client.post("/v1/segmentations", json=body)) == (422, "invalid_parameter")


def test_the_size_is_looked_at_before_the_content(post: Post, objects: Objects, proxy: FaultyProxy) -> None:
    objects.write("in/large.jpg", b"\0" * 100_001)
    assert problem_of(post(f"gs://{objects.bucket}/in/large.jpg")) == (413, "too_many_bytes")
    assert len(proxy.seen) == 1
    assert "alt=media" not in proxy.seen[0]


def test_what_storage_says_is_passed_on(post: Post, objects: Objects, proxy: FaultyProxy) -> None:
    eye = f"gs://{objects.bucket}/in/eye.jpg"
    assert problem_of(post(f"gs://{objects.bucket}/in/none.jpg")) == (404, "object_not_found")
    assert problem_of(post("gs://elsewhere/x/eye.jpg")) == (502, "bucket_not_found")
    objects.write("in/none.txt", b"no photograph")
    assert problem_of(post(f"gs://{objects.bucket}/in/none.txt")) == (415, "unsupported_format")
    proxy.set(Fault("", "status", 403))
    assert problem_of(post(eye)) == (502, "storage_denied")
    proxy.set(Fault("", "status", 503))
    assert problem_of(post(eye)) == (503, "storage_unavailable")
    proxy.set(Fault("", "status", 503, times=1))
    assert post(eye).status_code == 200


def test_results_are_written_and_named(post: Post, objects: Objects) -> None:
    answer = post(f"gs://{objects.bucket}/in/eye.jpg", f"gs://{objects.bucket}/out/a/eye", masks="none")
    assert answer.status_code == 200
    body = answer.json()
    names = ["out/a/eye.disc.png", "out/a/eye.cup.png", "out/a/eye.json"]
    assert body["written"] == [f"gs://{objects.bucket}/{name}" for name in names]
    assert objects.names("out/") == set(names)
    stored = json.loads(objects.read(names[2]))
    assert stored == body
    for name, part in zip(names, ("disc", "cup"), strict=False):
        mask = np.asarray(Image.open(io.BytesIO(objects.read(name)))) > 0
        assert (mask.shape, np.count_nonzero(mask)) == ((480, 640), body[part]["area"])


def test_masks_that_the_client_wants_do_not_go_into_the_written_json(post: Post, objects: Objects) -> None:
    body = post(f"gs://{objects.bucket}/in/eye.jpg", f"gs://{objects.bucket}/out/eye").json()
    stored = json.loads(objects.read("out/eye.json"))
    assert body["cup"].pop("mask")
    assert body["disc"].pop("mask")
    assert stored == body


def test_what_is_not_known_is_not_written(post: Post, objects: Objects) -> None:
    objects.write("in/blank.jpg", encode(draw_eye(disc=0, cup=0)))
    body = post(f"gs://{objects.bucket}/in/blank.jpg", f"gs://{objects.bucket}/out/blank").json()
    assert body["gradable"] is False
    assert objects.names("out/") == {"out/blank.json"}


@pytest.mark.parametrize("existing", ["out/eye.disc.png", "out/eye.cup.png", "out/eye.json"])
def test_nothing_is_overwritten_and_nothing_is_left_half(post: Post, objects: Objects, existing: str) -> None:
    objects.write(existing, b"kept")
    answer = post(f"gs://{objects.bucket}/in/eye.jpg", f"gs://{objects.bucket}/out/eye")
    assert problem_of(answer) == (409, "object_exists")
    assert objects.names("out/") == {existing}
    assert objects.read(existing) == b"kept"


def test_a_picture_and_an_output_do_not_go_together(post: Post, objects: Objects) -> None:
    answer = post(f"gs://{objects.bucket}/in/eye.jpg", f"gs://{objects.bucket}/out/eye", {"accept": "image/png"})
    assert problem_of(answer) == (422, "invalid_parameter")
    assert objects.names("out/") == set()


@pytest.mark.parametrize("prefix", ["bucket/in", "s3://bucket/in", "gs://", "gs://bucket/in/../out", "*"])
def test_a_prefix_that_is_none_stops_the_start(published: Path, prefix: str) -> None:
    for name in ("photograph_prefixes", "output_prefixes"):
        with pytest.raises(InvalidConfiguration, match=name):
            create_app(Settings(registry=str(published), **{name: prefix}))
