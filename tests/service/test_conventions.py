"""Whose outlines a client asks for, on every way into the service."""

import csv
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.client import Client
from service.settings import Settings
from tests.service.conftest import EYE
from tests.service.test_uploads import serve

JPEG = {"content-type": "image/jpeg"}


def ask(client: TestClient, **query: str) -> Any:
    return client.post("/v1/segmentations", content=EYE, headers=JPEG, params={"masks": "none", **query})


def test_the_published_convention_is_drawn_unless_another_is_asked_for(client: TestClient) -> None:
    usual, named, wide, again = (
        ask(client, **{"convention": name} if name else {}).json() for name in ("", "narrow", "wide", "")
    )
    assert [body["version"]["convention"] for body in (usual, named, wide)] == ["narrow", "narrow", "wide"]
    assert wide["cup_to_disc_ratio"]["vertical"] > usual["cup_to_disc_ratio"]["vertical"] + 0.2
    assert wide["disc"]["area"] == usual["disc"]["area"]
    for body in (usual, named, again):
        del body["timings_ms"]
    assert usual == named == again


def test_what_can_be_asked_for_is_listed(client: TestClient) -> None:
    assert client.get("/v1/versions/production").json()["conventions"] == ["narrow", "wide"]


@pytest.mark.parametrize("name", ["clinic", "", "wide ", "\x00", "standing", "w" * 5000])
def test_another_name_is_not_found(client: TestClient, name: str) -> None:
    answer = ask(client, convention=name)
    assert (answer.status_code, answer.json()["code"]) == (404, "convention_not_found")
    assert len(answer.json()["detail"]) < 300


