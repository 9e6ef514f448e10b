"""What is changed in a network between OpenVINO's reading and compiling it: the same answers, sooner.

Both changes were found by measuring the networks that ship (`benchmarks/results/2026-11-28-networks.md`): to enlarge
the few channels of an answer took a fifth to a third of a network's time, and what bf16 changes of an answer it
changes in the first convolutions, which take small differences of large numbers.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FEW_CHANNELS = 4  # of more, OpenVINO's own interpolation is quick
FIRST = 2  # convolutions on every way through a network that stay in f32
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "Deconvolution")  # as read, and as run
_COMPUTED = re.compile(r'<layer [^>]*type="(?!Const"|Parameter"|Result")[^>]*[^/]>')  # the head of a layer in an IR
_IN_F32 = '<rt_info><attribute name="precise" version="0" /></rt_info>'


def enlarge_by_products(openvino: Any, network: Any) -> None:
    """Replace, in the network itself, linear interpolation of an answer's pixels by a product with a matrix per axis.

    OpenVINO goes through (batch, H, W, C) pixel by pixel where C is small. Both are the same sums.

    Args:
        openvino: the module.
        network: as `Core.read_model` gives it.
    """
    operations = openvino.opset13
    for enlarged in [node for node in network.get_ops() if _enlarges_few_channels(node)]:
        pixels, answer = enlarged.input(0).get_source_output(), enlarged.output(0)
        down, across = (operations.constant(linear(_length(pixels, axis), _length(answer, axis))) for axis in (1, 2))
        planes = operations.transpose(pixels, np.array([0, 3, 1, 2]))
        rows = operations.matmul(down, planes, False, False)
        whole = operations.transpose(operations.matmul(rows, across, False, True), np.array([0, 2, 3, 1]))
        _put(whole.output(0), answer)
    network.validate_nodes_and_infer_types()


def linear(few: int, many: int) -> np.ndarray:
    """(many, few) float32: how much each of few pixels counts in each of many on the same length, edges repeated."""
    places = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    weights: np.ndarray = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(few)))
    return weights.astype(np.float32)


def keep_first_in_f32(openvino: Any, core: Any, network: Any) -> None:
    """Make, in the network itself, its first convolutions compute in f32 where all else will in bf16.

    OpenVINO keeps an operation in f32 where its file format says so, and nothing else can say it: what leads to the
    last of these convolutions is written, marked and read back. One into whose weights OpenVINO folds a scale loses its
    mark: EfficientNet-Lite0's first computes in bf16, and hands on f32. The last ones matter, and are checked.

    Raises:
        OSError, RuntimeError: nothing can be written to the folder for temporary files.
    """
    (image,) = network.get_parameters()
    last = [node.output(0) for node in _last_of_the_first(network, lambda node: node.get_type_name())]
    if not last:
        return
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder) / "first.xml", Path(folder) / "first.bin"
        openvino.serialize(openvino.Model(last, [image]), file, weights)
        marked = _COMPUTED.sub(lambda layer: layer[0] + _IN_F32, file.read_text())
        first = core.read_model(marked.encode(), weights.read_bytes())
    (its_image,) = first.get_parameters()
    _put(image.output(0), its_image.output(0))
    for result, old in zip(first.get_results(), last, strict=True):
        _put(result.input(0).get_source_output(), old)


def are_first_in_f32(compiled: Any) -> bool:
    """Whether the last of them do so in a compiled network: OpenVINO ignores marks that it does not know."""
    about = compiled.get_runtime_model()
    last = _last_of_the_first(about, lambda node: _said_of(node, "layerType"))
    return all(_said_of(node, "runtimePrecision") == "f32" for node in last)


def _last_of_the_first(network: Any, kind: Callable[[Any], str]) -> list[Any]:
    """The convolutions that have `FIRST` - 1 others before them, on the longest way from the image."""
    convolutions: dict[str, int] = {}  # by an operation's name: how many a way has met there
    found = []
    for node in network.get_ordered_ops():
        before = (convolutions[each.get_source_output().get_node().get_friendly_name()] for each in node.inputs())
        count = max(before, default=0)
        if kind(node) in CONVOLUTIONS:
            count += 1
            found += [node] if count == FIRST else []
        convolutions[node.get_friendly_name()] = count
    return found


def _said_of(node: Any, what: str) -> str:
    """Of a node of a runtime model."""
    return str(node.get_rt_info()[what].astype(str))


def _put(new: Any, old: Any) -> None:
    """One value in the place of another, for all that take it."""
    for target in old.get_target_inputs():
        target.replace_source_output(new)


def _length(value: Any, axis: int) -> int:
    return int(value.get_partial_shape()[axis].get_length())


def _enlarges_few_channels(node: Any) -> bool:
    if node.get_type_name() != "Interpolate":
        return False
    how, shape = node.get_attributes(), node.get_output_partial_shape(0)
    axes = node.input_value(2).get_node() if len(node.inputs()) > 2 else None
    return bool(
        how["mode"] in ("linear", "linear_onnx")
        and how["coordinate_transformation_mode"] == "half_pixel"
        and not how["antialias"]
        and not any(how["pads_begin"] + how["pads_end"])
        and axes is not None
        and axes.get_type_name() == "Constant"
        and axes.data.tolist() == [1, 2]
        and len(shape) == 4
        and all(shape[axis].is_static for axis in (1, 2, 3))
        and shape[3].get_length() <= FEW_CHANNELS
    )
