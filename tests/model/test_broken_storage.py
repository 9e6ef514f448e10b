"""A registry on Cloud Storage changes at once or not at all, whatever network, cloud, disk and kill -9 do."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model import artefact
from model.bucket import Bucket, Patience
from model.cloud_registry import CloudRegistry
from model.errors import BucketNotFound, StorageDenied, StorageError, StorageUnavailable
from tests.model.cloud import FIRST, SECOND, THIRD, contents, open_at
from tests.storage import Fault, FaultyProxy, Objects
from tests.versions import stage

SHORT = Patience(attempt_s=1.0, whole_s=1.5)
CARD, LARGE_BYTES = "card.md", 2**20  # a file that arrives in many pieces
OBJECTS = "/o"  # not of the bucket itself, for which Google's client asks in a thread of its own, at any time


def test_a_missing_bucket_is_named(proxy: FaultyProxy, tmp_path: Path) -> None:
    for call in (CloudRegistry.versions, CloudRegistry.aliases, CloudRegistry.resolve):
        with pytest.raises(BucketNotFound, match="gs://no-such-bucket"):
            call(CloudRegistry(Bucket("gs://no-such-bucket/models", SHORT), tmp_path))


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_is_named_and_not_tried_again(published: CloudRegistry, proxy: FaultyProxy, status: int) -> None:
    fault = Fault("aliases.json", "status", status)
    proxy.set(fault)
    with pytest.raises(StorageDenied, match=r"gs://bucket-.*aliases\.json"):
        published.aliases()
    assert fault.met == 1


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("", "status", status, times=2) for status in (429, 500, 503)),
        Fault("", "down", times=2),
        Fault("variables", "truncated", times=1),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.value}",
)
def test_what_passes_by_itself_is_waited_for(published: CloudRegistry, proxy: FaultyProxy, fault: Fault) -> None:
    fault.met = 0
    proxy.set(fault)
    assert published.open(FIRST).manifest.version == FIRST
    assert fault.met == fault.times


def test_who_had_no_answer_in_time_asks_again_later_and_later(
    published: CloudRegistry, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)  # the pauses without their jitter
    proxy.set(Fault("aliases.json", "slow", 3.0, times=1), Fault("aliases.json", "status", 503, times=2))
    registry = CloudRegistry(Bucket(str(published), Patience(attempt_s=1.0, whole_s=60.0)), Path(str(published.copies)))
    proxy.seen_at.clear()
    assert registry.aliases() == {"production": FIRST}
    pauses = [later - earlier for earlier, later in itertools.pairwise(proxy.seen_at[:4])]
    least = (1.0 + 0.2, 0.4, 0.8)  # the first after a second without an answer; each twice as long as the one before
    assert all(pause > 0.98 * one for pause, one in zip(pauses, least, strict=True)), pauses


@pytest.mark.parametrize(
    "fault", [Fault("", "down"), Fault("", "status", 500), Fault("", "slow", 2.0)], ids=lambda f: f.kind
)
def test_what_does_not_pass_is_given_up_in_time(published: CloudRegistry, proxy: FaultyProxy, fault: Fault) -> None:
    proxy.set(fault)
    registry = CloudRegistry(Bucket(str(published), SHORT), Path(str(published.copies)))
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        registry.aliases()
    assert time.monotonic() - started < 30  # and not Google's two minutes


def test_an_answer_that_got_lost_is_no_conflict(objects: Objects, proxy: FaultyProxy, tmp_path: Path) -> None:
    """The object was written, the answer was not heard, and the second attempt meets our own object."""
    faults = [Fault(r"^POST .*upload", "lost", times=1)]
    proxy.set(*faults)
    registry = open_at(objects, tmp_path / "copies")
    registry.publish(stage(tmp_path / FIRST, FIRST).folder)
    assert faults[0].met == 1
    proxy.set(Fault(r"^POST .*upload", "lost", times=1))
    registry.set_alias("production", FIRST, expected=None)
    assert registry.open("production").manifest.version == FIRST


def test_a_broken_upload_can_be_run_again(objects: Objects, proxy: FaultyProxy, tmp_path: Path) -> None:
    registry, staged = open_at(objects, tmp_path / "copies"), stage(tmp_path / FIRST, FIRST).folder
    for sent in range(1, len(contents(staged))):
        proxy.set(Fault("^POST .*upload", "slow", 0, times=sent), Fault("^POST .*upload", "status", 400))
        with pytest.raises(StorageError):
            registry.publish(staged)
        assert (registry.versions(), registry.incomplete()) == ([], [FIRST])
    proxy.set()
    registry.publish(staged)
    assert contents(registry.open(FIRST).folder) == contents(staged)


def test_a_full_disk_is_named_and_leaves_nothing(published: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    """A process may write no file beyond 20 bytes: what a full disk looks like from inside."""
    program = f"""
