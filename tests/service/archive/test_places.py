"""Photographs and results on disk and in a bucket: the same answers from both."""

import os
from pathlib import Path

import pytest

from model.errors import InvalidConfiguration, StorageDenied, TooManyBytes
from service.archive import lists, places, turn
from service.archive.layout import pictures_name
from service.archive.patterns import pattern
from service.archive.places import CannotBeRead, Found
from service.worker import CannotWrite
from tests.storage import Fault, FaultyProxy, Objects

AT_MOST = 1000


@pytest.fixture(params=["disk", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of results."""
    if request.param == "disk":
        return str(tmp_path / "out")
    return f"gs://{request.getfixturevalue('objects').bucket}/out"


def test_a_folder_gives_back_what_was_written(location: str):
    folder = places.folder(location)
    assert folder.names() == []
    assert folder.read("a/1") is None
    folder.write("a/1", b"old")
    folder.write("a/1", b"new")
    folder.write("b/2", b"")
    assert folder.names() == ["a/1", "b/2"]
    assert folder.names("a/") == ["a/1"]
    assert folder.read("a/1") == b"new"
    folder.delete("a/1")
    folder.delete("a/1")
    assert folder.names() == ["b/2"]


def test_one_run_at_a_time(location: str):
    with turn.alone(location, "first"):
        with pytest.raises(InvalidConfiguration, match="another run is at work"), turn.alone(location, "second"):
            pass
        assert places.folder(location).names()  # the one who waits outside takes nothing away
    with turn.alone(location, "third"):
        pass
    assert places.folder(location).names() == []


def test_a_killed_run_does_not_keep_a_bucket_for_ever(objects: Objects, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turn, "DEAD_AFTER_S", 0.0)
    objects.write("out/.unfinished/lock", b'{"run": "killed", "at": "2026-11-25T10:00:00+00:00"}')
    with turn.alone(f"gs://{objects.bucket}/out", "next"):
        pass


def test_photographs_in_a_bucket(objects: Objects):
    for name in ("in/a/1.jpg", "in/2.png", "in/notes.txt", "in/out/masks/1.jpg"):
        objects.write(name, b"content")
    where = f"gs://{objects.bucket}"
    found = list(places.listed(pattern(f"{where}/in/**"), f"{where}/in/out"))
    assert {one.name for one in found} == {f"{where}/in/a/1.jpg", f"{where}/in/2.png"}
    assert places.fetch(found[0], AT_MOST) == b"content"
    assert places.look(found[0].name) == found[0]
    with pytest.raises(TooManyBytes):
        places.fetch(found[0], 3)
    objects.write("in/2.png", b"another")
    assert places.look(f"{where}/in/2.png").revision not in {one.revision for one in found}


def test_photographs_on_disk(tmp_path: Path):
    (tmp_path / "a").mkdir()
    file, link = tmp_path / "a" / "1.jpg", tmp_path / "a" / "gone.jpg"
    file.write_bytes(b"content")
    link.symlink_to(tmp_path / "nowhere")
    found = {Path(one.name): one for one in places.listed(pattern(str(tmp_path)), str(tmp_path / "out"))}
    assert set(found) == {file, link}
    assert places.fetch(found[file], AT_MOST) == b"content"
    with pytest.raises(CannotBeRead):
        places.fetch(found[link], AT_MOST)
    os.utime(file, ns=(0, 0))
    assert places.look(str(file)).revision != found[file].revision


@pytest.mark.parametrize(
    "name", ["o" * 251 + ".jpg", "ø" * 125 + ".jpg", f"{'a' * 250}/" * 3 + "1.jpg", "/".join("a" * 490)]
)
def test_a_disk_takes_the_masks_of_names_that_leave_no_room(name: str, tmp_path: Path):
    names = {pictures_name(f"gs://eyes/{each}") for each in (name, f"{name[:-5]}x.jpg")}
    assert len(names) == 2
    for each in names:
        places.folder(str(tmp_path / ("out" * 60))).write(f"masks/{each}.disc.png", b"mask")
    assert sorted(file.name for file in tmp_path.rglob("*.png")) == sorted(
        f"{Path(each).name}.disc.png" for each in names
    )


def test_a_file_of_a_name_as_long_as_may_be_is_written(tmp_path: Path):
    places.folder(str(tmp_path)).write("n" * 255, b"content")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"content"


@pytest.mark.parametrize("name", ["gs://eyes/../../1.jpg", "gs://eyes/./1.jpg", "gs://eyes//1.jpg", "gs://eyes/../.."])
def test_masks_stay_in_their_folder(name: str, tmp_path: Path):
    assert pictures_name("gs://eyes/a/1.jpg") == pictures_name("/eyes/a/1.jpg") == "eyes/a/1.jpg"
    assert pictures_name(name) != "eyes/1.jpg"
    inside = (tmp_path / pictures_name(name)).resolve()
    assert inside.is_relative_to(tmp_path / "eyes")


def test_a_file_of_four_gigabytes_is_not_read(tmp_path: Path):
    large = tmp_path / "large.tiff"
    with large.open("wb") as opened:
        opened.truncate(4 * 2**30)  # holes; they take no room
    with pytest.raises(TooManyBytes, match="4294967296"):
        places.fetch(places.look(str(large)), 32 * 2**20)


def test_who_may_not_read_or_write_is_told(objects: Objects, proxy: FaultyProxy, tmp_path: Path):
    proxy.set(Fault("GET|POST", "status", 403))
    where = f"gs://{objects.bucket}"
    with pytest.raises(StorageDenied):
        list(places.listed(pattern(f"{where}/**"), "out"))
    with pytest.raises(StorageDenied):
        places.folder(f"{where}/out").write("a", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotWrite):
        places.folder(str(tmp_path / "file" / "out")).write("a", b"")


def test_a_list_names_photographs(tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_text(
        "\ufeffeye,file\nleft,a/1.jpg\nright,gs://eyes/2.jpg\nleft,/abs/3.jpg\nleft,a/1.jpg\n", encoding="utf-8"
    )
    names = [one.name for one in lists.listed(str(file))]
    assert names == [f"{tmp_path}/a/1.jpg", "gs://eyes/2.jpg", "/abs/3.jpg", f"{tmp_path}/a/1.jpg"]
    assert next(lists.listed(str(file))) == Found(f"{tmp_path}/a/1.jpg", 0, "")  # it is not there
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"content")
    assert next(lists.listed(str(file))) == places.look(f"{tmp_path}/a/1.jpg")  # so that a change is seen


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "no column"), (b"name\na.jpg\n", "no column"), (b"file\na.jpg\n,\n", "line 3"), (b"file\n\xff\n", "UTF-8")],
)
def test_a_wrong_list_is_told(content: bytes, match: str, tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    with pytest.raises(InvalidConfiguration, match=match):
        list(lists.listed(str(file)))
