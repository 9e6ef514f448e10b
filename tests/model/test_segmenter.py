"""Tests of `model.segmenter` with a version that was trained on drawn photographs."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from model import artefact
from model.artefact import Artefact
from model.errors import CorruptVersion
from model.masks import Label
from model.registry import open_registry
from model.segmentation import REASONS
from model.segmenter import Segmenter
from tests.drawn import draw_fundus


@pytest.fixture(scope="module")
def segmenter(drawn_version: Artefact) -> Segmenter:
    return Segmenter(drawn_version, precision="f32")


@pytest.fixture(scope="module")
def shipped() -> Segmenter:
    """The version that ships: what is no fundus is for one to know that has seen photographs."""
    return Segmenter(open_registry("bundled").open("production"))


def dice(drawn: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.count_nonzero(drawn & truth) / (np.count_nonzero(drawn) + np.count_nonzero(truth))


def something_else() -> np.ndarray:
    """A street: sky, wall, windows."""
    picture = np.full((300, 400, 3), (130, 170, 220), np.uint8)
    picture[180:] = (110, 110, 110)
    for x in range(20, 380, 60):
        cv2.rectangle(picture, (x, 60), (x + 35, 160), (60, 60, 90), cv2.FILLED)
    return picture


@pytest.mark.parametrize("seed", [101, 102, 103])
@pytest.mark.parametrize("kind", ["whole", "crop", "small", "large"])
def test_whole_photographs_and_crops_of_any_size_go_the_same_way(segmenter, seed, kind):
    random = np.random.default_rng(seed)
    image, labels = {
        "whole": lambda: draw_fundus(random),
        "crop": lambda: draw_fundus(random, 220, 220, 0.7, centred=True),
        "small": lambda: draw_fundus(random, 180, 200),
        "large": lambda: draw_fundus(random, 1500, 1700),
    }[kind]()
    (answer,) = segmenter.segment([image])
    assert answer.drawn.shape == labels.shape
    assert answer.disc is not None
    assert dice(answer.drawn >= Label.RIM, labels >= Label.RIM) > 0.85


def test_the_answer_is_whole_where_it_is_gradable(segmenter):
    answers = segmenter.segment([draw_fundus(np.random.default_rng(seed))[0] for seed in range(200, 206)])
    gradable = [answer for answer in answers if answer.gradable]
    assert len(gradable) >= 3
    for answer in gradable:
        assert answer.reasons == ()
        assert 0 < answer.ratios.vertical < 1
        assert answer.vertical_interval.low <= answer.ratios.vertical <= answer.vertical_interval.high
        assert 0.5 < answer.disc_confidence <= 1
        assert (answer.label_mask == answer.drawn).all()
        assert set(answer.timings_ms) == {"locate", "segment", "measure"}


def test_cup_lies_inside_the_disc(segmenter):
    (answer,) = segmenter.segment([draw_fundus(np.random.default_rng(7))[0]])
    assert (answer.drawn == Label.CUP).any()
    disc = (answer.drawn >= Label.RIM).astype(np.uint8)
    contours, _ = cv2.findContours(disc, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert len(contours) == 1


@pytest.mark.parametrize(
    "photograph",
    [
        np.zeros((200, 300, 3), np.uint8),
        np.full((200, 300, 3), 255, np.uint8),
        np.full((200, 300, 3), 127, np.uint8),
        np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8),
        something_else(),
    ],
    ids=["black", "white", "grey", "noise", "a street"],
)
def test_what_is_no_fundus_is_not_gradable(shipped, photograph):
    (answer,) = shipped.segment([photograph])
    assert not answer.gradable
    assert answer.reasons
    assert set(answer.reasons) <= set(REASONS)
    assert answer.cup is None
    assert answer.ratios is None
    assert answer.vertical_interval is None
    assert answer.cup_confidence is None
    assert not (answer.label_mask == Label.CUP).any()
    assert np.isfinite(answer.distance_from_training)
    assert answer.label_mask.dtype == np.uint8


@pytest.mark.parametrize("grey", [0, 255])
def test_a_blank_picture_has_no_disc_at_all(segmenter, grey):
    (answer,) = segmenter.segment([np.full((120, 90, 3), grey, np.uint8)])
    assert answer.reasons[0] == "disc_not_found"
    assert answer.disc is None
    assert not answer.label_mask.any()


def test_a_batch_answers_as_one_by_one(segmenter):
    photographs = [
        draw_fundus(np.random.default_rng(1))[0],
        draw_fundus(np.random.default_rng(2), 200, 200, 0.7, centred=True)[0],
        np.zeros((100, 150, 3), np.uint8),
    ]
    together = segmenter.segment(photographs)
    for photograph, answer in zip(photographs, together, strict=True):
        (alone,) = segmenter.segment([photograph])
        assert (alone.drawn != answer.drawn).mean() < 1e-4
        assert alone.reasons == answer.reasons


def test_no_photographs_no_answers(segmenter):
    assert segmenter.segment([]) == []


def changed(version: Artefact, folder: Path, **fields: object) -> Artefact:
    shutil.copytree(version.folder, folder)
    return artefact.write(folder, dataclasses.replace(version.manifest, **fields))


def test_an_eye_beyond_a_limit_keeps_its_disc_and_loses_its_ratio(drawn_version, tmp_path):
    photograph, _ = draw_fundus(np.random.default_rng(3))
    limits = drawn_version.manifest.thresholds
    for name, value, reason in (
        ("distance", 0.0, "outside_training_distribution"),
        ("sharpness", 1000.0, "too_blurred"),
        ("cup_confidence", 1.0, "cup_uncertain"),
    ):
        version = changed(drawn_version, tmp_path / name, thresholds={**limits, name: value})
        (answer,) = Segmenter(version).segment([photograph])
        assert reason in answer.reasons
        assert answer.disc is not None
        assert answer.ratios is None
        assert set(np.unique(answer.label_mask)) == {0, 1}
        assert answer.drawn_ratios is not None


def test_where_the_locator_is_not_sure_there_is_no_disc(drawn_version, tmp_path):
    photograph, _ = draw_fundus(np.random.default_rng(3))
    limits = {**drawn_version.manifest.thresholds, "locator_confidence": 1.0}
    (answer,) = Segmenter(changed(drawn_version, tmp_path / "v", thresholds=limits)).segment([photograph])
    assert answer.reasons[0] == "disc_not_found"
    assert 0.5 < answer.locator_confidence < 1
    assert answer.disc is None
    assert not answer.label_mask.any()
    assert answer.drawn.any()


def test_a_version_from_before_the_locator_had_a_limit_answers_as_it_did(drawn_version, segmenter, tmp_path):
    photograph, _ = draw_fundus(np.random.default_rng(3))
    limits = {name: value for name, value in drawn_version.manifest.thresholds.items() if name != "locator_confidence"}
    older = Segmenter(changed(drawn_version, tmp_path / "v", thresholds=limits), precision="f32")
    (before,), (now,) = older.segment([photograph]), segmenter.segment([photograph])
    assert (before.drawn == now.drawn).all()
    assert before.gradable


def test_a_version_without_calibration_gives_no_interval(drawn_version, tmp_path):
    version = changed(drawn_version, tmp_path / "v", calibration={})
    (answer,) = Segmenter(version).segment([draw_fundus(np.random.default_rng(3))[0]])
    assert answer.ratios is not None
    assert answer.vertical_interval is None


@pytest.mark.parametrize("field", ["preprocessing", "normalisation", "thresholds"])
def test_a_manifest_without_the_numbers_is_refused(drawn_version, tmp_path, field):
    values = dict(getattr(drawn_version.manifest, field))
    values.pop(sorted(values)[0])
    with pytest.raises(CorruptVersion, match=r"manifest\.json"):
        Segmenter(changed(drawn_version, tmp_path / "v", **{field: values}))


def test_the_digest_names_the_manifest(drawn_version, segmenter):
    import hashlib

    manifest = (drawn_version.folder / "manifest.json").read_bytes()
    assert segmenter.digest == hashlib.sha256(manifest).hexdigest()
    assert json.loads(manifest)["version"] == segmenter.version
