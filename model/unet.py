"""The generalised U-Net: one description, `UNetConfig`, and the Keras network that it describes."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
from keras import layers

from model import efficientnet
from model.errors import InvalidConfiguration

Encoder = Literal["plain", "efficientnet_lite0"]
Normalisation = Literal["batch", "group", "none"]
Downsampling = Literal["max_pooling", "strided_convolution"]
Upsampling = Literal["transposed_convolution", "upsampling"]
Outputs = tuple[Literal["disc", "cup"], ...]

BATCH_NORMALISATION_MOMENTUM = 0.9  # Keras' 0.99 lags behind in the short trainings that we do
LARGEST_GROUPS = 8  # group normalisation; fewer where the channels do not divide


@dataclass(frozen=True)
class UNetConfig:
    """Everything needed to rebuild the network; saved in the manifest as JSON.

    Source: Civit-Masot et al. 2019, doi 10.1109/ACCESS.2019.2944692 (depth, start channels and growth as free
    parameters), after Ronneberger et al. 2015, arXiv:1505.04597.

    Raises:
        InvalidConfiguration: a value with which no network can be built; the message names every such field.
    """

    input_size: int = 128  # pixels, square; a multiple of 2 ** depth
    depth: int = 4  # halvings of the resolution
    start_channels: int = 16  # of the first level
    channel_growth: float = 2.0  # width ratio of successive levels (the paper's `inc_rate`)
    dropout: float = 0.0  # in the bottom block only
    normalisation: Normalisation = "batch"  # after each activation
    downsampling: Downsampling = "max_pooling"
    upsampling: Upsampling = "transposed_convolution"
    residual: bool = False  # every block concatenates its input to its output
    activation: str = "relu"  # any name that Keras knows
    outputs: Outputs = ("disc", "cup")  # meaning of the output channels, in order
    stem_stride: int = 1  # input pixels per pixel of the first level; 2 costs a third, and outlines are smooth anyway
    members: int = 1  # U-Nets of this shape whose probabilities are averaged
    encoder: Encoder = "plain"  # the way down; another than the plain one has its own widths and a stem of stride 2
    beside: "UNetConfig | None" = None  # U-Nets of another shape, averaged with those; all count alike

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(self.outputs))  # JSON and TOML give lists
        if isinstance(self.beside, dict):
            object.__setattr__(self, "beside", UNetConfig(**self.beside))
        wrong = []
        if not 0 <= self.depth <= 8:
            wrong.append(f"depth={self.depth}: must be 0 to 8")
        elif self.stem_stride not in (1, 2, 4):
            wrong.append(f"stem_stride={self.stem_stride}: must be 1, 2 or 4")
        elif self.input_size <= 0 or self.input_size % (self.stem_stride * 2**self.depth):
            wrong.append(
                f"input_size={self.input_size}: must be a positive multiple of {self.stem_stride * 2**self.depth}"
                f" at depth {self.depth} and stem stride {self.stem_stride}"
            )
        if self.start_channels < 1:
            wrong.append(f"start_channels={self.start_channels}: must be at least 1")
        if self.channel_growth <= 0 or min(self.channels) < 1:
            wrong.append(f"channel_growth={self.channel_growth}: leaves a level without channels")
        if self.members < 1:
            wrong.append(f"members={self.members}: must be at least 1")
        if not 0 <= self.dropout < 1:
            wrong.append(f"dropout={self.dropout}: must be in [0, 1)")
        if self.encoder == "efficientnet_lite0" and not (self.stem_stride == 2 and self.depth <= efficientnet.DEEPEST):
            wrong.append(f"encoder={self.encoder}: needs stem_stride=2 and a depth of at most {efficientnet.DEEPEST}")
        for field, allowed in (
            ("encoder", Encoder),
            ("normalisation", Normalisation),
            ("downsampling", Downsampling),
            ("upsampling", Upsampling),
        ):
            if getattr(self, field) not in get_args(allowed):
                wrong.append(f"{field}={getattr(self, field)!r}: must be one of {', '.join(get_args(allowed))}")
        if not self.outputs or set(self.outputs) - {"disc", "cup"} or len(set(self.outputs)) < len(self.outputs):
            wrong.append(f"outputs={self.outputs}: must name disc, cup or both, each once")
        for field in ("input_size", "outputs"):
            if self.beside is not None and getattr(self.beside, field) != getattr(self, field):
                other = getattr(self.beside, field)
                wrong.append(f"beside.{field}={other}: must be {getattr(self, field)}, as one level higher")
        try:
            keras.activations.get(self.activation)
        except ValueError:
            wrong.append(f"activation={self.activation!r}: unknown to Keras")
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of each level from the top to the bottom, depth + 1 numbers; each `int(growth × previous)`."""
        widths = [self.start_channels]
        for _ in range(max(self.depth, 0)):
            widths.append(int(self.channel_growth * widths[-1]))
        return tuple(widths)

    @property
    def singles(self) -> tuple["UNetConfig", ...]:
        """Each U-Net by itself, in the order of their weights."""
        own = dataclasses.replace(self, members=1, beside=None)
        return (own,) * self.members + (self.beside.singles if self.beside else ())

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        beside = self.beside.as_dict() if self.beside else None
        return {**dataclasses.asdict(self), "outputs": list(self.outputs), "beside": beside}


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
