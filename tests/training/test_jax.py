"""A version that JAX trained on eight devices, exported under TensorFlow, as `cupdisc-train publish` does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model import artefact, engines
from tests.photographs import REPOSITORY
from tests.training.tiny import CPU_ALONE, EIGHT_DEVICES, write_tiny
from training.run import Trained
from training.saved_run import load_run

pytest.importorskip("jax")


@pytest.fixture(scope="module")
def jax_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The run's folder, and the run as TensorFlow reads it."""
    folder = tmp_path_factory.mktemp("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", **CPU_ALONE, **EIGHT_DEVICES}
    command = [sys.executable, "-m", "tests.training.on_jax", str(folder / "run"), *write_tiny(folder, 3)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    return folder / "run", load_run(folder / "run", folder / "data")


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("name", ["locator", "segmenter"])
def test_what_jax_trained_answers_the_same_in_every_engine(
    jax_run: tuple[Path, Trained], tmp_path: Path, name: str, engine: str
):
    folder, trained = jax_run
    artefact.export_network(getattr(trained, name), tmp_path / name)
    with np.load(folder / f"{name}.npz") as file:
        answers = engines.load(tmp_path / name, engine, "f32")(file["images"])
        assert answers == pytest.approx(file["answers"], abs=1e-5)
        assert answers.std() > 1e-3  # it says something


def test_a_run_tells_what_it_was_trained_on(jax_run: tuple[Path, Trained]):
    _, trained = jax_run
    assert trained.device.startswith("8 × ")
    assert trained.device.endswith("(cpu, jax)")
