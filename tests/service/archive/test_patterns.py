"""Which names a pattern fits."""

from pathlib import Path

import pytest

from model.errors import InvalidConfiguration
from service.archive.patterns import pattern

BUCKET = "gs://eyes"


@pytest.mark.parametrize(
    ("text", "name", "fits"),
    [
        ("gs://eyes/**", "gs://eyes/a/b/1.jpg", True),
        ("gs://eyes/", "gs://eyes/a/b/1.JPG", True),
        ("gs://eyes", "gs://eyes/1.tiff", True),
        ("gs://eyes/**", "gs://eyes/notes.txt", False),  # a folder means its photographs
        ("gs://eyes/**", "gs://eyes/.cache/1.jpg", False),
        ("gs://eyes/2026/*/left.jpg", "gs://eyes/2026/7/left.jpg", True),
        ("gs://eyes/2026/*/left.jpg", "gs://eyes/2026/7/8/left.jpg", False),
        ("gs://eyes/**/left.jpg", "gs://eyes/left.jpg", True),
        ("gs://eyes/**/left.jpg", "gs://eyes/a/b/left.jpg", True),
        ("gs://eyes/*.dat", "gs://eyes/1.dat", True),  # whoever names files means them
        ("gs://eyes/eye?.png", "gs://eyes/eye1.png", True),
        ("gs://eyes/eye?.png", "gs://eyes/eye/.png", False),
        ("gs://eyes/[ab]1.png", "gs://eyes/b1.png", True),
        ("gs://eyes/[!ab]1.png", "gs://eyes/b1.png", False),
        ("gs://eyes/[!ab]1.png", "gs://eyes/c1.png", True),
        ("gs://eyes/1+1.png", "gs://eyes/1+1.png", True),
        ("gs://eyes/1+1.png", "gs://eyes/11.png", False),
        ("gs://eyes/1.png", "gs://eyes/1.png.bak", False),
    ],
)
def test_fits(text: str, name: str, fits: bool):
    found = pattern(text)
    assert found.fits(name) is fits
    assert not fits or name.startswith(found.beginning)  # nothing that fits lies where nobody looks


def test_a_folder_on_disk_stands_for_all_below(tmp_path: Path):
    assert pattern(str(tmp_path)).fits(f"{tmp_path}/deep/er/1.jpg")
    assert not pattern(str(tmp_path)).fits(f"{tmp_path}-other/1.jpg")


def test_a_file_that_is_there_is_no_pattern(tmp_path: Path):
    odd = tmp_path / "eye[1].jpg"
    odd.write_bytes(b"")
    assert pattern(str(odd)).fits(str(odd))
    assert not pattern(str(odd)).fits(str(tmp_path / "eye1.jpg"))


@pytest.mark.parametrize("text", ["gs://", "gs:///a.jpg", "gs://UPPER/**"])
def test_a_bucket_has_a_name(text: str):
    with pytest.raises(InvalidConfiguration):
        pattern(text)
