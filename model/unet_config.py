"""The shape of a generalised U-Net, `UNetConfig`. Needs no Keras, which takes seconds to import: `unet` builds it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from model.errors import InvalidConfiguration

Encoder = Literal["plain", "efficientnet_lite0"]
Normalisation = Literal["batch", "group", "none"]
Downsampling = Literal["max_pooling", "strided_convolution"]
Upsampling = Literal["transposed_convolution", "upsampling"]
Outputs = tuple[Literal["disc", "cup"], ...]

COMMON_ACTIVATIONS = ("relu", "relu6", "elu", "selu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid", "linear")
DEEPEST_EFFICIENTNET = 4  # halvings of EfficientNet-Lite0 after its stem's own


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
        if self.encoder == "efficientnet_lite0" and not (self.stem_stride == 2 and self.depth <= DEEPEST_EFFICIENTNET):
            wrong.append(f"encoder={self.encoder}: needs stem_stride=2 and a depth of at most {DEEPEST_EFFICIENTNET}")
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
        if self.activation not in COMMON_ACTIVATIONS and not _is_known_to_keras(self.activation):
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


def _is_known_to_keras(activation: str) -> bool:
    import keras

    try:
        keras.activations.get(activation)
    except ValueError:
        return False
    return True
