"""`cupdisc bulk` as a person runs it, with Apache Beam in an environment of its own (`make bulk`)."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from model import images
from model.images import Limits
from model.registry import open_registry
from model.segmenter import Segmenter
from service import table
from tests.photographs import REPOSITORY
from tests.service.conftest import EYE, draw_eye, encode
from tests.storage import Fault, FaultyProxy, Objects

COMMAND = REPOSITORY / ".venv-bulk" / "bin" / "cupdisc"
EYES = 200  # enough for a kill to come in between
PATIENCE_S = 240

pytestmark = pytest.mark.skipif(
    not COMMAND.exists() and "CUPDISC_REQUIRE_BULK" not in os.environ,
    reason="no .venv-bulk; `make bulk` makes it",
)


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [str(COMMAND), "bulk", *map(str, arguments)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True, **piped)


def run(*arguments: object, code: int = 0, **environment: str) -> str:
    process = started(*arguments, **environment)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, told
    return told


def rows(out: Path, place: str = "results") -> list[dict[str, object]]:
    return parquet.read_table(out / place).to_pylist() if (out / place).exists() else []


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Beam's workers, which it starts through a shell in the command's session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
        except (OSError, ValueError):
            continue
        if session == process.pid and words[-2:-1] == [b"service.archive.worker_process"] and b"-c" not in words:
            found.append(int(entry.name))
    return found


def test_apache_beam_and_all_else_agree_with_each_other():
    checked = subprocess.run([str(COMMAND.parent / "pip"), "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.timeout(600)
def test_a_killed_worker_a_version_that_disappears_and_bad_files(registry: Path, tmp_path: Path):
    """One archive in two folders, on two processes; what a kill leaves is continued, and every row is there once."""
    eyes, out = tmp_path / "eyes", tmp_path / "out"
    for number in range(EYES):
        file = eyes / f"clinic {number % 2}" / f"{number // 2}.jpg"  # each name twice
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(draw_eye(cup=20 + number % 30)))
    (eyes / "cut.jpg").write_bytes(EYE[:3000])
    (eyes / "gone.jpg").symlink_to(tmp_path / "nowhere")
    with (eyes / "large.tiff").open("wb") as large:
        large.truncate(4 * 2**30)
    whole = (eyes, out, "--registry", registry, "--workers", 2)

    process = started(*whole)
    segments = out / ".unfinished" / "segments"
    deadline = time.monotonic() + PATIENCE_S
    while not list(segments.glob("*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, told
    assert "a worker's process ended" in told
    assert "the same command goes on" in told
    assert not (out / "_SUCCESS").exists()
    kept = {row["file"] for file in segments.glob("*.parquet") for row in parquet.read_table(file).to_pylist()}
    assert 0 < len(kept) < EYES + 3

    shutil.move(registry / "disc-cup" / "2026.2.1", tmp_path / "taken-away")
    assert "2026.2.1" in run(*whole, code=1)
    shutil.move(tmp_path / "taken-away", registry / "disc-cup" / "2026.2.1")

    told = run(*whole, code=1)
    answered = rows(out)
    assert Counter(row["file"] for row in answered) == Counter(map(str, eyes.glob("clinic */*.jpg")))
    assert {row["version"] for row in answered} == {"2026.2.1"}
    done_before = len(kept & {row["file"] for row in answered})
    assert f"{EYES - done_before} answered" in told
    dead = {Path(row["file"]).name: row["error"] for row in rows(out, "failed")}
    assert dead == {"cut.jpg": "unreadable_photograph", "gone.jpg": "cannot_be_read", "large.tiff": "too_many_bytes"}
    assert (out / "_SUCCESS").exists()
    assert not (out / ".unfinished").exists()
    counted = json.loads((out / "summary" / "counts.json").read_text())
    assert counted["all"]["photographs"] == EYES + 3
    assert counted["folders"][f"{eyes}/clinic 1"]["answered"] == EYES // 2
    text = (out / "summary" / "summary.md").read_text()
    assert f"| {eyes}/clinic 0 | {EYES // 2} |" in text
    for name in ("ratios", "reasons", "drift"):
        assert images.decode((out / "summary" / f"{name}.png").read_bytes(), Limits()).pixels.shape[2] == 3
    expected = expected_row(registry, eyes / "clinic 1" / "7.jpg")
    (same,) = (row for row in answered if str(row["file"]).endswith("clinic 1/7.jpg"))
    assert {name: same[name] for name in expected} == expected


def expected_row(registry: Path, file: Path) -> dict[str, object]:
    """The same photograph through the segmenter alone."""
    segmenter = Segmenter(open_registry(str(registry)).open("production"))
    decoded = images.decode(file.read_bytes(), Limits(), segmenter.smallest_side)
    row = table.row_here(segmenter.segment([decoded])[0], segmenter)
    kinds = {name: kind for name, (kind, _) in table.COLUMNS.items() if kind in (int, float, str)}
    return {name: kinds[name](value) for name, value in row.items() if name in kinds and "confidence" not in name}


@pytest.mark.timeout(600)
def test_a_bucket_and_what_comes_to_it_later(published: Path, objects: Objects, proxy: FaultyProxy):
    """Patterns that overlap, a list, an object that may not be read, masks; then the same again with one more."""
    for name in ("a/left.jpg", "a/right.jpg", "b/left.jpg", "b/secret.jpg"):
        objects.write(f"in/{name}", EYE)
    objects.write("in/b/notes.txt", b"no photograph")
    objects.write("list.csv", b"file\nin/a/left.jpg\nin/a/gone.jpg\nin/b/notes.txt\n")
    where = f"gs://{objects.bucket}"
    proxy.set(Fault(r"GET .*secret\.jpg.*alt=media", "status", 403))
    wanted = (f"{where}/in/**", f"{where}/in/a/*.jpg", "--list", f"{where}/list.csv", f"{where}/in/out")
    more = ("--registry", published, "--masks", "--workers", 1, "--shards", 1)

    told = run(*wanted, *more, code=1)
    assert "3 named more than once, counted once" in told
    found = table_of(objects, "in/out/results/part-00000-of-00001.parquet")
    photographs = [f"{where}/in/{name}" for name in ("a/left.jpg", "a/right.jpg", "b/left.jpg")]
    assert [row["file"] for row in found] == photographs
    dead = table_of(objects, "in/out/failed/part-00000-of-00001.parquet")
    codes = {str(row["file"]).rpartition("/")[2]: row["error"] for row in dead}
    assert codes == {"gone.jpg": "object_not_found", "secret.jpg": "storage_denied", "notes.txt": "unsupported_format"}
    assert len({row["digest"] for row in found}) == 1  # the same photograph three times
    mask = images.decode_labels(objects.read(f"in/out/{found[0]['output']}.disc.png"), Limits())
    assert np.count_nonzero(mask) == found[0]["disc_area"]

    proxy.set()
    objects.write("in/c/new.jpg", EYE)
    told = run(*wanted, *more, code=1)
    assert "2 answered" in told  # the new one and the secret one; the masks of this run are no photographs
    assert "4 were done before" in told
    found = table_of(objects, "in/out/results/part-00000-of-00001.parquet")
    assert [row["file"] for row in found] == [*photographs, f"{where}/in/b/secret.jpg", f"{where}/in/c/new.jpg"]
    assert objects.read("in/out/_SUCCESS") == b""
    assert not objects.names("in/out/.unfinished")


def table_of(objects: Objects, name: str) -> list[dict[str, object]]:
    import io

    return parquet.read_table(io.BytesIO(objects.read(name))).to_pylist()
