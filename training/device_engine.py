"""A published version on an accelerator: its networks in Keras, as an engine like those of `model.engines`."""

import threading

import numpy as np

from model import conventions
from model.artefact import Artefact
from model.conventions import Biases
from model.engines import Engine
from model.segmenter import Segmenter
from model.unet_config import UNetConfig
from training.accelerator import Accelerator
from training.restore import restore_network

BATCH = 8  # images at once; one shape, so that each network is compiled once


class DeviceEngine:
    """One network on all devices of an accelerator, in float32. Threads wait for each other."""

    precision = "f32"

    def __init__(self, artefact: Artefact, part: str, accelerator: Accelerator) -> None:
        config = UNetConfig(**getattr(artefact.manifest, part).config)
        self.name = f"keras on {accelerator}"
        self._accelerator = accelerator
        self._alone = threading.Lock()
        with accelerator.scope():
            self._network = restore_network(getattr(artefact, part), config, part)

    def take_biases(self, standing: Biases, wanted: Biases) -> None:
        """Draw by another convention from now on."""
        weights = self._network.get_weights()
        for number, bias in zip(conventions.found(weights, standing), wanted, strict=True):
            weights[number] = bias
        self._network.set_weights(weights)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        with self._alone:
            return self._accelerator.predict(self._network, np.ascontiguousarray(images, np.float32), BATCH)


def segmenter_on(artefact: Artefact, accelerator: Accelerator, convention: str | None = None) -> Segmenter:
    """A version whose networks run on an accelerator, and whose everything else is as in service.

    Args:
        convention: as for `Segmenter.in_convention`.
    Raises:
        CorruptVersion: the weights are not those of the networks that the manifest describes.
        ConventionNotFound
    """

    def put(part: str, _: Engine) -> Engine:
        engine = DeviceEngine(artefact, part, accelerator)
        if part == "segmenter" and drawing is not loaded:
            known = conventions.read(artefact.folder)
            engine.take_biases(known.standing, known.each[drawing.convention or ""].biases)
        return engine

    loaded = Segmenter(artefact, "tensorflow")
    drawing = loaded.in_convention(convention)
    segmenter = drawing.sharing(put)
    segmenter.engine, segmenter.precision = f"keras on {accelerator}", DeviceEngine.precision
    return segmenter
