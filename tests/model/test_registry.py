"""A registry changes at once or not at all, and a name never leads out of it."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model import registry
from model.errors import AliasConflict, CorruptVersion, InvalidConfiguration, VersionExists, VersionNotFound
from model.local_registry import LocalRegistry
from model.registry import open_registry
from tests.versions import stage

FIRST, SECOND = "2026.1.1", "2026.2.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry with FIRST, in production, and SECOND."""
    found = LocalRegistry(tmp_path / "registry")
    found.publish(stage(tmp_path / FIRST, FIRST).folder, alias="production")
    found.publish(stage(tmp_path / SECOND, SECOND).folder)
    return tmp_path / "registry"


@pytest.fixture
def filled(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_published_is_opened(filled: LocalRegistry, tmp_path: Path) -> None:
    found = filled.open("production")
    assert found.manifest.version == FIRST
    assert found.folder == tmp_path / "registry" / "disc-cup" / FIRST
    assert contents(found.folder) == contents(tmp_path / FIRST)
    assert filled.open(SECOND).digest == stage(tmp_path / "again", SECOND).digest
    assert filled.aliases() == {"production": FIRST}
    assert (filled.resolve(), filled.resolve(SECOND)) == (FIRST, SECOND)


def test_an_empty_registry_is_no_error(tmp_path: Path) -> None:
    empty = LocalRegistry(tmp_path / "nowhere")
    assert (empty.versions(), empty.aliases()) == ([], {})
    with pytest.raises(VersionNotFound):
        empty.resolve()
    assert not (tmp_path / "nowhere").exists()


def test_versions_are_ordered_by_number_not_by_letter(tmp_path: Path) -> None:
    ordered = ["2027.1.1", "2026.10.1", "2026.9.10", "2026.9.9", "2025.12.1"]
    for name in (*sorted(ordered), "2026.13.1", "2026.9.09", ".unfinished-2026.1.1", "notes"):
        (tmp_path / "disc-cup" / name).mkdir(parents=True)
    (tmp_path / "disc-cup" / "2026.1.1").touch()
    (tmp_path / "disc-cup" / "2026.1.2").symlink_to("2027.1.1")
    assert LocalRegistry(tmp_path).versions() == ordered


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../2026.1.1", "2026.1.1/", "2026.1.1/../2026.2.1", "/", "\0", "aliases.json"),
        *("2026.1.1\n", "2026.01.1", "2026.1.0", "2026.1.1.1", "２０２６.1.1", "2026.3.1", "candidate", "Production"),
    ],
)
def test_another_name_is_not_found(filled: LocalRegistry, name: str) -> None:
    with pytest.raises(VersionNotFound):
        filled.open(name)
    with pytest.raises(VersionNotFound):
        filled.delete(name)
    with pytest.raises(VersionNotFound):
        filled.set_alias("production", name)


@pytest.mark.parametrize("alias", ["", "Production", "../x", "1st", "a" * 33, "a_b", FIRST, "a\n"])
def test_an_alias_needs_a_plain_name(folder: Path, tmp_path: Path, alias: str) -> None:
    before = contents(folder)
    with pytest.raises(InvalidConfiguration):
        LocalRegistry(folder).set_alias(alias, FIRST)
    with pytest.raises(InvalidConfiguration):
        LocalRegistry(folder).publish(stage(tmp_path / "third", "2026.3.1").folder, alias)
    assert contents(folder) == before