import resource, sys
from pathlib import Path
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.errors import NoRoom
registry = CloudRegistry(Bucket({str(published)!r}), Path({str(tmp_path / "full")!r}))
registry.aliases()
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    registry.open({SECOND!r})
except NoRoom as error:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert open_at(objects, tmp_path / "full").copies.versions() == []
    assert open_at(objects, tmp_path / "full").open(SECOND).manifest.version == SECOND


@pytest.mark.parametrize(("doing", "kind"), [("publish", "held"), ("download", "held"), ("download", "half")])
def test_killed_anywhere_registry_and_copies_are_whole(
    published: CloudRegistry, objects: Objects, proxy: FaultyProxy, tmp_path: Path, doing: str, kind: str
) -> None:
    """kill -9 in the middle of each request in turn: the proxy holds it, or half its answer, until the process is dead.

    So one kill meets a file of which a half was written.
    """
    staged = stage(tmp_path / THIRD, THIRD)
    (staged.folder / CARD).write_bytes(bytes(LARGE_BYTES))
    artefact.write(staged.folder, staged.manifest)
    if doing == "publish":
        work = f"publish(Path({str(staged.folder)!r}), alias='production')"
    else:
        work = f"open({THIRD!r})"
        published.publish(staged.folder)
    program = f"""
import os
from pathlib import Path
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
CloudRegistry(Bucket({str(published)!r}), Path({str(tmp_path / "warm")!r})).open({FIRST!r})  # imports what they need
print("ready", flush=True)
for _ in iter(input, ""):
    child = os.fork()
    if child == 0:
        CloudRegistry(Bucket({str(published)!r}), Path({str(tmp_path / "killed")!r})).{work}
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    outcomes, halves_written = [], 0
    registry = open_at(objects, tmp_path / "killed")
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as parent:
        assert parent.stdout.readline() == "ready\n"
        for step in range(1, 40):
            held = Fault(OBJECTS, kind, times=1)
            proxy.set(Fault(OBJECTS, "slow", 0, times=step - 1), held)
            print("go", file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            while not held.met and not _has_ended(child):
                time.sleep(0.005)
            if held.met:
                if kind == "half" and f"{CARD}?" in [asked for asked in proxy.seen if OBJECTS in asked][-1]:
                    deadline = time.monotonic() + 60
                    while not _is_half_written(tmp_path / "killed") and time.monotonic() < deadline:
                        time.sleep(0.005)
                with contextlib.suppress(ProcessLookupError):  # it was quicker, as its outcome tells
                    os.kill(child, signal.SIGKILL)
            outcomes.append(int(parent.stdout.readline()))
            halves_written += _is_half_written(tmp_path / "killed")
            held.released.set()
            proxy.set()
            for version in registry.copies.versions():  # as the kill left them, before anything is fetched again
                registry.copies.open(version)
            assert registry.open("production").manifest.version in (FIRST, THIRD)
            for version in registry.versions():
                registry.open(version)
            if doing == "download":
                assert not _is_half_written(tmp_path / "killed")
            if outcomes[-1] == 0:
                break
            if doing == "download":
                registry.copies.keep_only({FIRST})
            elif THIRD in registry.versions():
                registry.set_alias("production", FIRST)
                registry.delete(THIRD)
        parent.stdin.close()
    assert outcomes[-1] == 0
    assert set(outcomes[:-1]) == {-signal.SIGKILL}
    assert len(outcomes) > 5
    assert halves_written == (kind == "half")
    assert THIRD in registry.versions()


def _is_half_written(copies: Path) -> bool:
    return any(0 < path.stat().st_size < LARGE_BYTES for path in copies.rglob(CARD) if THIRD in path.parts)


def _has_ended(process: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
