"""Tests of `training.pretrained`."""

import io
import pickle

import keras
import numpy as np
import pytest

from model.unet import build_unet
from model.unet_config import UNetConfig
from training import pretrained

SHAPE = UNetConfig(input_size=64, stem_stride=2, depth=4, start_channels=4, encoder="efficientnet_lite0")


@pytest.fixture(scope="module")
def weights():
    return pretrained.read_imagenet()


def encoder_of(network):
    return [layer for layer in network.layers if pretrained.names_of(layer.name)]


def test_every_weight_of_the_encoder_comes_from_the_file(weights):
    network = build_unet(SHAPE)
    pretrained.start_from_imagenet(network)
    used = [name for layer in encoder_of(network) for name in pretrained.names_of(layer.name)]
    left = {name for name in weights if not name.endswith("num_batches_tracked")} - set(used)
    assert len(used) == len(set(used))
    assert {name.split(".")[0] for name in left} == {"_conv_head", "_bn1", "_fc"}  # the classifier's


def test_the_first_convolution_is_that_of_the_file_for_images_of_half_the_deviation(weights):
    network = build_unet(SHAPE)
    pretrained.start_from_imagenet(network)
    image = np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype(np.float32)
    stem = keras.Model(network.input, network.get_layer("stem").output)
    seen = np.asarray(stem(image))[0, 3, 5]
    patch = image[0, 6:9, 10:13] * pretrained.DEVIATION  # rows and columns 2 × 3 and 2 × 5 on: "same" pads the far side
    np.testing.assert_allclose(seen, np.einsum("oirc,rci->o", weights["_conv_stem.weight"], patch), atol=1e-4)


def test_a_depthwise_filter_stays_with_its_channel(weights):
    network = build_unet(SHAPE)
    pretrained.start_from_imagenet(network)
    (kernel,) = network.get_layer("bottleneck_3_depthwise").get_weights()
    found = weights["_blocks.3._depthwise_conv.weight"]
    assert kernel.shape == (5, 5, 144, 1)
    np.testing.assert_array_equal(kernel[1, 2, 77, 0], found[77, 0, 1, 2])


def test_the_way_up_keeps_its_own_weights():
    network = build_unet(SHAPE)
    rest = [layer for layer in network.layers if layer.weights and not pretrained.names_of(layer.name)]
    before = [weight.copy() for layer in rest for weight in layer.get_weights()]
    pretrained.start_from_imagenet(network)
    for old, new in zip(before, [weight for layer in rest for weight in layer.get_weights()], strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_that_names_anything_but_tensors_is_not_run():
    harmful = io.BytesIO(b"".join(pickle.dumps(each) for each in (1, 2, 3)) + pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="print: not a tensor"):
        pretrained.read_tensors(harmful)


def test_without_the_package_the_message_names_it(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package")
    with pytest.raises(pretrained.InvalidConfiguration, match="needs the package no-such-package"):
        pretrained.read_imagenet()
