"""Which photographs a folder, a pattern or a list of files means, and what their results are called."""

import os
from pathlib import Path, PurePath

import pytest

from model.errors import InvalidConfiguration
from service.files import Photograph, find, output_names
from service.table import HEADER


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder: Path, *arguments: str) -> dict[str, str]:
    """Of each photograph, relative to a folder, the name of its results."""
    photographs = find([folder / argument for argument in arguments], folder / "out")
    return {one.file.relative_to(folder).as_posix(): one.name for one in photographs}


def test_a_folder_stands_for_the_photographs_in_it_and_below_in_the_order_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a/2.png", "a/1.tiff", "a/notes.txt", "a/deep/er/x.webp", "c.jpeg", ".hidden.jpg")
    touch(tmp_path, "a/._1.tiff", ".git/x.png", "a/folder.jpg/y.bmp")
    (tmp_path / "link").symlink_to(tmp_path)  # a loop, if anybody followed it
    os.mkfifo(tmp_path / "pipe.jpg")
    files = ["a/1.tiff", "a/2.png", "a/deep/er/x.webp", "a/folder.jpg/y.bmp", "b.JPG", "c.jpeg"]
    assert list(found(tmp_path, ".")) == files
    assert list(found(tmp_path, ".").values()) == ["a/1", "a/2", "a/deep/er/x", "a/folder.jpg/y", "b", "c"]


def test_results_of_this_and_earlier_runs_are_no_photographs(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg", "out/x.disc.png", "before/x.disc.png", "killed/x.disc.png", "killed/.unfinished/journal")
    touch(tmp_path, "theirs/y.jpg")
    (tmp_path / "before/results.csv").write_text(HEADER, encoding="utf-8", newline="")
    (tmp_path / "theirs/results.csv").write_text("file,diagnosis\r\n", encoding="utf-8")  # a table of somebody else's
    assert list(found(tmp_path, ".")) == ["theirs/y.jpg", "x.jpg"]


def test_a_pattern_that_the_shell_left_alone_is_resolved(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/[x].jpg")
    assert list(found(tmp_path, "*/1.jpg")) == ["a/1.jpg", "b/1.jpg"]
    assert list(found(tmp_path, "**/*.jpg")) == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/[x].jpg"]
    assert list(found(tmp_path, "b/[x].jpg")) == ["b/[x].jpg"]  # a file's own name goes before


def test_a_file_named_twice_is_one_photograph(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    assert found(tmp_path, "a/2.jpg", "a", "a/2.jpg") == {"a/2.jpg": "2", "a/1.jpg": "1"}


@pytest.mark.parametrize(
    ("arguments", "named"), [(["empty"], "empty"), (["*.jpg"], "*.jpg"), (["out"], "results"), (["full", "out"], "out")]
)
def test_what_means_no_photograph_is_named(tmp_path: Path, arguments: list[str], named: str) -> None:
    touch(tmp_path, "empty/readme.txt", "full/x.jpg", "out/y.jpg")
    with pytest.raises(InvalidConfiguration) as wrong:
        found(tmp_path, *arguments)
    assert named in str(wrong.value)


def test_a_file_that_is_not_there_is_for_its_reader_to_report(tmp_path: Path) -> None:
    assert find([tmp_path / "gone.jpg"], tmp_path / "out") == [Photograph(tmp_path / "gone.jpg", "gone")]


def test_names_of_results_never_collide() -> None:
    names = output_names([PurePath(name) for name in ("x.jpg", "x.png", "X.tif", "x-2.jpg", "a/x.jpg", "a/x.png", "y")])
    assert names == ["x", "x-2", "X-3", "x-2-2", "a/x", "a/x-2", "y"]
    many = output_names([PurePath("x.jpg")] * 20_000)  # in no time: not each of them tries all numbers
    assert len(set(many)) == 20_000
