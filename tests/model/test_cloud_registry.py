"""A registry on Cloud Storage changes at once or not at all, whatever network, cloud, disk and other publishers do."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model import artefact
from model.bucket import Bucket, Patience
from model.cloud_registry import CloudRegistry
from model.errors import (
    AliasConflict,
    BucketNotFound,
    CorruptVersion,
    IncompleteVersion,
    InvalidConfiguration,
    StorageDenied,
    StorageError,
    StorageUnavailable,
    UnknownSchema,
    VersionExists,
    VersionNotFound,
)
from tests.storage import Fault, FaultyProxy, Objects
from tests.versions import stage

FIRST, SECOND, THIRD = "2026.1.1", "2026.2.1", "2026.3.1"
ENOUGH = Patience(attempt_s=20.0, whole_s=60.0)  # for what works, on however slow a machine
SHORT = Patience(attempt_s=1.0, whole_s=1.5)
WEIGHTS = "segmenter/variables/variables.index"
CARD, LARGE_BYTES = "card.md", 2**20  # a file that arrives in many pieces


def open_at(objects: Objects, copies: Path, patience: Patience = ENOUGH) -> CloudRegistry:
    return CloudRegistry(Bucket(f"gs://{objects.bucket}/models", patience), copies)


@pytest.fixture
def filled(objects: Objects, tmp_path: Path) -> CloudRegistry:
    """A registry with FIRST, in production, and SECOND."""
    found = open_at(objects, tmp_path / "copies")
    found.publish(stage(tmp_path / FIRST, FIRST).folder, alias="production")
    found.publish(stage(tmp_path / SECOND, SECOND).folder)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_published_is_opened(filled: CloudRegistry, tmp_path: Path) -> None:
    found = filled.open("production")
    assert found.manifest.version == FIRST
    assert contents(found.folder) == contents(tmp_path / FIRST)
    assert filled.versions() == [SECOND, FIRST]
    assert filled.aliases() == {"production": FIRST}
    assert (filled.resolve(), filled.resolve(SECOND)) == (FIRST, SECOND)
    assert filled.manifest(SECOND).version == SECOND


def test_layout_is_that_of_a_folder(filled: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    expected = {
        f"models/disc-cup/{version}/{path}" for version in (FIRST, SECOND) for path in contents(tmp_path / FIRST)
    }
    assert objects.names() == {*expected, "models/disc-cup/aliases.json"}
    assert json.loads(objects.read("models/disc-cup/aliases.json")) == {"production": FIRST}


def test_an_opened_version_is_not_downloaded_again(filled: CloudRegistry, proxy: FaultyProxy) -> None:
    filled.open(FIRST)
    proxy.seen.clear()
    filled.open(FIRST)
    assert not [asked for asked in proxy.seen if "variables" in asked]


def test_a_damaged_copy_is_downloaded_again(filled: CloudRegistry, tmp_path: Path) -> None:
    copy = filled.open(FIRST).folder
    (copy / WEIGHTS).write_bytes(b"bit rot")
    assert contents(filled.open(FIRST).folder) == contents(tmp_path / FIRST)


def test_an_empty_bucket_is_no_error(objects: Objects, tmp_path: Path) -> None:
    empty = open_at(objects, tmp_path / "copies")
    assert (empty.versions(), empty.aliases()) == ([], {})
    with pytest.raises(VersionNotFound):
        empty.open("production")
    with pytest.raises(VersionNotFound):
        empty.open(FIRST)


def test_a_missing_bucket_is_named(proxy: FaultyProxy, tmp_path: Path) -> None:
    for call in (CloudRegistry.versions, CloudRegistry.aliases, CloudRegistry.resolve):
        with pytest.raises(BucketNotFound, match="gs://no-such-bucket"):
            call(CloudRegistry(Bucket("gs://no-such-bucket/models", SHORT), tmp_path))


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_is_named_and_not_tried_again(filled: CloudRegistry, proxy: FaultyProxy, status: int) -> None:
    fault = Fault("aliases.json", "status", status)
    proxy.set(fault)
    with pytest.raises(StorageDenied, match=r"gs://bucket-.*aliases\.json"):
        filled.aliases()
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
def test_what_passes_by_itself_is_waited_for(filled: CloudRegistry, proxy: FaultyProxy, fault: Fault) -> None:
    fault.met = 0
    proxy.set(fault)
    assert filled.open(FIRST).manifest.version == FIRST
    assert fault.met == fault.times


def test_who_had_no_answer_in_time_asks_again_later_and_later(
    filled: CloudRegistry, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)  # the pauses without their jitter
    proxy.set(Fault("aliases.json", "slow", 3.0, times=1), Fault("aliases.json", "status", 503, times=2))
    registry = CloudRegistry(Bucket(str(filled), Patience(attempt_s=1.0, whole_s=60.0)), Path(str(filled.copies)))
    proxy.seen_at.clear()
    assert registry.aliases() == {"production": FIRST}
    pauses = [later - earlier for earlier, later in itertools.pairwise(proxy.seen_at[:4])]
    least = (1.0 + 0.2, 0.4, 0.8)  # the first after a second without an answer; each twice as long as the one before
    assert all(pause > 0.98 * one for pause, one in zip(pauses, least, strict=True)), pauses


@pytest.mark.parametrize(
    "fault", [Fault("", "down"), Fault("", "status", 500), Fault("", "slow", 2.0)], ids=lambda f: f.kind
)
def test_what_does_not_pass_is_given_up_in_time(filled: CloudRegistry, proxy: FaultyProxy, fault: Fault) -> None:
    proxy.set(fault)
    registry = CloudRegistry(Bucket(str(filled), SHORT), Path(str(filled.copies)))
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        registry.aliases()
    assert time.monotonic() - started < 30  # and not Google's two minutes


def test_a_truncated_object_is_not_opened(filled: CloudRegistry, objects: Objects) -> None:
    name = f"models/disc-cup/{FIRST}/{WEIGHTS}"
    objects.write(name, objects.read(name)[:-1])
    with pytest.raises(CorruptVersion, match=rf"version {FIRST} is corrupt: {WEIGHTS}: changed"):
        filled.open(FIRST)
    assert filled.copies.versions() == []
    filled.open(SECOND)


def test_a_half_uploaded_version_is_none(filled: CloudRegistry, objects: Objects) -> None:
    objects.delete(f"models/disc-cup/{SECOND}/manifest.json")
    assert (filled.versions(), filled.incomplete()) == ([FIRST], [SECOND])
    for call in (filled.open, filled.resolve, lambda name: filled.set_alias("candidate", name)):
        with pytest.raises(IncompleteVersion, match=SECOND):
            call(SECOND)
    assert filled.next_version(2026, 2) == "2026.2.2"
    filled.delete(SECOND)
    assert filled.incomplete() == []


def test_a_version_with_a_missing_object_is_named(filled: CloudRegistry, objects: Objects) -> None:
    objects.delete(f"models/disc-cup/{FIRST}/{WEIGHTS}")
    for call in (filled.open, filled.manifest):
        with pytest.raises(IncompleteVersion, match=WEIGHTS):
            call(FIRST)
    assert filled.copies.versions() == []


def test_a_newer_schema_is_refused_before_its_files_are_fetched(
    filled: CloudRegistry, objects: Objects, proxy: FaultyProxy
) -> None:
    name = f"models/disc-cup/{FIRST}/manifest.json"
    objects.write(name, json.dumps({**json.loads(objects.read(name)), "schema": 99}).encode())
    proxy.seen.clear()
    with pytest.raises(UnknownSchema, match="99"):
        filled.open(FIRST)
    assert not [asked for asked in proxy.seen if "variables" in asked]


@pytest.mark.parametrize("path", ["../../outside", "/outside", "a//b", "manifest.json"])
def test_a_manifest_cannot_write_outside_its_version(
    filled: CloudRegistry, objects: Objects, tmp_path: Path, path: str
) -> None:
    name = f"models/disc-cup/{FIRST}/manifest.json"
    values = json.loads(objects.read(name))
    values["files"][path] = "0" * 64
    objects.write(name, json.dumps(values).encode())
    with pytest.raises(CorruptVersion, match="not inside the version"):
        filled.open(FIRST)
    assert not list(tmp_path.rglob("outside"))


def test_an_alias_to_nowhere_is_not_found(filled: CloudRegistry, objects: Objects) -> None:
    objects.write("models/disc-cup/aliases.json", b'{"production": "2025.1.1"}')
    with pytest.raises(VersionNotFound, match=r"production → 2025\.1\.1"):
        filled.open("production")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"production": "../x"}', b'{"previous": {"a": 1}}'])
def test_malformed_aliases_are_named_and_kept(filled: CloudRegistry, objects: Objects, text: bytes) -> None:
    objects.write("models/disc-cup/aliases.json", text)
    with pytest.raises(CorruptVersion, match=r"aliases\.json"):
        filled.set_alias("production", SECOND)
    assert objects.read("models/disc-cup/aliases.json") == text


def test_a_version_is_immutable(filled: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    before = {name: objects.read(name) for name in objects.names()}
    with pytest.raises(VersionExists, match=FIRST):
        filled.publish(stage(tmp_path / "other", FIRST).folder, alias="candidate")
    assert {name: objects.read(name) for name in objects.names()} == before


def test_aliases_move_back_and_are_forgotten(filled: CloudRegistry) -> None:
    with pytest.raises(VersionNotFound, match="always"):
        filled.roll_back("production")
    filled.set_alias("production", SECOND, expected=FIRST)
    assert filled.roll_back("production") == FIRST
    assert filled.roll_back("production") == SECOND
    with pytest.raises(AliasConflict):
        filled.roll_back("production", expected=FIRST)
    filled.set_alias("candidate", FIRST, expected=None)
    filled.remove_alias("candidate")
    assert (filled.aliases(), filled.previous()) == ({"production": SECOND}, {"production": FIRST})
    for name in ("Production", "../x", "previous", ""):
        with pytest.raises(InvalidConfiguration):
            filled.set_alias(name, FIRST)


def test_a_version_that_is_needed_is_not_deleted(filled: CloudRegistry, objects: Objects) -> None:
    with pytest.raises(AliasConflict, match="production"):
        filled.delete(FIRST)
    filled.delete(SECOND)
    assert filled.versions() == [FIRST]
    assert not objects.names(f"models/disc-cup/{SECOND}")
    with pytest.raises(VersionNotFound):
        filled.delete(SECOND)


def test_of_two_publishers_of_one_version_one_wins(objects: Objects, tmp_path: Path) -> None:
    staged = [stage(tmp_path / name, FIRST).folder for name in ("one", "two")]
    (staged[1] / "card.md").write_text("# Another\n", encoding="utf-8")
    artefact.write(staged[1], artefact.parse_manifest((staged[1] / "manifest.json").read_bytes()))

    def publish(folder: Path) -> str:
        try:
            open_at(objects, tmp_path / "copies").publish(folder, alias="production")
        except (VersionExists, AliasConflict) as error:
            return error.code
        return "won"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(publish, staged))
    assert sorted(outcomes) == ["version_exists", "won"]
    found = open_at(objects, tmp_path / "copies").open("production")
    assert contents(found.folder) == contents(staged[outcomes.index("won")])


@pytest.mark.parametrize("overtaken", ["manifest", "alias"])
def test_who_is_overtaken_at_the_last_moment_has_lost(
    filled: CloudRegistry, objects: Objects, proxy: FaultyProxy, tmp_path: Path, overtaken: str
) -> None:
    """One publisher's last request but one, or its last, is held back until another has done the same."""
    staged = stage(tmp_path / THIRD, THIRD).folder
    files, held = len(contents(staged)), Fault("^POST .*upload", "held", times=1)
    proxy.set(Fault("^POST .*upload", "slow", 0, times=files - 1 if overtaken == "manifest" else files), held)
    quick = open_at(objects, tmp_path / "quick")
    with ThreadPoolExecutor(1) as pool:
        slow = open_at(objects, tmp_path / "slow")
        publishing = pool.submit(slow.publish, staged, "production")
        while not held.met and not publishing.done():
            time.sleep(0.005)
        if overtaken == "manifest":
            quick.publish(staged)
        else:
            quick.set_alias("production", SECOND)
        held.released.set()
        with pytest.raises(VersionExists if overtaken == "manifest" else AliasConflict, match="somebody else"):
            publishing.result()
    assert held.met == 1
    assert quick.aliases() == {"production": FIRST if overtaken == "manifest" else SECOND}
    assert quick.open(THIRD).manifest.version == THIRD


