"""The whole chain on drawn photographs, as a user types it: prepare → train → publish → evaluate → serve."""

import base64
import csv
import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.settings import Settings
from training import cli
from training.metrics import dice
from training.sources.folder import read_source

NEW = 10
pytestmark = pytest.mark.timeout(900)  # the first one waits for the chain, which a busy machine draws out


def run(*arguments: str) -> None:
    """`cupdisc-train` with these arguments; says how long it took, which `pytest -s` shows."""
    before, started, worked = sys.argv, time.perf_counter(), time.process_time()
    sys.argv = ["cupdisc-train", *arguments]
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code, arguments
    finally:
        sys.argv = before
    wall, processor = time.perf_counter() - started, time.process_time() - worked
    sys.stdout.write(f"{arguments[0]}: {wall:.1f} s, {processor:.1f} s of processor time\n")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything: data, new (drawn with another seed), cache, run, registry and report."""
    folder = tmp_path_factory.mktemp("chain")
    run("synthetic", "--out", f"{folder}/data/drawn", "--count", "40", "--seed", "1")
    run("synthetic", "--out", f"{folder}/new/drawn", "--count", str(NEW), "--seed", "2")
    run("prepare", "smoke", "--data", f"{folder}/data", "--cache", f"{folder}/cache", "--diameters", "2")
    run("train", "smoke", "--data", f"{folder}/data", "--cache", f"{folder}/cache", "--out", f"{folder}/run")
    registry = f"{folder}/registry"
    run("publish", f"{folder}/run", "--data", f"{folder}/data", "--registry", registry, "--alias", "production")
    evaluate = ("evaluate", "production", "--registry", registry, "--preset", "smoke", "--data", f"{folder}/new")
    run(*evaluate, "--all", "--report", f"{folder}/report")
    return folder


def test_new_photographs_are_outlined(chain: Path):
    rows = list(csv.DictReader((chain / "report" / "photographs.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == NEW
    assert np.mean([float(row["disc_dice"]) for row in rows]) >= 0.9
    assert np.mean([float(row["cup_dice"]) for row in rows]) >= 0.6
    assert (chain / "report" / "report.html").stat().st_size > 10_000


def test_the_service_outlines_them_too(chain: Path):
    agreed = []
    drawings_only = Settings(registry=str(chain / "registry"), probe=False)  # the probe is a photograph of a real eye
    with TestClient(create_app(drawings_only)) as client:
        for example in read_source(chain / "new" / "drawn", "drawn"):
            answer = client.post("/v1/segmentations", files={"image": example.image.read_bytes()})
            assert answer.status_code == 200, answer.text
            photograph = example.read_photograph()
            truth = example.read_labels(photograph.shape[:2]) > 0
            disc = answer.json()["disc"]
            drawn = np.zeros_like(truth)
            if disc is not None:
                drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(disc["mask"]["data"])))) > 0
            agreed.append(dice(drawn, truth))
    assert len(agreed) == NEW
    assert np.mean(agreed) >= 0.9
