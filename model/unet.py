"""The generalised U-Net: the Keras network that a `UNetConfig` describes."""

from typing import Any

import keras
from keras import layers

from model import efficientnet
from model.unet_config import UNetConfig

BATCH_NORMALISATION_MOMENTUM = 0.9  # Keras' 0.99 lags behind in the short trainings that we do
LARGEST_GROUPS = 8  # group normalisation; fewer where the channels do not divide


def build_unet(config: UNetConfig, name: str = "unet", conventions: int = 0) -> keras.Model:
    """A U-Net that turns normalised images into probabilities.

    Args:
        config: the shape of the network.
        name: of the Keras model; letters, digits and underscores.
        conventions: for training alone, of a single member: how many ways of annotating the network tells apart, by
            what each adds to the biases of the bottom block, of the way up and of the logits. It then has a second
            input, (batch, conventions) float32, the share of each in the answer.
    Returns:
        (batch, S, S, 3) float32, any range, to (batch, S, S, C) float32 in [0, 1]; S is `config.input_size`, C the
        number of `config.outputs`. The last layer is float32 under any dtype policy. The weights of several members
        stand one member after the other.
    """
    image = keras.Input((config.input_size, config.input_size, 3), name="image")
    if len(config.singles) > 1:
        drawn = [build_unet(single, f"{name}_{number}")(image) for number, single in enumerate(config.singles, 1)]
        return keras.Model(image, layers.Average(dtype="float32", name="probabilities")(drawn), name=name)
    convention = keras.Input((conventions,), name="convention") if conventions else None
    stride = config.stem_stride
    if config.encoder == "plain":
        *skips, flow = _plain_encoder(image, config)
    else:
        *skips, flow = efficientnet.encode(image, config.depth, BATCH_NORMALISATION_MOMENTUM)
    flow = _block(flow, config.channels[-1], config, config.dropout, convention)
    for width, skip in zip(reversed(config.channels[:-1]), reversed(skips), strict=True):
        if config.upsampling == "transposed_convolution":
            flow = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation=config.activation)(flow)
        else:
            flow = layers.Conv2D(width, 2, padding="same", activation=config.activation)(layers.UpSampling2D()(flow))
        flow = _block(layers.Concatenate()([skip, flow]), width, config, convention=convention)
    logits = _convolve(flow, layers.Conv2D(len(config.outputs), 1), convention)
    if stride > 1:  # outlines of discs and cups are smooth: interpolated logits lose nothing that matters
        logits = layers.UpSampling2D(stride, interpolation="bilinear")(logits)
    probabilities = layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    return keras.Model(image if convention is None else [image, convention], probabilities, name=name)


def _plain_encoder(image: Any, config: UNetConfig) -> list[Any]:
    """What each level makes of an image, and what the bottom block sees: depth + 1 tensors."""
    levels, flow, stride = [], image, config.stem_stride
    if stride > 1:
        flow = layers.Conv2D(
            config.start_channels, 2 * stride, strides=stride, padding="same", activation=config.activation
        )(flow)
    for width in config.channels[:-1]:
        flow = _block(flow, width, config)
        levels.append(flow)
        if config.downsampling == "max_pooling":
            flow = layers.MaxPooling2D()(flow)
        else:
            flow = layers.Conv2D(width, 3, strides=2, padding="same")(flow)
    return [*levels, flow]


def _block(flow: Any, width: int, config: UNetConfig, dropout: float = 0.0, convention: Any = None) -> Any:
    """Two 3×3 convolutions, each with activation, then normalisation (the paper's order)."""
    entry = flow
    for last in (False, True):
        flow = _convolve(flow, layers.Conv2D(width, 3, padding="same", activation=config.activation), convention)
        if config.normalisation == "batch":
            flow = layers.BatchNormalization(momentum=BATCH_NORMALISATION_MOMENTUM)(flow)
        elif config.normalisation == "group":
            groups = next(n for n in range(min(LARGEST_GROUPS, width), 0, -1) if width % n == 0)
            flow = layers.GroupNormalization(groups)(flow)
        if dropout and not last:
            flow = layers.Dropout(dropout)(flow)
    return layers.Concatenate()([entry, flow]) if config.residual else flow


def _convolve(flow: Any, convolution: layers.Conv2D, convention: Any) -> Any:
    """The convolution, and in front of its activation what each convention adds to its bias; nothing to begin with."""
    if convention is None:
        return convolution(flow)
    activation, convolution.activation = convolution.activation, keras.activations.linear
    width = convolution.filters
    more = layers.Dense(width, use_bias=False, kernel_initializer="zeros", name=f"{convolution.name}_convention")
    flow = layers.Add()([convolution(flow), layers.Reshape((1, 1, width))(more(convention))])
    return layers.Activation(activation)(flow)
