"""Versions that really run: two tiny U-Nets with random weights, and two that were trained on drawn photographs."""

import dataclasses
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from model import artefact
from model.artefact import Artefact, NetworkEntry
from tests.storage import FaultyProxy, Objects, fake_storage
from tests.trained import publish_small, train_small, write_data
from tests.versions import manifest

if TYPE_CHECKING:
    from training.run import Trained


# a shell that runs the tests in the background lets them, and all that they start, ignore Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_version(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """Version 2026.1.1 of untrained networks that see 32 × 32 pixels. Not to be changed: publish or copy it."""
    import keras

    from model.unet import build_unet
    from model.unet_config import UNetConfig

    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "2026.1.1"
    entries = {}
    for name, outputs in (("locator", ("disc",)), ("segmenter", ("disc", "cup"))):
        config = UNetConfig(input_size=32, depth=2, start_channels=4, outputs=outputs)
        network = build_unet(config, name)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.beta.assign(layer.beta + 1e-3)  # as after training: an engine leaves out what adds nothing
        artefact.export_network(network, folder / name)
        entries[name] = NetworkEntry(config.as_dict(), config.input_size, config.outputs, network.count_params())
    return artefact.write(folder, dataclasses.replace(manifest("2026.1.1"), **entries))


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, Trained]":
    """A folder with drawn sources (data) and a run that was trained on them (run)."""
    folder = tmp_path_factory.mktemp("drawn-run")
    return folder, train_small(folder, write_data(folder / "data"), 100, Console(quiet=True))


@pytest.fixture(scope="session")
def drawn_version(drawn_run: "tuple[Path, Trained]") -> Artefact:
    """Version 2026.1.1 trained on drawn photographs, published beside its run. Not to be changed."""
    folder, trained = drawn_run
    return publish_small(folder, trained, Console(quiet=True))


@pytest.fixture(scope="session")
def storage_url() -> Iterator[str]:
    """The address of a fake-gcs-server. Every test takes a bucket of its own."""
    with fake_storage() as url:
        yield url


@pytest.fixture
def proxy(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What our code believes to be the storage."""
    made = FaultyProxy(storage_url)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", made.url)
    yield made
    made.close()


@pytest.fixture
def objects(storage_url: str, proxy: FaultyProxy) -> Objects:
    """A new bucket."""
    return Objects(storage_url, f"bucket-{uuid.uuid4().hex[:12]}")
