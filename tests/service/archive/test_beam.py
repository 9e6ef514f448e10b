"""`cupdisc bulk` as a person runs it, with Apache Beam in an environment of its own (`make bulk`)."""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from model import engines, images
from model.images import Limits
from model.registry import open_registry
from model.segmenter import Segmenter
from service import table
from tests.drawn import draw_fundus
from tests.photographs import REPOSITORY, shared_data
from tests.service.conftest import EYE, draw_eye, encode
from tests.storage import Fault, FaultyProxy, Objects

COMMAND = REPOSITORY / ".venv-bulk" / "bin" / "cupdisc"
EYES = 500
KINDS = {"jpg": "JPEG", "png": "PNG", "tiff": "TIFF", "bmp": "BMP", "webp": "WEBP"}
DRAWN, REAL = 20, 20  # of the EYES / 5 pictures; the others are of two circles, whose ratio is known
PATIENCE_S = 480  # of a command; ten seconds where the cores are free

pytestmark = pytest.mark.skipif(
    not COMMAND.exists() and "CUPDISC_REQUIRE_BULK" not in os.environ,
    reason="no .venv-bulk; `make bulk` makes it",
)


BEGUN: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """After a test that failed in between."""
    yield
    while BEGUN:
        process = BEGUN.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()  # nobody read to its end what a killed one said


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [str(COMMAND), "bulk", *map(str, arguments)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    BEGUN.append(subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True, **piped))
    return BEGUN[-1]


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


def until(process: subprocess.Popen[str], what: Callable[[], object]) -> None:
    """Wait for it while the command works."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 small photographs in every format, in two folders with the same names in them. Not to be changed."""
    random, folder = np.random.default_rng(9), tmp_path_factory.mktemp("eyes")
    pictures = [*real_eyes(REAL), *(draw_fundus(random, 240, 260)[0] for _ in range(DRAWN))]
    circles = EYES // len(KINDS) - len(pictures)
    pictures += [draw_eye(320, 240, disc=30, cup=8 + 16 * number / circles) for number in range(circles)]
    for number, (picture, (suffix, kind)) in enumerate(itertools.product(pictures, KINDS.items())):
        file = folder / f"clinic {number % 2}" / f"{number // 2}.{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode(picture, kind))
    return folder


def real_eyes(count: int) -> list[np.ndarray]:
    """Small ones of real photographs; none where there are none here."""
    try:
        files = sorted((shared_data() / "refuge-crops" / "images").iterdir())[:count]
    except pytest.skip.Exception:
        return []
    return [np.asarray(Image.open(file).convert("RGB").resize((240, 240))) for file in files]


