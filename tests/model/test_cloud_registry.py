"""A registry on Cloud Storage keeps versions and aliases as a folder does, and opens nothing that is not whole."""

import json
from pathlib import Path

import pytest

from model.cloud_registry import CloudRegistry
from model.errors import (
    AliasConflict,
    CorruptVersion,
    IncompleteVersion,
    InvalidConfiguration,
    UnknownSchema,
    VersionExists,
    VersionNotFound,
)
from tests.model.cloud import FIRST, SECOND, contents, open_at
from tests.storage import FaultyProxy, Objects
from tests.versions import stage

WEIGHTS = "segmenter/variables/variables.index"


def test_what_was_published_is_opened(published: CloudRegistry, tmp_path: Path) -> None:
    found = published.open("production")
    assert found.manifest.version == FIRST
    assert contents(found.folder) == contents(tmp_path / FIRST)
    assert published.versions() == [SECOND, FIRST]
    assert published.aliases() == {"production": FIRST}
    assert (published.resolve(), published.resolve(SECOND)) == (FIRST, SECOND)
    assert published.manifest(SECOND).version == SECOND


def test_layout_is_that_of_a_folder(published: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    expected = {
        f"models/disc-cup/{version}/{path}" for version in (FIRST, SECOND) for path in contents(tmp_path / FIRST)
    }
    assert objects.names() == {*expected, "models/disc-cup/aliases.json"}
    assert json.loads(objects.read("models/disc-cup/aliases.json")) == {"production": FIRST}


def test_an_opened_version_is_not_downloaded_again(published: CloudRegistry, proxy: FaultyProxy) -> None:
    published.open(FIRST)
    proxy.seen.clear()
    published.open(FIRST)
    assert not [asked for asked in proxy.seen if "variables" in asked]


def test_a_damaged_copy_is_downloaded_again(published: CloudRegistry, tmp_path: Path) -> None:
    copy = published.open(FIRST).folder
    (copy / WEIGHTS).write_bytes(b"bit rot")
    assert contents(published.open(FIRST).folder) == contents(tmp_path / FIRST)


def test_an_empty_bucket_is_no_error(objects: Objects, tmp_path: Path) -> None:
    empty = open_at(objects, tmp_path / "copies")
    assert (empty.versions(), empty.aliases()) == ([], {})
    with pytest.raises(VersionNotFound):
        empty.open("production")
    with pytest.raises(VersionNotFound):
        empty.open(FIRST)


def test_a_truncated_object_is_not_opened(published: CloudRegistry, objects: Objects) -> None:
    name = f"models/disc-cup/{FIRST}/{WEIGHTS}"
    objects.write(name, objects.read(name)[:-1])
    with pytest.raises(CorruptVersion, match=rf"version {FIRST} is corrupt: {WEIGHTS}: changed"):
        published.open(FIRST)
    assert published.copies.versions() == []
    published.open(SECOND)


def test_a_half_uploaded_version_is_none(published: CloudRegistry, objects: Objects) -> None:
    objects.delete(f"models/disc-cup/{SECOND}/manifest.json")
    assert (published.versions(), published.incomplete()) == ([FIRST], [SECOND])
    for call in (published.open, published.resolve, lambda name: published.set_alias("candidate", name)):
        with pytest.raises(IncompleteVersion, match=SECOND):
            call(SECOND)
    assert published.next_version(2026, 2) == "2026.2.2"
    published.delete(SECOND)
    assert published.incomplete() == []


def test_a_version_with_a_missing_object_is_named(published: CloudRegistry, objects: Objects) -> None:
    objects.delete(f"models/disc-cup/{FIRST}/{WEIGHTS}")
    for call in (published.open, published.manifest):
        with pytest.raises(IncompleteVersion, match=WEIGHTS):
            call(FIRST)
    assert published.copies.versions() == []


def test_a_newer_schema_is_refused_before_its_files_are_fetched(
    published: CloudRegistry, objects: Objects, proxy: FaultyProxy
) -> None:
    name = f"models/disc-cup/{FIRST}/manifest.json"
    objects.write(name, json.dumps({**json.loads(objects.read(name)), "schema": 99}).encode())
    proxy.seen.clear()
    with pytest.raises(UnknownSchema, match="99"):
        published.open(FIRST)
    assert not [asked for asked in proxy.seen if "variables" in asked]


@pytest.mark.parametrize("path", ["../../outside", "/outside", "a//b", "manifest.json"])
def test_a_manifest_cannot_write_outside_its_version(
    published: CloudRegistry, objects: Objects, tmp_path: Path, path: str
) -> None:
    name = f"models/disc-cup/{FIRST}/manifest.json"
    values = json.loads(objects.read(name))
    values["files"][path] = "0" * 64
    objects.write(name, json.dumps(values).encode())
    with pytest.raises(CorruptVersion, match="not inside the version"):
        published.open(FIRST)
    assert not list(tmp_path.rglob("outside"))


def test_an_alias_to_nowhere_is_not_found(published: CloudRegistry, objects: Objects) -> None:
    objects.write("models/disc-cup/aliases.json", b'{"production": "2025.1.1"}')
    with pytest.raises(VersionNotFound, match=r"production → 2025\.1\.1"):
        published.open("production")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"production": "../x"}', b'{"previous": {"a": 1}}'])
def test_malformed_aliases_are_named_and_kept(published: CloudRegistry, objects: Objects, text: bytes) -> None:
    objects.write("models/disc-cup/aliases.json", text)
    with pytest.raises(CorruptVersion, match=r"aliases\.json"):
        published.set_alias("production", SECOND)
    assert objects.read("models/disc-cup/aliases.json") == text


def test_a_version_is_immutable(published: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
    before = {name: objects.read(name) for name in objects.names()}
    with pytest.raises(VersionExists, match=FIRST):
        published.publish(stage(tmp_path / "other", FIRST).folder, alias="candidate")
    assert {name: objects.read(name) for name in objects.names()} == before


def test_aliases_move_back_and_are_forgotten(published: CloudRegistry) -> None:
    with pytest.raises(VersionNotFound, match="always"):
        published.roll_back("production")
    published.set_alias("production", SECOND, expected=FIRST)
    assert published.roll_back("production") == FIRST
    assert published.roll_back("production") == SECOND
    with pytest.raises(AliasConflict):
        published.roll_back("production", expected=FIRST)
    published.set_alias("candidate", FIRST, expected=None)
    published.remove_alias("candidate")
    assert (published.aliases(), published.previous()) == ({"production": SECOND}, {"production": FIRST})
    for name in ("Production", "../x", "previous", ""):
        with pytest.raises(InvalidConfiguration):
            published.set_alias(name, FIRST)


def test_a_version_that_is_needed_is_not_deleted(published: CloudRegistry, objects: Objects) -> None:
    with pytest.raises(AliasConflict, match="production"):
        published.delete(FIRST)
    published.delete(SECOND)
    assert published.versions() == [FIRST]
    assert not objects.names(f"models/disc-cup/{SECOND}")
    with pytest.raises(VersionNotFound):
        published.delete(SECOND)


def test_leftovers_of_another_upload_are_not_mixed_in(objects: Objects, tmp_path: Path) -> None:
    registry, staged = open_at(objects, tmp_path / "copies"), stage(tmp_path / FIRST, FIRST).folder
    objects.write(f"models/disc-cup/{FIRST}/{WEIGHTS}", b"of another training")
    with pytest.raises(VersionExists, match="half-uploaded"):
        registry.publish(staged)
    registry.delete(FIRST)
    registry.publish(staged)
    assert contents(registry.open(FIRST).folder) == contents(staged)
