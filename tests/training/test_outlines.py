"""Tests of `training.sources.outlines`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.sources.example import HALF, Example, InvalidSource
from training.sources.outlines import ContourPair, MaskPair, read_contour, read_mask


def write_contour(path: Path, points: list[tuple[float, float]]) -> Path:
    path.write_text("".join(f"{x} , {y}\n" for x, y in points))
    return path


def test_a_square_contour_covers_as_many_pixels_as_its_area(tmp_path):
    contour = write_contour(tmp_path / "a.txt", [(1.5, 2.5), (5.5, 2.5), (5.5, 8.5), (1.5, 8.5)])
    disc, cup = ContourPair(contour, None).read((12, 10))
    assert (disc[3:9, 2:6] == 255).all()
    assert (disc > 0).sum() == 4 * 6
    assert not cup.any()


def test_a_round_contour_covers_the_area_of_its_polygon(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    points = [(70.3 + 40 * np.cos(a), 60.8 + 40 * np.sin(a)) for a in angles]
    disc, _ = ContourPair(write_contour(tmp_path / "a.txt", points), None).read((120, 140))
    assert (disc > 0).sum() == pytest.approx(0.5 * 36 * 40**2 * np.sin(2 * np.pi / 36), rel=0.005)


def test_a_contour_that_leaves_the_photograph_a_little_is_cut_off(tmp_path):
    contour = write_contour(tmp_path / "a.txt", [(-0.9, -0.9), (10.0, -0.9), (10.0, 5.5), (-0.9, 5.5)])
    disc, _ = ContourPair(contour, None).read((8, 10))
    assert (disc[:6] == 255).all()
    assert not disc[6:].any()


@pytest.mark.parametrize(
    "text", ["", "1 , 2\n3 , 4\n", "1 , 2 , 3\n" * 4, "a , b\n" * 4, "1 , 99\n" * 4, "nan , 1\n" * 4]
)
def test_what_is_no_contour_is_refused_by_name(tmp_path, text):
    (tmp_path / "odd.txt").write_text(text)
    with pytest.raises(InvalidSource, match=r"odd\.txt"):
        read_contour(tmp_path / "odd.txt", (20, 20))


@pytest.mark.parametrize("separator", [" , ", ",", " ", "\t", ";"])
def test_numbers_may_be_parted_in_any_usual_way(tmp_path, separator):
    (tmp_path / "a.txt").write_text("".join(f"  {x}{separator}{y}\r\n" for x, y in ((1.5, 2), (3, 4), (5, 6))))
    assert read_contour(tmp_path / "a.txt", (20, 20)).tolist() == [[1.5, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB"])
def test_a_mask_is_read_as_stored_whatever_its_mode(tmp_path, mode):
    mask = Image.fromarray(np.eye(70, dtype=np.uint8))
    if mode == "P":
        mask = Image.fromarray(np.eye(70, dtype=np.uint8), "P")
        mask.putpalette((0, 0, 0, 200, 10, 30))
    elif mode == "1":
        mask = Image.fromarray(np.eye(70, dtype=bool))
    elif mode == "RGB":
        mask = mask.convert("RGB")
    mask.save(tmp_path / "a.png")
    assert (read_mask(tmp_path / "a.png") == np.eye(70)).all()


@pytest.mark.parametrize("pixels", [np.ones((9, 9), np.uint16), np.arange(243, dtype=np.uint8).reshape(9, 9, 3)])
def test_a_mask_with_colours_or_deep_samples_is_refused_by_name(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "odd.png")
    with pytest.raises(InvalidSource, match=r"odd\.png"):
        read_mask(tmp_path / "odd.png")


def test_a_cup_beyond_its_disc_is_kept_as_annotated_but_not_as_label(tmp_path):
    disc, cup = np.zeros((2, 20, 20), np.uint8)
    disc[5:15, 5:15] = 255
    cup[8:18, 8:12] = 255
    for name, mask in (("disc", disc), ("cup", cup)):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    pair = MaskPair(tmp_path / "disc.png", tmp_path / "cup.png")
    example = Example("clinic", "eye", tmp_path / "eye.png", pair, True, "full")
    assert ((example.read_annotation((20, 20)).cup >= HALF) & (disc == 0)).sum() == 3 * 4
    labels = example.read_labels((20, 20))
    assert (labels == 2).sum() == 7 * 4
    assert (labels > 0).sum() == 10 * 10


def test_an_annotation_without_a_disc_is_refused_by_name(tmp_path):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "empty.png")
    example = Example("clinic", "eye", tmp_path / "eye.png", MaskPair(tmp_path / "empty.png", None), False, "full")
    with pytest.raises(InvalidSource, match=r"empty\.png: no disc"):
        example.read_labels((20, 20))
