"""The command `cupdisc`, run as a person would run it: in its own process."""

import contextlib
import csv
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_app import NEWEST, OLDER, damage
from tests.service.test_uploads import serve

WATCHED = """
import sys
connections = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        connections.append((event, str(arguments[1:])))
sys.addaudithook(watch)
from service.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "openvino_telemetry"})
    print("CONNECTIONS", connections, "HEAVY", heavy, flush=True)
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A started `cupdisc serve` that is watched for connections, and its address."""
    command = [sys.executable, "-c", WATCHED, "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield process, found[0]
                break
        else:
            pytest.fail("the service did not start")
    finally:
        process.kill()
        process.communicate()


def test_a_served_photograph_needs_no_tensorflow_and_no_other_host(published: Path) -> None:
    with serving("--registry", str(published)) as (process, address):
        for path in ("/docs", "/v1/versions", "/health/ready"):
            urllib.request.urlopen(address + path).read()
        url = f"{address}/v1/segmentations?masks=none&version=production&name=Jane%20Doe"
        request = urllib.request.Request(url, EYE, {"content-type": "image/jpeg"})
        answer = json.load(urllib.request.urlopen(request))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert answer["cup_to_disc_ratio"]["vertical"] == pytest.approx(0.5, abs=0.03)
    assert "CONNECTIONS [] HEAVY []" in out
    assert '"route": "/v1/segmentations", "status": 200' in err
    assert "Jane" not in out + err  # neither queries nor names are logged


def test_a_corrupt_version_is_refused_by_file_name(registry: Path) -> None:
    damage(registry, NEWEST)
    damage(registry, OLDER, "card.md")
    result = run("serve", "--port", "0", "--registry", registry)
    assert result.returncode != 0
    assert "segmenter/saved_model.pb" in result.stderr
    assert "card.md" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--registry", "/nowhere"], "no version in /nowhere"),
        (["--registry", "gs://bucket"], "gs://bucket"),
        (["--version", "2020.1.1"], "2020.1.1"),
        (["--engine", "abacus"], "engine"),
        (["--port", "70000"], "--port"),
        (["--host", "0.0.0.0"], "CUPDISC_OPEN"),
        (["--host", "0.0.0.0", "--workers", "2"], "CUPDISC_OPEN"),
    ],
)
def test_what_cannot_work_stops_the_start_and_is_named(published: Path, arguments: list[str], named: str) -> None:
    given = arguments if "--registry" in arguments else ["--registry", str(published), *arguments]
    result = run("serve", *given)
    assert result.returncode != 0
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_segment_writes_overlay_masks_and_table(published: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    good, same_name, bad, blank = (tmp_path / name for name in ("eye.jpg", "other/eye.png", "bad.jpg", "blank.png"))
    good.write_bytes(EYE)
    same_name.write_bytes(encode(draw_eye(cup=0), "PNG"))
    bad.write_bytes(EYE[:1000])
    blank.write_bytes(encode(np.zeros((100, 100, 3), np.uint8), "PNG"))
    out = tmp_path / "out"
    arguments = [
        "segment",
        good,
        same_name,
        bad,
        blank,
        tmp_path / "missing.jpg",
        "--out",
        out,
        "--registry",
        published,
    ]

    result = run(*arguments)
    assert result.returncode == 1
    assert "bad.jpg" in result.stderr
    assert "missing.jpg" in result.stderr
    assert "Traceback" not in result.stderr
    assert "3 of 5" in result.stdout

    rows = list(csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["output"] for row in rows] == ["eye", "eye-2", "", "blank", ""]
    assert [row["error"] for row in rows] == ["", "", "unreadable_photograph", "", "cannot_be_read"]
    assert [row["gradable"] for row in rows] == ["true", "false", "", "false", ""]
    assert float(rows[0]["vertical_ratio"]) == pytest.approx(0.5, abs=0.03)
    assert rows[1]["reasons"] == "cup_uncertain"
    assert rows[1]["vertical_ratio"] == ""
    assert {path.name for path in out.iterdir()} == {
        *("results.csv", "eye.overlay.png", "eye.disc.png", "eye.cup.png"),
        *("eye-2.overlay.png", "eye-2.disc.png", "blank.overlay.png"),
    }
    mask = np.asarray(Image.open(out / "eye.disc.png"))
    assert np.count_nonzero(mask) == int(rows[0]["disc_area"])

    before = (out / "results.csv").read_bytes()
    again = run(*arguments)
    assert again.returncode == 1
    assert "results.csv" in again.stderr
    assert (out / "results.csv").read_bytes() == before
    assert run("segment", good, "--out", out, "--registry", published, "--overwrite").returncode == 0


def test_segment_by_a_service_writes_the_same(published: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("eye.jpg", "cupless.png", "bad.jpg", "missing.jpg")]
    for file, content in zip(files, (EYE, encode(draw_eye(cup=0), "PNG"), EYE[:1000]), strict=False):
        file.write_bytes(content)
    here, there = tmp_path / "here", tmp_path / "there"
    choices = ["--version", OLDER]
    assert run("segment", *files, "--out", here, "--registry", published, *choices).returncode == 1
    with serve(create_app(Settings(registry=str(published)))) as port:
        result = run("segment", *files, "--out", there, "--url", f"http://127.0.0.1:{port}", *choices)
    assert result.returncode == 1
    assert "bad.jpg" in result.stderr
    assert "2 of 4" in result.stdout
    assert (here / "results.csv").read_text(encoding="utf-8").count(OLDER) == 2
    for file in here.iterdir():
        assert (there / file.name).read_bytes() == file.read_bytes()
    assert len(list(there.iterdir())) == len(list(here.iterdir()))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--url", "http://127.0.0.1:9"], "refused"),
        (["--url", "nowhere"], "nowhere"),
        (["--url", "http://127.0.0.1:9", "--registry", "x"], "--registry"),
        (["--url", "http://127.0.0.1:9", "--engine", "openvino"], "--engine"),
    ],
)
def test_a_service_that_cannot_be_used_is_named(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "eye.jpg").write_bytes(EYE)
    result = run("segment", tmp_path / "eye.jpg", "--out", tmp_path / "out", *arguments)
    assert result.returncode != 0
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_versions_names_what_is_wrong(registry: Path) -> None:
    good = run("versions", "--registry", registry)
    assert good.returncode == 0
    assert re.search(rf"{NEWEST}\s+production\s+\S+\s+good", good.stdout)
    damage(registry, OLDER)
    bad = run("versions", "--registry", registry)
    assert bad.returncode == 1
    assert "segmenter/saved_model.pb" in bad.stdout
