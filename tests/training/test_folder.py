"""Tests of `training.sources.folder`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn import write_folder
from training.sources.example import InvalidSource, digest
from training.sources.folder import read_source


def test_photographs_and_labels_come_in_order(tmp_path):
    examples = read_source(write_folder(tmp_path / "eyes", 3, seed=1), "clinic")
    assert [example.id for example in examples] == ["eye000", "eye001", "eye002"]
    photograph = examples[0].read_photograph()
    labels = examples[0].read_labels(photograph.shape[:2])
    assert photograph.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 2}


def test_every_fault_is_named_at_once(tmp_path):
    folder = write_folder(tmp_path / "eyes", 3, seed=1)
    (folder / "images" / "eye000.png").unlink()
    (folder / "masks" / "eye002.png").unlink()
    index = folder / "index.csv"
    index.write_text(index.read_text() + "eye001,train,,1,1,full,4,4\neye009,train,,2,1,side,4,4\n")
    with pytest.raises(InvalidSource) as caught:
        read_source(folder, "clinic")
    for name in ("eye000", "eye002", "eye001", "eye009"):
        assert name in str(caught.value)


def test_a_mask_of_another_size_is_refused_by_name(tmp_path):
    folder = write_folder(tmp_path / "eyes", 1, seed=1)
    cv2.imwrite(str(folder / "masks" / "eye000.png"), np.ones((8, 8), np.uint8))
    (example,) = read_source(folder, "clinic")
    with pytest.raises(InvalidSource, match=r"eye000\.png"):
        example.read_labels((360, 400))


def test_an_unreadable_photograph_is_refused_by_name(tmp_path):
    folder = write_folder(tmp_path / "eyes", 1, seed=1)
    (folder / "images" / "eye000.png").write_bytes(b"not a picture")
    (example,) = read_source(folder, "clinic")
    with pytest.raises(InvalidSource, match=r"eye000\.png"):
        example.read_photograph()


@pytest.mark.parametrize("text", [None, "", "id,disc\n1,1\n", "id,disc,cup,view\n"])
def test_an_empty_or_odd_index_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "index.csv").write_text(text)
    with pytest.raises(InvalidSource):
        read_source(tmp_path, "clinic")


def test_an_ellipse_stands_in_for_a_mask(tmp_path):
    folder = write_folder(tmp_path / "eyes", 2, seed=1)
    index = folder / "index.csv"
    index.write_text(index.read_text().replace(",,1,1,", ",,0,0,"))
    ellipses = tmp_path / "ellipses.csv"
    ellipses.write_text("id,x,y,width,height\neye001,100,60,40,20\n")
    (example,) = read_source(folder, "clinic", ellipses)
    labels = example.read_labels((360, 400))
    assert not example.cup_annotated
    assert labels.sum() == pytest.approx(np.pi * 20 * 10, rel=0.01)
    assert labels[60, 100] == 1


def test_digest_changes_with_one_byte(tmp_path: Path):
    folder = write_folder(tmp_path / "eyes", 2, seed=1)
    before = digest(read_source(folder, "clinic"))
    assert digest(read_source(folder, "clinic")) == before
    mask = folder / "masks" / "eye001.png"
    labels = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    labels[0, 0] = 1
    cv2.imwrite(str(mask), labels)
    assert digest(read_source(folder, "clinic")) != before


def test_a_diagnosis_is_read_where_the_table_tells_it(tmp_path):
    folder = write_folder(tmp_path / "eyes", 3, seed=1)
    lines = (folder / "index.csv").read_text().splitlines()
    told = [line.replace(",train,,", f",train,{value},") for line, value in zip(lines[1:], ("1", "0", ""), strict=True)]
    (folder / "index.csv").write_text("\n".join([lines[0], *told]) + "\n")
    assert [example.glaucoma for example in read_source(folder, "clinic")] == [True, False, None]
    (folder / "index.csv").write_text("\n".join([lines[0], told[0].replace(",1,", ",yes,", 1)]) + "\n")
    with pytest.raises(InvalidSource, match="eye000: glaucoma"):
        read_source(folder, "clinic")