def test_of_publishers_that_move_one_alias_one_wins(filled: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    versions = [f"2026.4.{number}" for number in range(1, 5)]

    def publish(version: str) -> str:
        staged = stage(tmp_path / version, version).folder
        try:
            open_at(objects, tmp_path / "copies").publish(staged, alias="production")
        except AliasConflict:
            return "lost"
        return "won"

    with ThreadPoolExecutor(4) as pool:
        outcomes = dict(zip(versions, pool.map(publish, versions), strict=True))
    won = [version for version, outcome in outcomes.items() if outcome == "won"]
    assert set(versions) < set(filled.versions())  # all are published
    assert filled.aliases()["production"] in won
    moves = json.loads(objects.read("models/disc-cup/aliases.json"))
    assert len(won) == 1 or moves["previous"]["production"] in won  # who came after another had seen it


def test_writers_at_the_same_time_keep_each_others_changes(
    filled: CloudRegistry, objects: Objects, tmp_path: Path
) -> None:
    names = [f"alias-{number}" for number in range(6)]

    def move(name: str) -> None:
        open_at(objects, tmp_path / "copies").set_alias(name, SECOND)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(move, names))
    assert set(filled.aliases()) == {*names, "production"}


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


def test_leftovers_of_another_upload_are_not_mixed_in(objects: Objects, tmp_path: Path) -> None:
    registry, staged = open_at(objects, tmp_path / "copies"), stage(tmp_path / FIRST, FIRST).folder
    objects.write(f"models/disc-cup/{FIRST}/{WEIGHTS}", b"of another training")
    with pytest.raises(VersionExists, match="half-uploaded"):
        registry.publish(staged)
    registry.delete(FIRST)
    registry.publish(staged)
    assert contents(registry.open(FIRST).folder) == contents(staged)


