"""The encoder of EfficientNet-Lite0, whose weights, learnt on ImageNet, a segmenter may start from.

Source: Tan and Le 2019, arXiv:1905.11946, in the "Lite0" form of its authors: no squeeze and excitation, ReLU6.
"""

from dataclasses import dataclass
from typing import Any

from keras import layers

STEM_CHANNELS = 32
EPSILON = 1e-3  # of batch normalisation, as the weights were learnt with


@dataclass(frozen=True)
class Stage:
    """A row of inverted bottlenecks; the first of them takes the stride."""

    bottlenecks: int
    kernel: int
    stride: int
    expansion: int  # channels inside over channels at its entry
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def stages_of(depth: int) -> tuple[Stage, ...]:
    """The stages that an encoder has which halves the resolution `depth` times after its stem."""
    kept, halvings = [], 0
    for stage in STAGES:
        halvings += stage.stride == 2
        if halvings > depth:
            break
        kept.append(stage)
    return tuple(kept)


def encode(image: Any, depth: int, momentum: float) -> list[Any]:
    """What each level of an encoder makes of an image, from half its resolution downwards: depth + 1 tensors.

    Computes in float32 under any dtype policy: CPUs have no fast depthwise convolution in bf16.

    Args:
        image: (batch, S, S, 3); S a multiple of 2 ** (depth + 1).
        depth: 0 to `DEEPEST_EFFICIENTNET`.
        momentum: of batch normalisation.
    """

    def normalised(flow: Any, name: str) -> Any:
        return layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, dtype="float32", name=f"{name}_norm")(flow)

    def convolved(flow: Any, channels: int, name: str, kernel: int = 1, stride: int = 1) -> Any:
        convolution = layers.Conv2D(
            channels, kernel, strides=stride, padding="same", use_bias=False, dtype="float32", name=name
        )
        return normalised(convolution(flow), name)

    def filtered(flow: Any, name: str, kernel: int, stride: int) -> Any:
        depthwise = layers.DepthwiseConv2D(
            kernel, strides=stride, padding="same", use_bias=False, dtype="float32", name=name
        )
        return normalised(depthwise(flow), name)

    def activated(flow: Any) -> Any:
        return layers.ReLU(6.0, dtype="float32")(flow)

    flow = activated(convolved(image, STEM_CHANNELS, "stem", 3, 2))
    levels, entry, number = [], STEM_CHANNELS, 0
    for stage in stages_of(depth):
        if stage.stride == 2:
            levels.append(flow)
        for stride in [stage.stride] + [1] * (stage.bottlenecks - 1):
            name, before, inner = f"bottleneck_{number}", flow, entry * stage.expansion
            if stage.expansion > 1:
                flow = activated(convolved(flow, inner, f"{name}_expand"))
            flow = activated(filtered(flow, f"{name}_depthwise", stage.kernel, stride))
            flow = convolved(flow, stage.channels, f"{name}_project")
            if stride == 1 and entry == stage.channels:
                flow = layers.Add(dtype="float32")([before, flow])
            entry, number = stage.channels, number + 1
    return [*levels, flow]


def level_of(layer: str) -> int | None:
    """The level, from 0, of an encoder's layer, by its name; None for every other layer."""
    part = layer.split("_")
    if part[0] == "stem":
        return 0
    if part[0] != "bottleneck":
        return None
    number, level = int(part[1]), 0
    for stage in STAGES:
        level += stage.stride == 2
        if number < stage.bottlenecks:
            break
        number -= stage.bottlenecks
    return level
