"""Tests of `training.duplicates` and of `cupdisc-train duplicates`."""

import csv
import dataclasses
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn import write_folder
from tests.photographs import shared_data
from training import cli
from training.config import Preset, preset_from_dict
from training.duplicates import BITS, LIMIT, disc_crop, find_duplicates, similar_crops
from training.preset_files import read_preset
from training.split import Split, read_splits
from training.synthetic import draw, some_camera, some_eye

EYES = 12


def preset(*sources: dict[str, object]) -> Preset:
    networks = {"locator": {"network": {"outputs": ["disc"]}}, "segmenter": {"network": {}}}
    return preset_from_dict({"name": "drawn", "sources": list(sources), **networks})


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn source. Not to be changed."""
    return write_folder(tmp_path_factory.mktemp("duplicates") / "clinic", EYES, seed=21)


def plant(data: Path, clinic: Path, change) -> None:
    """The source `clinic`, and a source `copies` whose every photograph is one of its, changed."""
    (data / "clinic").symlink_to(clinic)
    folder = data / "copies"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = [["id", "disc", "cup", "view"]]
    for number in range(0, EYES, 4):
        name = f"eye{number:03}.png"
        image, mask = (cv2.imread(str(clinic / part / name), cv2.IMREAD_UNCHANGED) for part in ("images", "masks"))
        image, mask = change(image, mask)
        cv2.imwrite(str(folder / "images" / f"copy{number:03}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
        cv2.imwrite(str(folder / "masks" / f"copy{number:03}.png"), mask)
        rows.append([f"copy{number:03}", "1", "1", "full"])
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def scaled(image, mask):
    size = (int(image.shape[1] * 0.6), int(image.shape[0] * 0.6))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.resize(
        mask, size, interpolation=cv2.INTER_NEAREST
    )


def cropped(image, mask):
    rows, columns = np.nonzero(mask)
    top, left = max(rows.min() - 8, 0), max(columns.min() - 8, 0)
    return tuple(each[top : rows.max() + 9, left : columns.max() + 9] for each in (image, mask))


def brighter(image, mask):
    return np.clip(image * 1.2 + 8, 0, 255).astype(np.uint8), mask


def mirrored(image, mask):
    return scaled(image[:, ::-1], mask[:, ::-1])


def outlined_by_another(image, mask):
    return image, np.minimum(cv2.dilate(mask, np.ones((1, 3))), 1)


def recompressed(image, mask):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR), mask


def all_of_it(image, mask):
    return recompressed(*brighter(*outlined_by_another(*cropped(image[:, ::-1], mask[:, ::-1]))))


CHANGES = [scaled, cropped, brighter, mirrored, outlined_by_another, recompressed, all_of_it]


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_nothing_else(tmp_path, clinic, change):
    plant(tmp_path, clinic, change)
    splits = read_splits(preset({"name": "clinic"}, {"name": "copies", "left_out": True}), tmp_path)
    pairs = find_duplicates(splits)
    assert {(pair.first.id, pair.second.id) for pair in pairs} == {
        (f"eye{number:03}", f"copy{number:03}") for number in range(0, EYES, 4)
    }
    assert all(pair.mirrored == (change in (mirrored, all_of_it)) for pair in pairs)
    assert all(pair.leaks for pair in pairs)  # trained on, while its copy judges


def test_different_eyes_are_no_pairs(tmp_path):
    write_folder(tmp_path / "clinic", 20, seed=22)
    assert find_duplicates(read_splits(preset({"name": "clinic"}), tmp_path)) == []


def test_fellow_eyes_and_eyes_with_the_same_disc_are_no_pairs():
    """The same camera, disc and cup, and other vessels; and the fellow eye, which is nearly a mirror image."""
    for seed in range(6):
        random = np.random.default_rng(seed)
        eye, camera = some_eye(random), some_camera(random, crop=seed % 2 == 0)
        others = [eye, *(dataclasses.replace(eye, vessels=number, left=left) for number in (1, 2) for left in (0, 1))]
        crops = [disc_crop(*draw(other, camera, np.random.default_rng(i))) for i, other in enumerate(others)]
        assert similar_crops(crops) == [
            pair for pair in similar_crops(crops) if (pair[0], pair[1]) in ((1, 2), (3, 4)) and pair[3]
        ]


def test_both_training_is_no_leak(tmp_path, clinic):
    plant(tmp_path, clinic, scaled)
    pairs = find_duplicates(read_splits(preset({"name": "clinic"}, {"name": "copies"}), tmp_path))
    assert len(pairs) == EYES // 4
    assert not any(pair.leaks for pair in pairs)


def test_a_crop_equals_itself_and_its_mirror_image(tmp_path):
    folder = write_folder(tmp_path / "clinic", 1, seed=1)
    image = cv2.imread(str(folder / "images" / "eye000.png"))
    mask = cv2.imread(str(folder / "masks" / "eye000.png"), cv2.IMREAD_UNCHANGED)
    crop = disc_crop(image, mask)
    assert similar_crops([crop, crop, crop[:, ::-1]]) == [(0, 1, 0, False), (0, 2, 0, True), (1, 2, 0, True)]


def test_the_crop_has_one_scale_for_every_photograph(tmp_path):
    folder = write_folder(tmp_path / "clinic", 1, seed=1)
    image = cv2.imread(str(folder / "images" / "eye000.png"))
    mask = cv2.imread(str(folder / "masks" / "eye000.png"), cv2.IMREAD_UNCHANGED)
    twice = [cv2.resize(each, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for each in (image, mask)]
    assert np.abs(disc_crop(image, mask).astype(int) - disc_crop(*twice)).mean() < 4


def test_nothing_to_compare_is_no_pair():
    assert find_duplicates({"empty": Split((), (), False)}) == []


def test_the_command_prints_the_pairs_and_succeeds(tmp_path: Path, clinic: Path, monkeypatch, capsys):
    plant(tmp_path, clinic, mirrored)
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[sources]]\nname = "clinic"\n[[sources]]\nname = "copies"\nleft_out = true\n'
        '[locator.network]\noutputs = ["disc"]\n[segmenter.network]\ninput_size = 64\n'
    )
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", "duplicates", str(path), "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert "copies/copy004" in shown
    assert "mirrored" in shown
    assert "3 near-duplicate pairs, 3 across" in shown


def test_the_eye_that_lies_in_two_real_sources_is_found():
    splits = read_splits(read_preset("bundled"), shared_data())
    some = {
        "refuge-full": splits["refuge-full"],
        "refuge-crops": Split(splits["refuge-crops"].training[:20], (), False),
        "rim-one-dl": Split((), splits["rim-one-dl"].held_out[:20], True),
    }
    assert "g0001" in [example.id for example in some["refuge-crops"].training]
    (pair,) = find_duplicates(some)
    assert {(each.source, each.id) for each in (pair.first, pair.second)} == {
        ("refuge-full", "g0001"),
        ("refuge-crops", "g0001"),
    }
    assert pair.bits < LIMIT / 2 < BITS
    assert not pair.mirrored