def test_apache_beam_and_all_else_agree_with_each_other():
    checked = subprocess.run([str(COMMAND.parent / "pip"), "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_runner_that_cannot_be_had_is_told_before_anything_is_written(eyes: Path, registry: Path, tmp_path: Path):
    """The second one needs a part of Beam that is not installed here."""
    runs = {}
    for name in ("NoRunner", "DataflowRunner"):
        runs[name] = started(eyes, tmp_path / name, "--registry", registry, "--runner", name)
    for name, process in runs.items():
        told, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1, told
        assert told.startswith(f"cupdisc: --runner {name}: "), told
        assert "Traceback" not in told
        assert not any((tmp_path / name).iterdir())


@pytest.mark.timeout(1200)
def test_a_killed_worker_a_version_that_disappears_and_bad_files(eyes: Path, registry: Path, tmp_path: Path):
    """One archive on two processes; what a kill leaves is continued, and every row is there once."""
    bad, out = tmp_path / "bad", tmp_path / "out"
    bad.mkdir()
    (bad / "cut.jpg").write_bytes(EYE[:3000])
    (bad / "gone.jpg").symlink_to(tmp_path / "nowhere")
    with (bad / "large.tiff").open("wb") as large:
        large.truncate(4 * 2**30)
    whole = (eyes, bad, out, "--registry", registry, "--workers", 2)

    process = started(*whole)
    segments = out / ".unfinished" / "segments"
    until(process, lambda: list(segments.glob("*.parquet")))
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, told
    assert "a worker's process ended" in told
    assert "the same command goes on" in told
    assert not (out / "_SUCCESS").exists()
    kept = {row["file"] for row in kept_rows(out)}
    assert 0 < len(kept) < EYES + 3

    shutil.move(registry / "disc-cup" / "2026.2.1", tmp_path / "taken-away")
    assert "2026.2.1" in run(*whole, code=1)
    shutil.move(tmp_path / "taken-away", registry / "disc-cup" / "2026.2.1")

    told = run(*whole, code=1)
    answered = rows(out)
    assert Counter(row["file"] for row in answered) == Counter(map(str, eyes.glob("clinic */*")))
    assert {row["version"] for row in answered} == {"2026.2.1"}
    done_before = len(kept & {row["file"] for row in answered})
    assert f"{EYES - done_before} answered" in told
    dead = {Path(str(row["file"])).name: row["error"] for row in rows(out, "failed")}
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
    measured = json.loads((out / "summary" / "metrics.json").read_text())
    found = measured["distributions"]
    assert found["load_model_latency_milli_secs"]["count"] == 2  # both workers
    assert 2 <= found["inference_request_batch_size"]["max"] <= 4
    assert found["inference_request_batch_size"]["sum"] == EYES - done_before
    assert min(found[name]["min"] for name in ("bytes", "read_us", "decode_us")) > 0
    assert measured["photographs_per_s"] == pytest.approx((EYES - done_before) / measured["seconds"], rel=0.01)
    file = max(eyes.glob("clinic 1/*.jpg"), key=lambda file: int(file.stem))  # two circles
    (row,) = (row for row in answered if row["file"] == str(file))
    expected = expected_row(registry, file)
    assert {name: row[name] for name in expected} == expected
    assert row["gradable"] is True
    assert row["engine"] == "openvino"
    assert row["precision"] in engines.PRECISIONS  # what really ran, not what was asked for
    assert row["bytes"] == file.stat().st_size
    assert all(float(str(row[f"{stage}_ms"])) > 0 for stage in ("read", "decode", "locate", "segment", "measure"))


def kept_rows(out: Path) -> list[dict[str, object]]:
    """What a run has written down so far, for the next one."""
    segments = (out / ".unfinished" / "segments").glob("*.parquet")
    return [row for file in segments for row in parquet.read_table(file).to_pylist()]


@pytest.mark.timeout(1200)
def test_a_version_that_is_removed_meanwhile_and_masks_on_disk(eyes: Path, registry: Path, tmp_path: Path):
    """A worker that has loaded the version goes on. One photograph has the longest name that a disk takes."""
    out, long = tmp_path / "out", tmp_path / "long" / f"{'o' * 251}.jpg"
    long.parent.mkdir()
    long.write_bytes(EYE)
    half = eyes / "clinic 0"
    process = started(half, long.parent, out, "--registry", registry, "--workers", 1, "--masks", "--convention", "wide")
    until(process, lambda: list((out / ".unfinished" / "segments").glob("*.parquet")))
    shutil.move(registry / "disc-cup" / "2026.2.1", tmp_path / "taken-away")
    assert len(kept_rows(out)) < EYES // 2
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    answered = rows(out)
    assert Counter(row["file"] for row in answered) == Counter(map(str, (*half.iterdir(), long)))
    assert {row["convention"] for row in answered} == {"wide"}
    assert json.loads((out / "made_with.json").read_text())["convention"] == "wide"
    assert "wide" in (out / "summary" / "summary.md").read_text()
    (row,) = (row for row in answered if row["file"] == str(long))
    mask = images.decode_labels((out / f"{row['output']}.disc.png").read_bytes(), Limits())
    assert np.count_nonzero(mask) == row["disc_area"]
    masks = {str(file.relative_to(out)) for file in (out / "masks").rglob("*.disc.png")}
    assert masks == {f"{row['output']}.disc.png" for row in answered if row["disc_area"]}


def expected_row(registry: Path, file: Path) -> dict[str, object]:
    """The same photograph through the segmenter alone."""
    segmenter = Segmenter(open_registry(str(registry)).open("production"))
    decoded = images.decode(file.read_bytes(), Limits(), segmenter.smallest_side)
    row = table.row_here(segmenter.segment([decoded])[0], segmenter)
    kinds = {name: kind for name, (kind, _) in table.COLUMNS.items() if kind in (int, float, str)}
    return {name: kinds[name](value) for name, value in row.items() if name in kinds and "confidence" not in name}


@pytest.mark.timeout(1200)
def test_a_bucket_and_what_comes_to_it_later(published: Path, objects: Objects, proxy: FaultyProxy):
    """Patterns that overlap, a list, an object that may not be read, masks, and a kill of all as tables are written.

    Then the same again with one object more and another one changed.
    """
    for name in ("a/left.jpg", "a/right.jpg", "b/left.jpg", "b/secret.jpg"):
        objects.write(f"in/{name}", EYE)
    objects.write("in/b/notes.txt", b"no photograph")
    objects.write("list.csv", b"file\nin/a/left.jpg\nin/a/gone.jpg\nin/b/notes.txt\n")
    where = f"gs://{objects.bucket}"
    secret, held = Fault(r"GET .*secret\.jpg.*alt=media", "status", 403), Fault("DELETE .*failed%2Fpart", "held")
    wanted = (f"{where}/in/**", f"{where}/in/a/*.jpg", "--list", f"{where}/list.csv", f"{where}/in/out")
    more = ("--registry", published, "--masks", "--workers", 2, "--shards", 64)

    proxy.set(secret, held)
    process = started(*wanted, *more)
    until(process, lambda: held.met)  # a worker has written its first table, and would go on to the next
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    held.released.set()
    assert objects.names("in/out/results/part-")
    assert objects.names("in/out/.unfinished/segments/")
    assert "in/out/_SUCCESS" not in objects.names("in/out/")
    objects.delete("in/out/.unfinished/lock")  # as after 150 s

    proxy.set(secret)
    told = run(*wanted, *more, code=1)
    assert "0 answered; 2 could not be used; 4 were done before" in told  # the gone one and the secret one
    assert "3 named more than once, counted once" in told
    found = tables(objects, "in/out/results/")
    photographs = [f"{where}/in/{name}" for name in ("a/left.jpg", "a/right.jpg", "b/left.jpg")]
    assert [row["file"] for row in found] == photographs
    codes = {str(row["file"]).rpartition("/")[2]: row["error"] for row in tables(objects, "in/out/failed/")}
    assert codes == {"gone.jpg": "object_not_found", "secret.jpg": "storage_denied", "notes.txt": "unsupported_format"}
    assert json.loads(objects.read("in/out/summary/counts.json"))["all"]["photographs"] == 6
    assert len({row["digest"] for row in found}) == 1  # the same photograph three times
    mask = images.decode_labels(objects.read(f"in/out/{found[0]['output']}.disc.png"), Limits())
    assert np.count_nonzero(mask) == found[0]["disc_area"]

    proxy.set()
    objects.write("in/c/new.jpg", EYE)
    objects.write("in/a/right.jpg", encode(draw_eye(cup=40)))
    told = run(*wanted, *more, code=1)
    assert "3 answered" in told  # the new, the changed and the secret one; the masks of this run are no photographs
    assert "3 were done before" in told
    again = tables(objects, "in/out/results/")
    assert [row["file"] for row in again] == [*photographs, f"{where}/in/b/secret.jpg", f"{where}/in/c/new.jpg"]
    assert again[0] == found[0]
    assert float(str(again[1]["vertical_ratio"])) > float(str(found[1]["vertical_ratio"])) + 0.1
    assert again[1]["revision"] != found[1]["revision"]
    assert objects.read("in/out/_SUCCESS") == b""
    assert not objects.names("in/out/.unfinished")


def tables(objects: Objects, beginning: str) -> list[dict[str, object]]:
    """The rows of all tables whose name begins so, by photograph."""
    read = (parquet.read_table(io.BytesIO(objects.read(name))) for name in objects.names(beginning))
    return sorted((row for table in read for row in table.to_pylist()), key=lambda row: str(row["file"]))