def test_a_full_disk_is_named_and_leaves_nothing(filled: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    """A process may write no file beyond 20 bytes: what a full disk looks like from inside."""
    program = f"""
import resource, sys
from pathlib import Path
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
from model.errors import NoRoom
registry = CloudRegistry(Bucket({str(filled)!r}), Path({str(tmp_path / "full")!r}))
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
    filled: CloudRegistry, objects: Objects, proxy: FaultyProxy, tmp_path: Path, doing: str, kind: str
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
        filled.publish(staged.folder)
    program = f"""
import os
from pathlib import Path
from model.bucket import Bucket
from model.cloud_registry import CloudRegistry
CloudRegistry(Bucket({str(filled)!r}), Path({str(tmp_path / "warm")!r})).open({FIRST!r})  # imports what children need
print("ready", flush=True)
for _ in iter(input, ""):
    child = os.fork()
    if child == 0:
        CloudRegistry(Bucket({str(filled)!r}), Path({str(tmp_path / "killed")!r})).{work}
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
            held = Fault("", kind, times=1)
            proxy.set(Fault("", "slow", 0, times=step - 1), held)
            print("go", file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            while not held.met and not _has_ended(child):
                time.sleep(0.005)
            if held.met:
                if kind == "half" and f"{CARD}?" in proxy.seen[-1]:
                    deadline = time.monotonic() + 60
                    while not _is_half_written(tmp_path / "killed") and time.monotonic() < deadline:
                        time.sleep(0.005)
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
