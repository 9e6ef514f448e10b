"""Tests of `training.accelerator`. Devices that are not here are forced: eight under JAX, two under TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import InvalidConfiguration
from tests.photographs import REPOSITORY
from tests.training.tiny import CPU_ALONE, EIGHT_DEVICES
from training.accelerator import Accelerator, choose
from training.scale import collectives_of

Steps = dict[str, dict[str, Any]]


def run_steps(backend: str, folder: Path) -> Steps:
    """What `tests.training.steps` found out, its facts by name; `programs` are the steps that JAX compiled and ran."""
    flags = f"{EIGHT_DEVICES['XLA_FLAGS']} --xla_dump_to={folder} --xla_dump_hlo_module_re=^jit_train_step$"
    environment = {**os.environ, "KERAS_BACKEND": backend, **CPU_ALONE, "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.training.steps", str(folder / "steps.npz")]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    facts: Steps = {}
    with np.load(folder / "steps.npz") as file:
        for key in file.files:
            name, fact = key.split("/")
            facts.setdefault(name, {})[fact] = file[key]
    facts["programs"] = {path.name: path.read_text() for path in folder.glob("*.cpu_after_optimizations.txt")}
    return facts


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    pytest.importorskip("jax")
    return run_steps("jax", tmp_path_factory.mktemp("jax"))


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return run_steps("tensorflow", tmp_path_factory.mktemp("tensorflow"))


def assert_same_step(one: dict[str, Any], many: dict[str, Any]) -> None:
    """Loss, weights and statistics agree to 1e-4."""
    assert one["loss"] == pytest.approx(many["loss"], abs=1e-4)
    weights = [key for key in many if key != "loss"]
    assert weights
    for key in weights:
        assert one[key] == pytest.approx(many[key], abs=1e-4), key


def test_eight_devices_under_jax_step_as_one(on_jax: Steps):
    assert_same_step(on_jax["one"], on_jax["many"])
    assert_same_step(on_jax["group_one"], on_jax["group_many"])


def test_under_jax_each_device_steps_by_its_share_and_gradients_are_summed(on_jax: Steps):
    assert list(on_jax["variables"]["devices"]) == [8]
    programs = on_jax["programs"].values()
    spread = [program for program in programs if "num_partitions=8" in program]
    single = [program for program in programs if program not in spread]
    assert len(spread) == len(single) == 2  # with batch and with group normalisation
    for program in spread:
        assert "f32[2,32,32,3]" in program  # two of the sixteen photographs
        assert "f32[16,32,32,3]" not in program
        assert collectives_of(program)["all-reduce"][1] >= 4 * weights_of(on_jax["group_one"])
    assert not any(collectives_of(program) for program in single)


def weights_of(step: dict[str, Any]) -> int:
    """How many numbers a network with group normalisation has; every one has a gradient."""
    return sum(array.size for key, array in step.items() if key != "loss")


def test_under_jax_the_step_is_another_without_the_sum_of_gradients(on_jax: Steps):
    with pytest.raises(AssertionError):
        assert_same_step({**on_jax["group_one"], "loss": 0}, {**on_jax["alone"], "loss": 0})


def test_two_devices_under_tensorflow_step_as_one(on_tensorflow: Steps):
    assert_same_step(on_tensorflow["one"], on_tensorflow["many"])


def test_under_tensorflow_the_step_is_another_without_the_sum_of_gradients(on_tensorflow: Steps):
    assert on_tensorflow["one"]["loss"] == pytest.approx(on_tensorflow["alone"]["loss"], abs=1e-4)  # before the step
    with pytest.raises(AssertionError, match="w"):
        assert_same_step(on_tensorflow["one"], on_tensorflow["alone"])


def test_a_training_step_of_eight_cores_lowers_for_tpu_without_one(on_jax: Steps):
    lowered = on_jax["tpu"]
    module = str(lowered["module"])
    assert list(lowered["platforms"]) == ["tpu"]
    assert lowered["devices"] == 8
    assert lowered["static"]
    assert "tensor<16x32x32x4xbf16>" in module  # layers compute in bf16
    assert "callback" not in module  # nothing goes back to Python


def test_a_training_step_compiles_with_xla_under_tensorflow(on_tensorflow: Steps):
    compiled = on_tensorflow["compiled"]
    assert np.isfinite(compiled["loss"])
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless"} & set(compiled["operations"])
    assert "Conv2DBackpropFilter" in compiled["operations"]  # the graph that was looked at is the whole step


def test_without_an_accelerator_the_cpu_is_taken():
    accelerator = choose("auto")
    assert (accelerator.kind, accelerator.count, accelerator.backend) == ("cpu", 1, "tensorflow")


@pytest.mark.parametrize("device", ["tpu", "gpu"])
def test_a_device_that_is_not_there_is_refused(device: str):
    with pytest.raises(InvalidConfiguration, match=f"device='{device}': tensorflow sees none"):
        choose(device)


def test_an_unknown_device_is_refused():
    with pytest.raises(InvalidConfiguration, match="must be one of auto, tpu, gpu, cpu"):
        choose("quantum")


def test_a_batch_that_cannot_be_split_evenly_is_refused():
    with pytest.raises(InvalidConfiguration, match="batch_size=12: must be a multiple of the 8 devices"):
        Accelerator("tpu", 8, "jax", "TPU", True).check_batch(12)


def test_predictions_do_not_depend_on_how_many_are_made_at_once():
    import keras

    from model.unet import build_unet
    from model.unet_config import UNetConfig

    keras.utils.set_random_seed(2)
    network = build_unet(UNetConfig(input_size=32, depth=1, start_channels=4))
    images = np.random.default_rng(3).normal(size=(5, 32, 32, 3)).astype(np.float32)
    accelerator = choose("cpu")
    answers = accelerator.predict(network, images, 4)
    assert answers.shape == (5, 32, 32, 2)
    assert answers == pytest.approx(np.asarray(network(images)), abs=1e-5)
