"""Tests of `model.efficientnet`."""

import keras
import pytest

from model import efficientnet
from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import DEEPEST_EFFICIENTNET, UNetConfig

SHAPE = {"input_size": 64, "stem_stride": 2, "depth": 3, "start_channels": 4, "encoder": "efficientnet_lite0"}


@pytest.mark.parametrize(
    ("depth", "widths"),
    [(0, [16]), (1, [16, 24]), (2, [16, 24, 40]), (3, [16, 24, 40, 112]), (4, [16, 24, 40, 112, 320])],
)
def test_each_level_has_half_the_resolution_and_the_papers_width(depth, widths):
    levels = efficientnet.encode(keras.Input((64, 64, 3)), depth, 0.9)
    assert [tuple(level.shape[1:]) for level in levels] == [(32 >> i, 32 >> i, width) for i, width in enumerate(widths)]


def test_the_whole_encoder_has_the_published_number_of_weights():
    image = keras.Input((64, 64, 3))
    encoder = keras.Model(image, efficientnet.encode(image, DEEPEST_EFFICIENTNET, 0.9)[-1])
    # 4,652,008 of the published network, less its head: 320 × 1280 + 2 × 1280 and 1280 × 1000 + 1000
    assert sum(weight.shape.num_elements() for weight in encoder.trainable_weights) == 4_652_008 - 412_160 - 1_281_000


def test_a_layer_tells_its_level():
    network = build_unet(UNetConfig(**{**SHAPE, "depth": 4}))
    levels = [efficientnet.level_of(layer.name) for layer in network.layers if layer.weights]
    known = [level for level in levels if level is not None]
    assert known == sorted(known)
    assert set(known) == {0, 1, 2, 3, 4}
    assert levels[: len(known)] == known  # the rest is the way up
    assert efficientnet.level_of("conv2d_3") is None


def test_the_encoder_needs_a_stem_of_stride_two_and_so_many_levels():
    with pytest.raises(InvalidConfiguration, match="encoder=efficientnet_lite0"):
        UNetConfig(**{**SHAPE, "stem_stride": 1})
    with pytest.raises(InvalidConfiguration, match="a depth of at most 4"):
        UNetConfig(**{**SHAPE, "depth": 5, "input_size": 128})
    with pytest.raises(InvalidConfiguration, match="must be one of plain, efficientnet_lite0"):
        UNetConfig(encoder="resnet")
