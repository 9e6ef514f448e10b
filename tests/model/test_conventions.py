"""Tests of `model.conventions`, and of what engines and `model.segmenter` make of them."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from model import artefact, conventions, engines
from model.artefact import Artefact
from model.conventions import Convention, Conventions
from model.errors import ConventionNotFound, CorruptVersion
from model.masks import Label
from model.segmenter import Segmenter
from tests.drawn import draw_fundus

STANDING = (np.array([1, 2], np.float32), np.array([0.5], np.float32))
OTHER = (np.array([1, 3], np.float32), np.array([0.25], np.float32))
TWO = Conventions(STANDING, {"clinic": Convention(OTHER, 0.6, 0.4), "refuge": Convention(STANDING, 0.7, 0.5)})


def test_conventions_survive_their_file(tmp_path: Path) -> None:
    conventions.write(TWO, tmp_path)
    read = conventions.read(tmp_path)
    assert list(read.each) == ["clinic", "refuge"]
    assert read.drawn == "refuge"
    assert (read.each["clinic"].disc, read.each["clinic"].cup) == (0.6, 0.4)
    for one, other in zip(read.each["clinic"].biases + read.standing, OTHER + STANDING, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_version_from_before_them_has_none(tmp_path: Path) -> None:
    assert conventions.read(tmp_path) == conventions.NONE
    assert conventions.NONE.drawn is None


def test_a_version_that_draws_a_mean_draws_none_of_them() -> None:
    assert Conventions(STANDING, {"clinic": TWO.each["clinic"]}).drawn is None


@pytest.mark.parametrize("damage", ["no archive", "cut", "other layers", "no thresholds", "no standing", "no name"])
def test_a_file_that_holds_something_else_is_a_corrupt_version(tmp_path: Path, damage: str) -> None:
    file = tmp_path / conventions.FILE
    conventions.write(TWO, tmp_path)
    with np.load(file) as found:
        arrays = dict(found)
    match damage:
        case "no archive":
            file.write_bytes(b"not an archive")
        case "cut":
            file.write_bytes(file.read_bytes()[:-40])
        case "other layers":
            np.savez(file, **{**arrays, "clinic/1": np.zeros(3, np.float32)})
        case "no thresholds":
            np.savez(file, **{key: value for key, value in arrays.items() if key != "clinic/thresholds"})
        case "no name":
            np.savez(file, **{key.replace("clinic", "a\nb"): value for key, value in arrays.items()})
        case "no standing":
            np.savez(file, **{key: value for key, value in arrays.items() if not key.startswith(".standing")})
    with pytest.raises(CorruptVersion, match=conventions.FILE):
        conventions.read(tmp_path)


def test_biases_are_found_in_whatever_shape_and_only_where_they_stand_once() -> None:
    values = [np.zeros(2, np.float32), STANDING[1].reshape(1, 1), STANDING[0].reshape(1, 2, 1, 1)]
    assert conventions.found(values, STANDING) == [2, 1]
    for wrong in (values[:2], [*values, STANDING[0]]):
        with pytest.raises(CorruptVersion):
            conventions.found(wrong, STANDING)


@pytest.fixture(scope="module")
def segmenter(drawn_version: Artefact) -> Segmenter:
    """It learnt the ways of "whole" and "crops", and draws by looks."""
    return Segmenter(drawn_version, precision="f32")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return draw_fundus(np.random.default_rng(7))[0]


def test_a_version_draws_as_it_is_asked(segmenter: Segmenter, photograph: np.ndarray) -> None:
    assert (segmenter.conventions, segmenter.convention) == (("crops", "whole"), None)
    assert segmenter.in_convention(None) is segmenter
    assert segmenter.is_ready(None)
    other = segmenter.in_convention("crops")
    assert segmenter.is_ready("crops")
    assert segmenter.in_convention("crops") is other
    assert (other.convention, other.version, other.digest) == ("crops", segmenter.version, segmenter.digest)
    before, drawn = (each.segment([photograph])[0].probabilities for each in (segmenter, other))
    assert before is not None
    assert drawn is not None
    assert 0.001 < np.abs(before - drawn).max() < 1
    np.testing.assert_array_equal(before, segmenter.segment([photograph])[0].probabilities)  # as it was


def test_what_was_not_learnt_is_refused_by_name(segmenter: Segmenter, tiny_version: Artefact) -> None:
    with pytest.raises(ConventionNotFound, match="no convention 'clinic'; there is crops, whole"):
        segmenter.in_convention("clinic")
    with pytest.raises(ConventionNotFound, match="there is none"):
        Segmenter(tiny_version, precision="f32").in_convention("crops")


def test_a_copy_with_other_thresholds_keeps_them_to_itself(segmenter: Segmenter, photograph: np.ndarray) -> None:
    strict = segmenter.with_thresholds(dataclasses.replace(segmenter._thresholds, disc_confidence=1.0))
    assert not strict.in_convention("whole").segment([photograph])[0].gradable
    assert segmenter.in_convention("whole").segment([photograph])[0].disc_confidence is not None


def test_thresholds_are_those_of_the_convention(
    drawn_version: Artefact, photograph: np.ndarray, tmp_path: Path
) -> None:
    shutil.copytree(drawn_version.folder, folder := tmp_path / "2026.1.1")
    known = conventions.read(folder)
    known.each["crops"] = dataclasses.replace(known.each["crops"], cup=0.999999)
    conventions.write(known, folder)
    segmenter = Segmenter(artefact.write(folder, drawn_version.manifest), precision="f32")
    assert (segmenter.segment([photograph])[0].drawn == Label.CUP).any()
    assert not (segmenter.in_convention("crops").segment([photograph])[0].drawn == Label.CUP).any()


@pytest.mark.parametrize("name", engines.ENGINES)
def test_every_engine_draws_what_keras_draws_with_these_biases(drawn_version: Artefact, name: str) -> None:
    keras_restore = pytest.importorskip("training.restore")
    from model.unet_config import UNetConfig

    config = UNetConfig(**drawn_version.manifest.segmenter.config)
    network = keras_restore.restore_network(drawn_version.segmenter, config, "segmenter")
    known, weights = conventions.read(drawn_version.folder), network.get_weights()
    for number, bias in zip(conventions.found(weights, known.standing), known.each["whole"].biases, strict=True):
        weights[number] = bias
    network.set_weights(weights)
    side = config.input_size
    images = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    engine = engines.load(drawn_version.segmenter, name, "f32")
    before = engine(images)
    changed = engines.with_biases(engine, known.standing, known.each["whole"].biases)
    np.testing.assert_allclose(changed(images), np.asarray(network(images, training=False)), atol=1e-4)
    np.testing.assert_array_equal(engine(images), before)
    assert (changed.name, changed.precision) == (engine.name, engine.precision)
    if (many := engines.for_many(changed, 2)) is not None:
        np.testing.assert_allclose(many(images), changed(images), atol=1e-5)
    with pytest.raises(CorruptVersion):
        engines.with_biases(engine, OTHER, STANDING)
