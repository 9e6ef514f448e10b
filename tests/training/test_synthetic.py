"""Tests of `training.synthetic` and `cupdisc-train synthetic`."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from model import retina
from model.biomarkers import vertical_cup_to_disc_ratio
from model.errors import InvalidConfiguration
from training import cli
from training.duplicates import disc_crop, similar_crops
from training.sources.folder import read_source
from training.synthetic import Camera, Eye, draw, some_camera, some_eye, write_folder
from training.whole_file import CannotWrite

CLEAR = Camera(240, 240, 0.6, 0.0, (0.5, 0.5), falloff=0.0, blur=0.3, noise=0.0)
PLAIN = Eye(True, (5.0, 0.5), 0.9, 0.0, 0.5, 1.0, (0.0, 0.0), 0.9, 0.9, 0.0, 3)


def some(number: int, crop: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    return draw(some_eye(random), some_camera(random, crop), random)


def test_masks_are_what_was_asked_for_to_the_pixel():
    _, labels = draw(PLAIN, CLEAR, np.random.default_rng(1))
    rows, columns = np.nonzero(labels)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (48, 191, 55, 184)
    rows, columns = np.nonzero(labels == 2)
    assert (rows.min(), rows.max()) == (84, 155)
    assert vertical_cup_to_disc_ratio(labels) == 0.5


@pytest.mark.parametrize("least", [1, 2])
def test_outlines_lie_where_the_colours_change_though_the_border_is_blurred(least):
    picture, labels = draw(dataclasses.replace(PLAIN, disc_width=1.0), CLEAR, np.random.default_rng(1))
    radius = 72 if least == 1 else 36
    rows, columns = np.mgrid[:240, :240] + 0.5
    away = np.hypot(rows - 120, columns - 120) - radius
    assert (labels >= least).sum() == pytest.approx(np.pi * radius**2, rel=0.01)
    profile = {step: np.median(picture[np.abs(away - step) < 0.5].sum(axis=1)) for step in range(-10, 11)}
    half = (profile[-10] + profile[10]) / 2
    assert profile[-10] > profile[10] + 20
    assert profile[-2] > half > profile[2]
    assert profile[-1] - profile[1] < 0.6 * (profile[-10] - profile[10])  # blurred: the change takes several pixels


def test_every_disc_is_brighter_than_its_surround_and_every_cup_lies_inside():
    for number in range(12):
        picture, labels = some(number, crop=number % 3 == 0)
        disc = labels > 0
        brightness = picture.sum(axis=2)
        assert np.median(brightness[disc]) > np.median(brightness[~disc & (brightness > 60)]) + 20
        assert 0.2 < vertical_cup_to_disc_ratio(labels) < 0.9


def test_eyes_and_cameras_differ():
    photographs = [some(number) for number in range(12)]
    assert len({picture.shape for picture, _ in photographs}) > 6
    reds = [np.median(picture[..., 0][picture.sum(axis=2) > 60]) for picture, _ in photographs]
    assert max(reds) > 1.25 * min(reds)
    sides = [np.nonzero(labels)[1].mean() / labels.shape[1] for _, labels in photographs]
    assert min(sides) < 0.4
    assert max(sides) > 0.6


def test_whole_photographs_have_a_field_of_view_and_crops_fill_the_picture():
    for number in range(6):
        whole, crop = retina.field_of_view(some(number)[0]), retina.field_of_view(some(number, crop=True)[0])
        assert crop.inside.mean() > 0.99
        assert whole.inside.mean() < 0.97


def test_vessels_leave_the_disc():
    """In a ring around the disc there are dark pieces: at least four vessels cross it."""
    picture, labels = draw(PLAIN, CLEAR, np.random.default_rng(1))
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    ring = picture[(120 + 95 * np.sin(angles)).astype(int), (120 + 95 * np.cos(angles)).astype(int), 1].astype(int)
    dark = ring < np.median(ring) - 12
    assert np.count_nonzero(dark & ~np.roll(dark, 1)) >= 4
    assert labels.shape == (240, 240)


def test_no_two_are_of_one_eye():
    crops = [disc_crop(*some(number, crop=number % 2 == 0)) for number in range(30)]
    assert similar_crops(crops) == []


def test_a_folder_is_a_source_of_whole_photographs_and_crops(tmp_path: Path):
    examples = read_source(write_folder(tmp_path / "drawn", 10, seed=3), "drawn")
    assert [example.id for example in examples] == [f"eye{number:04}" for number in range(10)]
    assert {example.view for example in examples} == {"full", "crop"}
    for example in examples:
        photograph = example.read_photograph()
        labels = example.read_labels(photograph.shape[:2])
        assert set(np.unique(labels)) == {0, 1, 2}
        assert ((labels > 0).mean() > 0.15) == (example.view == "crop")


def test_the_same_seed_draws_the_same_whatever_the_count(tmp_path: Path):
    few, more, others = (
        write_folder(tmp_path / name, count, seed) for name, count, seed in (("a", 2, 1), ("b", 3, 1), ("c", 2, 2))
    )
    for part in ("images", "masks"):
        assert (few / part / "eye0001.png").read_bytes() == (more / part / "eye0001.png").read_bytes()
    assert (few / "images" / "eye0000.png").read_bytes() != (others / "images" / "eye0000.png").read_bytes()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.csv").write_text("id\n")
    with pytest.raises(InvalidConfiguration, match="mine"):
        write_folder(tmp_path / "mine", 1, seed=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["index.csv"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file"):
        write_folder(tmp_path / "file" / "drawn", 1, seed=1)


def test_broken_off_nothing_is_left(tmp_path: Path):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "drawn", 3, seed=1, watch=stop)
    assert not list(tmp_path.iterdir())


def test_the_command_draws_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arguments = ["synthetic", "--out", str(tmp_path / "drawn"), "--count", "2", "--seed", "4"]
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert len(read_source(tmp_path / "drawn", "drawn")) == 2