def test_an_unknown_name_waits_for_nothing_that_is_being_made_ready(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(client.app.state, "fetching")  # type: ignore[attr-defined]  # whoever asks for it fails
    assert ask(client, convention="clinic").status_code == 404


def test_a_version_without_conventions_says_so(start: Callable[..., TestClient], second: Path, registry: Path) -> None:
    from model.local_registry import LocalRegistry

    LocalRegistry(registry).publish(second)
    client = start(registry=str(registry))
    answer = ask(client, version="2026.3.1", convention="wide")
    assert (answer.status_code, answer.json()["code"]) == (404, "convention_not_found")
    assert client.get("/v1/versions/2026.3.1").json()["conventions"] == []
    assert ask(client, version="2026.3.1").json()["version"]["convention"] is None


def test_a_candidate_that_did_not_learn_it_leaves_it_to_production(
    start: Callable[..., TestClient], second: Path, registry: Path
) -> None:
    from model.local_registry import LocalRegistry

    LocalRegistry(registry).publish(second, alias="candidate")
    client = start(registry=str(registry), candidate_share=1.0)
    assert ask(client).json()["version"]["version"] == "2026.3.1"
    for name in ("wide", "narrow"):
        told = ask(client, convention=name).json()["version"]
        assert (told["version"], told["convention"]) == ("2026.2.1", name)
        assert ask(client, convention=name, version="candidate").status_code == 404  # it was meant
    infer = {"inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [b64encode(EYE).decode()]}]}
    asked = client.post("/v2/models/disc-cup/infer", json={**infer, "parameters": {"convention": "wide"}})
    assert asked.json()["model_version"] == "2026.2.1"


def test_only_the_versions_own_ratios_are_counted(client: TestClient) -> None:
    def counted() -> float:
        (line,) = re.findall(r"^cupdisc_vertical_ratio_count.* (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(line)

    ask(client)
    before = counted()
    ask(client, convention="wide")
    assert counted() == before
    ask(client, convention="narrow")
    assert counted() == before + 1


def test_conventions_of_a_version_share_its_locator(published: Path) -> None:
    from model.registry import open_registry
    from model.segmenter import Segmenter
    from service.batching import Rules, SharedSegmenters

    segmenter = Segmenter(open_registry(str(published)).open("production"))
    shared = SharedSegmenters(Rules(4, 2, 1.0))
    usual, wide = shared.of(segmenter), shared.of(segmenter.in_convention("wide"))
    assert usual._locator is wide._locator
    assert usual._segmenter is not wide._segmenter


def test_tensorflow_runs_no_files_that_changed_since_they_were_checked(registry: Path) -> None:
    from model.errors import CorruptVersion
    from model.registry import open_registry
    from model.segmenter import Segmenter

    segmenter = Segmenter(open_registry(str(registry)).open("production"), "tensorflow")
    (weights,) = registry.glob("**/2026.2.1/segmenter/variables/variables.data-*")
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(CorruptVersion, match="changed"):
        segmenter.in_convention("wide")


def test_an_answer_by_others_than_asked_for_is_no_answer() -> None:
    """As from a service that does not know the parameter."""
    import httpx2

    from service import calls
    from service.examples import ANSWERS

    reply = httpx2.Response(200, json=ANSWERS["png"], request=httpx2.Request("POST", "http://service/v1/segmentations"))
    assert calls.segment(EYE, {}).result(reply).version.convention == "refuge"
    with pytest.raises(calls.UnexpectedAnswer, match="wide was asked for, and the service drew refuge"):
        calls.segment(EYE, {"convention": "wide"}).result(reply)


def test_many_ask_for_either_at_once(published: Path) -> None:
    """The first of them make it ready."""
    with TestClient(create_app(Settings(registry=str(published)))) as client, ThreadPoolExecutor(8) as pool:
        names = ["wide", "narrow"] * 12
        found = list(pool.map(lambda name: ask(client, convention=name).json(), names))
    assert [body["version"]["convention"] for body in found] == names
    assert len({(body["version"]["convention"], body["cup"]["area"]) for body in found}) == 2


def test_the_standard_protocols_take_it_too(client: TestClient) -> None:
    photograph = {"b64": b64encode(EYE).decode()}
    (served,) = client.post("/v1/models/disc-cup:predict?convention=wide", json={"instances": [photograph]}).json()[
        "predictions"
    ]
    asked = {
        "inputs": [{"name": "photograph", "datatype": "BYTES", "shape": [1], "data": [photograph["b64"]]}],
        "parameters": {"convention": "wide"},
    }
    (output, *_) = client.post("/v2/models/disc-cup/infer", json=asked).json()["outputs"]
    assert served["version"]["convention"] == json.loads(output["data"][0])["version"]["convention"] == "wide"
    assert client.post("/v1/models/disc-cup:predict?convention=x", json={"instances": [photograph]}).status_code == 404


def test_client_and_command_ask_for_it(published: Path, tmp_path: Path) -> None:
    (tmp_path / "eye.jpg").write_bytes(EYE)

    def run(out: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", "segment", tmp_path / "eye.jpg", "--out", tmp_path / out, *options]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    here = ("--registry", str(published))
    with serve(create_app(Settings(registry=str(published)))) as port:
        there = ("--url", f"http://127.0.0.1:{port}")
        with Client(there[1]) as client:
            assert client.segment(EYE, convention="wide", masks="none").version.convention == "wide"
        assert run("there", *there, "--convention", "wide").returncode == 0
    assert run("here", *here, "--convention", "wide").returncode == 0
    assert run("usual", *here).returncode == 0
    rows = {
        out: next(csv.DictReader((tmp_path / out / "results.csv").read_text(encoding="utf-8").splitlines()))
        for out in ("there", "here", "usual")
    }
    assert rows["there"] == rows["here"]
    assert [rows[out]["convention"] for out in ("here", "usual")] == ["wide", "narrow"]
    assert float(rows["here"]["vertical_ratio"]) > float(rows["usual"]["vertical_ratio"]) + 0.2
    refused = run("refused", *here, "--convention", "clinic")
    assert refused.returncode == 1
    assert "no convention 'clinic'; there is narrow, wide" in refused.stderr
    assert "Traceback" not in refused.stderr
