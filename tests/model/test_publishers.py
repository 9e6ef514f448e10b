"""Publishers of one registry on Cloud Storage at the same time: one wins, and no change of another gets lost."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model import artefact
from model.cloud_registry import CloudRegistry
from model.errors import AliasConflict, VersionExists
from tests.model.cloud import FIRST, SECOND, THIRD, contents, open_at
from tests.storage import Fault, FaultyProxy, Objects
from tests.versions import stage


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
    published: CloudRegistry, objects: Objects, proxy: FaultyProxy, tmp_path: Path, overtaken: str
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


def test_of_publishers_that_move_one_alias_one_wins(published: CloudRegistry, objects: Objects, tmp_path: Path) -> None:
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
    assert set(versions) < set(published.versions())  # all are published
    assert published.aliases()["production"] in won
    moves = json.loads(objects.read("models/disc-cup/aliases.json"))
    assert len(won) == 1 or moves["previous"]["production"] in won  # who came after another had seen it


def test_writers_at_the_same_time_keep_each_others_changes(
    published: CloudRegistry, objects: Objects, tmp_path: Path
) -> None:
    names = [f"alias-{number}" for number in range(6)]

    def move(name: str) -> None:
        open_at(objects, tmp_path / "copies").set_alias(name, SECOND)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(move, names))
    assert set(published.aliases()) == {*names, "production"}
