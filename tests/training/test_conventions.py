"""Tests of `training.conventions`: whose annotation is learnt, and the plain network that draws a mean of them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig
from training.config import NetworkConfig, Preset, SourceConfig, preset_from_dict
from training.conventions import Conventions, conventions_of, folded, measure_conventions, shifted, shifts_of, unfold

SHAPE = UNetConfig(input_size=32, depth=2, start_channels=4, stem_stride=2)
SOURCES = (
    SourceConfig("crops", group="clinic"),
    SourceConfig("discs"),
    SourceConfig("full", group="clinic", weight=0.1),
    SourceConfig("other"),
)


def images(count=3):
    return np.random.default_rng(2).normal(size=(count, 32, 32, 3)).astype(np.float32)


def trained():
    """A network with three conventions, none of its weights at rest."""
    model = build_unet(SHAPE, "unet", 3)
    random = np.random.default_rng(1)
    model.set_weights([weight + random.uniform(-0.3, 0.3, weight.shape) for weight in model.get_weights()])
    return model


def conventions(answer):
    return Conventions(("a", "b", "c"), {"one": 0, "two": 2}, np.array(answer, np.float32), 0.5)


def test_a_folded_network_draws_what_its_conventions_draw():
    model = trained()
    drawn = []
    for shares in ([1, 0, 0], [0, 0.5, 0.5], [0.2, 0.3, 0.5]):
        told = conventions(shares)
        plain = folded(model, SHAPE, "unet", told.answer)
        assert plain.count_params() == build_unet(SHAPE).count_params()
        expected = ops.convert_to_numpy(model(told.answering(images()), training=False))
        np.testing.assert_allclose(ops.convert_to_numpy(plain(images(), training=False)), expected, atol=1e-5)
        drawn.append(expected)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01


def test_shifted_weights_draw_another_mean():
    model = trained()
    told = conventions([1, 0, 0])
    shifts = shifts_of(model, told, SHAPE, "unet")
    plain = folded(model, SHAPE, "unet", told.answer)
    expected = folded(model, SHAPE, "unet", np.array([0.2, 0.3, 0.5], np.float32)).get_weights()
    weights = shifted(plain.get_weights(), shifts, told.shares, {"a": 0.2, "b": 0.3, "c": 0.5})
    for weight, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=1e-5)


def test_before_training_all_conventions_draw_as_the_network_they_start_from():
    plain, model = build_unet(SHAPE, "plain"), build_unet(SHAPE, "unet", 2)
    unfold(plain, model)
    expected = ops.convert_to_numpy(plain(images(), training=False))
    for shares in ([1, 0], [0, 1], [0.5, 0.5]):
        inputs = [images(), np.repeat(np.array([shares], np.float32), 3, axis=0)]
        np.testing.assert_allclose(ops.convert_to_numpy(model(inputs, training=False)), expected, atol=1e-6)


def test_half_of_the_samples_are_told_with_their_sources_convention():
    sources = ["one", "two"] * 500
    _, told = conventions([0, 0, 0]).told(images(1000), sources, np.random.default_rng(1))
    seen = told.sum(axis=1)
    assert 450 < seen.sum() < 550
    assert (told[::2, 0] == seen[::2]).all()
    assert (told[1::2, 2] == seen[1::2]).all()


def preset(**segmenter):
    return Preset("p", SOURCES, NetworkConfig(SHAPE), NetworkConfig(SHAPE, **segmenter))


def found(chosen, complete=("crops", "full", "other")):
    return conventions_of(chosen, chosen.segmenter, set(complete))


def test_the_answer_holds_what_was_asked_and_the_rest_is_untold():
    several = found(preset(told=0.5))
    assert several.shares == {"clinic": 0, "discs": 0, "other": 0}
    assert several.of_source == {"crops": 0, "full": 0, "discs": 1, "other": 2}
    assert found(preset(told=0.5, answer={"clinic": 0.75})).shares == {"clinic": 0.75, "discs": 0, "other": 0}
    with pytest.raises(InvalidConfiguration, match="at most 1"):
        preset(told=0.5, answer={"clinic": 0.75, "other": 0.5})
    with pytest.raises(InvalidConfiguration, match="needs told"):
        preset(answer={"clinic": 0.75})


def test_a_network_that_is_always_told_draws_by_conventions_alone():
    assert found(preset(told=1.0)).shares == {"clinic": 0.5, "discs": 0, "other": 0.5}
    assert found(preset(told=1.0), complete=()).shares == pytest.approx(
        dict.fromkeys(("clinic", "discs", "other"), 1 / 3)
    )
    assert found(preset(told=1.0, answer={"clinic": 0.3})).shares == {"clinic": 1, "discs": 0, "other": 0}


def test_what_is_left_out_or_weighs_nothing_has_no_convention():
    chosen = preset(told=0.5, sources={"discs": 0.0}, answer={"other": 1.0})
    without = dataclasses.replace(chosen, sources=(*SOURCES[:3], dataclasses.replace(SOURCES[3], left_out=True)))
    assert found(without) is None  # one is left
    assert found(chosen).names == ("clinic", "other")
    assert found(preset()) is None


def test_an_answer_of_nobody_is_refused():
    values = preset(told=0.5, answer={"nobody": 1.0}).as_dict()
    with pytest.raises(InvalidConfiguration, match=r"segmenter\.answer\.nobody"):
        preset_from_dict(values)


def test_larger_cups_are_measured_as_larger():
    image, shares = keras.Input((32, 32, 3)), keras.Input((2,))
    logits, more = keras.layers.Conv2D(2, 1), keras.layers.Dense(2, use_bias=False)
    flow = keras.layers.Add()([logits(image), keras.layers.Reshape((1, 1, 2))(more(shares))])
    model = keras.Model([image, shares], keras.layers.Activation("sigmoid")(flow))
    logits.set_weights([np.eye(3, 2, dtype=np.float32)[None, None], np.zeros(2)])
    more.set_weights([np.array([[0, -1], [0, 1]])])
    both = Conventions(("small", "large"), {}, np.array([0.5, 0.5], np.float32), 0.5)
    table = measure_conventions(model, both, images(40), ("disc", "cup"))
    assert table["small"]["share"] == 0.5
    assert table["small"]["disc_radius"] == table["large"]["disc_radius"] == 1
    assert table["small"]["cup_radius"] < 0.7 < 1.2 < table["large"]["cup_radius"]
