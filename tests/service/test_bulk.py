"""A bulk run: killed, starved of room, given bad files. Always in its own process, as a person runs it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from typer.testing import CliRunner

from model.images import Limits
from service import bulk, problems
from service.app import create_app
from service.bulk import Run
from service.cli import app
from service.files import find
from service.settings import Settings
from service.worker import Here, Job
from tests.service.conftest import EYE, draw_eye, encode
from tests.service.test_cli import run
from tests.service.test_uploads import serve

ROWS = 18


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that differ, in folders where names come up twice, and one that is none."""
    folder = tmp_path_factory.mktemp("eyes")
    for number in range(ROWS - 1):
        file = folder / f"clinic {number % 3}" / f"eye{number // 3}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode(draw_eye(cup=20 + number)))
    (folder / "clinic 0" / "cut.jpg").write_bytes(EYE[:5000])
    return folder


@pytest.fixture(scope="module")
def unbroken(eyes: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    assert run("segment", eyes, "--out", out, "--registry", published).returncode == 1
    return out


def started(*arguments: object, shell: str = "") -> subprocess.Popen[str]:
    """A run in the background, perhaps after some shell. It gives way to the test, which has to see it unfinished."""
    command = [sys.executable, "-m", "service", "segment", *map(str, arguments)]
    if shell:
        command = ["bash", "-c", f'{shell}; exec "$@"', "bash", *command]
    return subprocess.Popen(["nice", "-n", "19", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def journal(out: Path) -> list[dict[str, object]]:
    file = out / ".unfinished" / "journal.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]  # the last one may be half written


def wait_for(rows: int, out: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(journal(out)) < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_over_folders_gives_each_photograph_a_row_and_its_pictures(eyes: Path, unbroken: Path) -> None:
    rows = list(csv.DictReader((unbroken / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["file"] for row in rows] == sorted(str(path) for path in eyes.rglob("*.jpg"))
    assert [row["error"] for row in rows if row["error"]] == ["unreadable_photograph"]
    names = {row["output"] for row in rows if row["output"]}
    assert names == {f"clinic {number % 3}/eye{number // 3}" for number in range(ROWS - 1)}
    pictures = {f"{name}.{kind}.png" for name in names for kind in ("disc", "cup", "overlay")}
    assert contents(unbroken).keys() == pictures | {"results.csv"}
    ratios = {row["file"][-17:]: float(row["vertical_ratio"]) for row in rows if row["output"]}
    assert ratios["clinic 1/eye4.jpg"] == pytest.approx(33 / 60, abs=0.03)


def test_killed_and_continued_gives_what_an_unbroken_run_gives(
    eyes: Path, unbroken: Path, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [eyes, "--out", out, "--registry", published]
    for rows in (4, 8):  # killed twice
        process = started(*arguments)
        wait_for(rows, out, process)
        workers = children(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (out / "results.csv").exists()
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{worker}").exists() for worker in workers):  # they notice, and nobody has to kill them
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with (out / ".unfinished" / "journal.jsonl").open("ab") as file:
        file.write(b'{"row": {"file": "torn')
    done = len([entry for entry in journal_of_whole_lines(out) if "output" in entry["row"]])
    (out / ".unfinished" / "4711.png").write_bytes(b"half a mask")

    result = run("segment", *arguments)
    assert result.returncode == 1  # the bad file is still bad
    assert f"{done} of {ROWS} were done before" in result.stderr
    assert contents(out) == contents(unbroken)


def journal_of_whole_lines(out: Path) -> list[dict[str, dict[str, str]]]:
    lines = (out / ".unfinished" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize(
    ("kib", "options"), [(2, []), (6, ["--no-masks", "--no-overlays"])], ids=["pictures", "journal"]
)
def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(
    kib: int, options: list[str], eyes: Path, unbroken: Path, published: Path, tmp_path: Path
) -> None:
    """A real limit on the size of a file in place of a disk that is full: the error comes from the kernel alike."""
    out = tmp_path / "out"
    arguments = [eyes, "--out", out, "--registry", published, *options]
    process = started(*arguments, shell=f"ulimit -f {kib}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "File too large" in err
    assert "Traceback" not in err
    assert not list(out.rglob("results.csv"))
    assert all(contents(unbroken)[name] == content for name, content in contents(out).items() if name[0] != ".")
    assert run("segment", *arguments).returncode == 1
    assert (out / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()


def test_a_worker_that_is_killed_costs_nothing(eyes: Path, unbroken: Path, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(eyes, "--out", out, "--registry", published, "--workers", "1")
    wait_for(3, out, process)
    os.kill(children(process)[0], signal.SIGKILL)
    told, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert f"{ROWS - 1} of {ROWS} done" in told
    assert contents(out) == contents(unbroken)


CRASHING = """
import os, sys
from model import images
decode = images.decode
images.decode = lambda data, *rest: os.abort() if data == b"crash" else decode(data, *rest)
from service.worker import main
main(int(sys.argv[1]))
"""


def test_photographs_that_crash_or_never_end_are_found_and_given_up(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among others that were at hand at the same time. The crash stands for one in a decoder's C code."""
    monkeypatch.setattr(bulk, "LONGEST_S", 5.0)
    monkeypatch.setattr(bulk, "START_WORKER", CRASHING)
    names = ("a.jpg", "b.jpg", "crash.jpg", "d.jpg", "pipe.jpg", "f.jpg")
    for name in names:
        (tmp_path / name).write_bytes(b"crash" if name == "crash.jpg" else EYE)
    (tmp_path / "pipe.jpg").unlink()
    os.mkfifo(tmp_path / "pipe.jpg")  # nobody will ever write to it
    out = tmp_path / "out"
    job = Job(Here(str(published), "2026.2.1", "auto", "auto"), Limits(), out, masks=True, overlays=False)
    finished = {one.file.name: one.wrong for one in Run(find([tmp_path / name for name in names], out), job, 1)}
    assert finished.pop("crash.jpg") == "its process ended by signal 6"
    assert "not done after 5 s" in str(finished.pop("pipe.jpg"))
    assert set(finished.values()) == {None}
    rows = list(csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["error"] for row in rows] == ["", "", "worker_ended", "", "took_too_long", ""]


def test_what_cannot_be_read_is_reported_and_skipped(published: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "eyes"
    (photographs / "closed").mkdir(parents=True)
    odd = os.fsdecode(b"caf\xe9,\n=1.jpg")  # no UTF-8, a comma and a line end
    for name in ("good.jpg", "secret.jpg", odd):
        (photographs / name).write_bytes(EYE)
    (photographs / "empty.jpg").write_bytes(b"")
    for closed in ("secret.jpg", "closed"):
        (photographs / closed).chmod(0)
    command = [sys.executable, "-m", "service", "segment", str(photographs), "--out", str(tmp_path / "out")]
    command += ["--registry", str(published), "--parquet"]
    if os.geteuid() == 0:  # who may do everything, unless told otherwise
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv can read everything")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *command]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    (photographs / "closed").chmod(0o755)
    assert result.returncode == 1, result.stderr
    assert "secret.jpg: Permission denied" in result.stderr
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row["error"] for row in csv.DictReader(file)}
    assert rows == {
        f"{photographs}/caf\\udce9,\n=1.jpg": "",
        f"{photographs}/closed": "cannot_be_read",
        f"{photographs}/empty.jpg": "empty_photograph",
        f"{photographs}/good.jpg": "",
        f"{photographs}/secret.jpg": "cannot_be_read",
    }
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [row["file"] for row in table] == list(rows)
    assert [row["disc_area"] is None for row in table] == [False, True, True, False, True]
    assert table[3]["gradable"] is True
    assert isinstance(table[3]["vertical_ratio"], float)


def refused(arguments: Sequence[object], named: str) -> None:
    result = CliRunner().invoke(app, ["segment", *map(str, arguments)])
    assert result.exit_code == 1
    assert named in result.stderr


def test_what_cannot_work_is_refused_before_anything_is_written(published: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "eye.jpg").write_bytes(EYE)
    (tmp_path / "file").write_bytes(b"")
    eye = tmp_path / "eye.jpg"
    refused([tmp_path / "empty", "--out", tmp_path / "out", "--registry", published], "no photograph")
    refused([eye, "--out", tmp_path / "file", "--registry", published], "file")
    refused([eye, "--out", "/proc/nowhere", "--registry", published], "/proc/nowhere")
    refused([eye, "--out", tmp_path / "out", "--registry", tmp_path / "empty"], "no version")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "eye.jpg", "file"]


def test_without_pyarrow_parquet_is_refused_with_the_remedy(published: Path, tmp_path: Path) -> None:
    (tmp_path / "eye.jpg").write_bytes(EYE)
    without = "import sys; sys.modules['pyarrow'] = None; from service.cli import app; app(sys.argv[1:])"
    arguments = ["segment", tmp_path / "eye.jpg", "--out", tmp_path / "out", "--registry", published, "--parquet"]
    command = [sys.executable, "-c", without, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "cupdisc[parquet]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_its_own(published: Path, tmp_path: Path) -> None:
    """Neither two at once, nor one that goes on with other networks or another wish; a changed photograph is redone."""
    eyes, out = tmp_path / "eyes", tmp_path / "out"
    eyes.mkdir()
    for number in range(8):
        (eyes / f"{number}.jpg").write_bytes(encode(draw_eye(cup=20 + number)))
    arguments = [eyes, "--out", out, "--registry", published, "--no-overlays"]
    process = started(*arguments)
    wait_for(2, out, process)
    process.send_signal(signal.SIGSTOP)
    refused(arguments, "another run is at work")
    refused([*arguments, "--overwrite"], "another run is at work")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    refused([*arguments, "--version", "2026.1.1"], "--overwrite")
    refused([*arguments[:-1]], "overlays False, now True")
    first = Path(str(journal_of_whole_lines(out)[0]["row"]["file"]))
    first.write_bytes(encode(draw_eye(cup=50)))
    assert run("segment", *arguments).returncode == 0
    rows = {row["file"]: row for row in csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines())}
    assert len(rows) == 8
    assert float(rows[str(first)]["vertical_ratio"]) == pytest.approx(50 / 60, abs=0.03)
    assert not list(out.glob("*.overlay.png"))
    assert run("segment", *arguments, "--overwrite", "--version", "2026.1.1").returncode == 0
    assert (out / "results.csv").read_text(encoding="utf-8").count("2026.1.1") == 8


def test_ctrl_c_says_how_to_go_on(eyes: Path, published: Path, tmp_path: Path) -> None:
    out, many = tmp_path / "out", tmp_path / "many"
    for number in range(8):  # so many that none of them is the last one when the signal comes
        shutil.copytree(eyes, many / str(number))
    process = started(many, "--out", out, "--registry", published, "--no-masks", "--no-overlays")
    wait_for(2, out, process)
    workers = children(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    deadline = time.monotonic() + 60  # a worker sees that nobody listens any more once it has its turn on the core
    while [worker for worker in workers if Path(f"/proc/{worker}").exists()]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Failing:
    """A service that answers so many photographs, then gives another answer until it is mended."""

    app: Any
    answers: int = 0
    refusal: Response | None = None
    sent: list[str] = field(default_factory=list)  # what photographs were posted to

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            self.sent.append(scope["path"])
        failing = self.refusal if len(self.sent) > self.answers else None
        await (failing or self.app)(scope, receive, send)


@pytest.fixture
def failing(published: Path) -> Iterator[tuple[Failing, str]]:
    service = Failing(create_app(Settings(registry=str(published))))
    with serve(service) as port:
        yield service, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Response("<html>Bad Gateway</html>", 500, media_type="text/html"), "status 500"),
        (problems.problem(401, "key_expired", "the key has expired"), "the key has expired"),
        (problems.problem(404, "version_not_found", "no version 2026.1.1"), "no version 2026.1.1"),
        (problems.problem(503, "overloaded", "32 are waiting", {"Retry-After": "3600"}), "32 are waiting"),
        (problems.problem(429, "rate_exceeded", "too many", {"Retry-After": "3600"}), "too many"),
    ],
)
def test_a_service_that_fails_stops_the_run_and_the_same_command_goes_on(
    refusal: Response, said: str, failing: tuple[Failing, str], tmp_path: Path
) -> None:
    service, url = failing
    files = [tmp_path / name for name in ("1.jpg", "2-cut.jpg", "3.jpg", "4.jpg")]
    for file in files:
        file.write_bytes(EYE[:5000] if "cut" in file.name else EYE)
    out = tmp_path / "out"
    arguments = ["segment", *files, "--out", out, "--url", url, "--workers", "1", "--no-masks", "--no-overlays"]
    service.answers, service.refusal = 2, refusal
    stopped = run(*arguments)
    assert stopped.returncode == 3, stopped.stderr
    assert f"3.jpg: {said}" in stopped.stderr
    assert "2 of 4 are done, the same command goes on" in stopped.stderr
    assert not (out / "results.csv").exists()

    service.refusal = None
    assert run(*arguments).returncode == 1  # the bad file is still bad
    rows = list(csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["error"] for row in rows] == ["", "unreadable_photograph", "", ""]


@pytest.mark.parametrize(
    ("option", "said"), [("--version", "no alias 'nope'"), ("--convention", "no convention 'nope'")]
)
def test_a_service_that_cannot_do_it_is_sent_no_photograph(
    option: str, said: str, failing: tuple[Failing, str], tmp_path: Path
) -> None:
    service, url = failing
    (tmp_path / "eye.jpg").write_bytes(EYE)
    result = run("segment", tmp_path / "eye.jpg", "--out", tmp_path / "out", "--url", url, option, "nope")
    assert result.returncode == 1
    assert said in result.stderr
    assert service.sent == []
    assert not (tmp_path / "out").exists()
