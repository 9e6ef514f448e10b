"""A published network back in Keras: its SavedModel's weights in the network that its manifest describes."""

import re
from pathlib import Path

import keras
import numpy as np

from model import engines
from model.errors import CorruptVersion
from model.unet import build_unet
from model.unet_config import UNetConfig

TOLERANCE = 1e-4  # of probabilities, between the SavedModel and the restored network
_NUMBERED = re.compile(r"(?P<layer>.+?)(?:_(?P<number>\d+))?/(?P<weight>[^/:]+)(?::\d+)?")


def restore_network(folder: Path, config: UNetConfig, name: str) -> keras.Model:
    """The network of a SavedModel that `artefact.export_network` wrote, on any Keras backend.

    Args:
        folder: of a version whose digests were checked.
        config: as in the version's manifest.
        name: of the Keras model.
    Raises:
        CorruptVersion: the weights are not those of such a network, or it answers otherwise than the SavedModel.
    """
    network = build_unet(config, name)
    tensorflow = engines.import_tensorflow()
    loaded = tensorflow.saved_model.load(str(folder))  # kept: the signature does not own its variables
    variables = loaded.signatures[engines.SIGNATURE].variables
    found = dict(zip(_keys([v.name for v in variables]), variables, strict=True))
    weights = []
    for key, weight in zip(_keys([w.path for w in network.weights]), network.weights, strict=True):
        if key not in found or tuple(found[key].shape) != tuple(weight.shape):
            raise CorruptVersion(f"{folder}: holds no {weight.path} of the shape {tuple(weight.shape)}")
        weights.append(found[key].numpy())
    network.set_weights(weights)
    images = np.random.default_rng(0).normal(size=(1, config.input_size, config.input_size, 3)).astype(np.float32)
    answer = np.asarray(keras.ops.convert_to_numpy(network(images, training=False)))
    difference = float(np.abs(engines.load(folder, "tensorflow")(images) - answer).max())
    if not difference <= TOLERANCE:
        raise CorruptVersion(f"{folder}: its weights in {name} answer {difference:.1e} off")
    return network


def _keys(names: list[str]) -> list[tuple[str, int, str]]:
    """What a weight is called, whatever was built before: kind of layer, which one of them, which weight.

    Keras numbers the layers of a process (`conv2d_23/kernel`), in the order in which they were built.
    """
    parts = [match for name in names if (match := _NUMBERED.fullmatch(name)) is not None]
    if len(parts) < len(names):
        raise CorruptVersion(f"no names of weights: {', '.join(names[:3])}, …")
    numbers = [int(match["number"] or 0) for match in parts]
    kinds: dict[str, set[int]] = {}
    for match, number in zip(parts, numbers, strict=True):
        kinds.setdefault(match["layer"], set()).add(number)
    ranks = {kind: {number: rank for rank, number in enumerate(sorted(seen))} for kind, seen in kinds.items()}
    return [
        (match["layer"], ranks[match["layer"]][number], match["weight"])
        for match, number in zip(parts, numbers, strict=True)
    ]