def test_a_version_is_immutable(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    with pytest.raises(VersionExists, match=FIRST):
        LocalRegistry(folder).publish(stage(tmp_path / "other", FIRST).folder, alias="candidate")
    assert contents(folder) == before


def test_a_damaged_version_is_not_published(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    staged = stage(tmp_path / "third", "2026.3.1").folder
    (staged / "card.md").write_bytes(b"changed")
    with pytest.raises(CorruptVersion, match=r"card\.md: changed"):
        LocalRegistry(folder).publish(staged)
    assert contents(folder) == before


def test_a_damaged_version_is_not_opened(filled: LocalRegistry) -> None:
    (filled.open(FIRST).folder / "card.md").write_bytes(b"changed")
    with pytest.raises(CorruptVersion, match=r"card\.md: changed"):
        filled.open("production")
    assert filled.versions() == [SECOND, FIRST]
    filled.open(SECOND)


def test_a_version_under_another_name_is_not_opened(filled: LocalRegistry) -> None:
    folder = filled.open(SECOND).folder
    folder.rename(folder.with_name("2026.2.2"))
    with pytest.raises(CorruptVersion, match=r"manifest\.json: says disc-cup 2026\.2\.1"):
        filled.open("2026.2.2")


def test_an_alias_moves_only_from_where_it_is_expected(filled: LocalRegistry) -> None:
    with pytest.raises(AliasConflict, match=FIRST):
        filled.set_alias("production", SECOND, expected=SECOND)
    with pytest.raises(AliasConflict):
        filled.set_alias("production", SECOND, expected=None)
    with pytest.raises(AliasConflict):
        filled.set_alias("candidate", SECOND, expected=FIRST)
    assert filled.aliases() == {"production": FIRST}
    filled.set_alias("production", SECOND, expected=FIRST)
    filled.set_alias("candidate", FIRST, expected=None)
    filled.set_alias("candidate", SECOND)
    assert filled.aliases() == {"candidate": SECOND, "production": SECOND}


def test_of_writers_at_the_same_time_one_wins(folder: Path) -> None:
    def move(_: int) -> bool:
        try:
            LocalRegistry(folder).set_alias("production", SECOND, expected=FIRST)
        except AliasConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(move, range(16))) == [False] * 15 + [True]


def test_writers_at_the_same_time_keep_each_others_changes(folder: Path) -> None:
    names = [f"alias-{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: LocalRegistry(folder).set_alias(name, SECOND), names))
    assert set(LocalRegistry(folder).aliases()) == {*names, "production"}


def test_a_version_that_is_needed_is_not_deleted(filled: LocalRegistry, tmp_path: Path) -> None:
    with pytest.raises(AliasConflict, match="production"):
        filled.delete(FIRST)
    filled.delete(SECOND)
    assert filled.versions() == [FIRST]
    filled.publish(tmp_path / SECOND)
    filled.open(SECOND)


def test_next_version_counts_within_the_month(filled: LocalRegistry, tmp_path: Path) -> None:
    assert filled.next_version(2026, 1) == "2026.1.2"
    assert filled.next_version(2026, 12) == "2026.12.1"
    for counter in (9, 10):
        filled.publish(stage(tmp_path / f"{counter}", f"2026.2.{counter}").folder)
    assert filled.next_version(2026, 2) == "2026.2.11"
    for year, month in ((2026, 0), (2026, 13), (26, -1), (20260, 1)):
        with pytest.raises(InvalidConfiguration):
            filled.next_version(year, month)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"production": 1}', '{"production": "../x"}', '{"..": "2026.1.1"}', "\0"]
)
def test_malformed_aliases_are_named(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "disc-cup" / "aliases.json").write_text(text, encoding="utf-8")
    before = contents(folder)
    with pytest.raises(CorruptVersion, match=r"aliases\.json"):
        LocalRegistry(folder).resolve()
    with pytest.raises(CorruptVersion, match=r"aliases\.json"):
        LocalRegistry(folder).publish(stage(tmp_path / "third", "2026.3.1").folder, alias="production")
    assert contents(folder) == before
    LocalRegistry(folder).open(FIRST)


def test_an_alias_without_its_version_is_not_found(folder: Path) -> None:
    (folder / "disc-cup" / "aliases.json").write_text(json.dumps({"production": "2025.1.1"}), encoding="utf-8")
    with pytest.raises(VersionNotFound, match=r"production → 2025\.1\.1"):
        LocalRegistry(folder).open("production")


def test_killed_anywhere_the_registry_is_as_before_or_as_after(folder: Path, tmp_path: Path) -> None:
    """One child per step: it dies, without any cleaning up, just before its n-th access to the file system."""
    staged = stage(tmp_path / "third", "2026.3.1").folder
    program = f"""
import json, os, sys
from pathlib import Path
from model.local_registry import LocalRegistry
found = LocalRegistry(Path({str(folder)!r}))
steps, outcomes = 0, []
while True:
    steps += 1
    child = os.fork()
    if child == 0:
        left = steps
        def die(event, arguments):
            global left
            if event.split(".")[0] in ("open", "os", "shutil", "fcntl"):
                left -= 1
                if left == 0:
                    os._exit(9)
        sys.addaudithook(die)
        found.publish(Path({str(staged)!r}), alias="production")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    versions, live = found.versions(), found.open("production").manifest.version
    for version in versions:
        found.open(version)
    outcomes.append((code, len(versions), live))
    if code != 9:
        break
    if "2026.3.1" in versions:  # back to before
        found.set_alias("production", {FIRST!r})
        found.delete("2026.3.1")
print(json.dumps(outcomes))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = [tuple(outcome) for outcome in json.loads(done.stdout)]
    before, published, after = (9, 2, FIRST), (9, 3, FIRST), (9, 3, "2026.3.1")
    assert set(outcomes[:-1]) <= {before, published, after}
    assert {before, published} <= set(outcomes)
    assert outcomes[-1] == (0, 3, "2026.3.1")
    assert [path.name for path in (folder / "disc-cup").glob(".*")] == []


def test_open_registry(filled: LocalRegistry, folder: Path, tmp_path: Path) -> None:
    assert open_registry(str(folder)).versions() == filled.versions()
    assert str(open_registry("gs://bucket/registry/")) == "gs://bucket/registry"
    assert registry.BUNDLED.name == "bundled"
    (tmp_path / "file").touch()
    for location in ("", "gs://", "gs://B/../x", "https://example.org", str(tmp_path / "file")):
        with pytest.raises(InvalidConfiguration, match="registry=|gs:"):
            open_registry(location)


@pytest.mark.skipif(not registry.BUNDLED.exists(), reason="no version ships with this checkout yet")
def test_the_bundled_version_is_whole_and_small() -> None:
    found = open_registry("bundled").open("production")
    assert sum(path.stat().st_size for path in registry.BUNDLED.rglob("*") if path.is_file()) <= 16 * 2**20
    assert found.manifest.sources
