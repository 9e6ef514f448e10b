"""One training step on one device, on several, and on several that do not sum their gradients.

A process of its own: the number of devices and Keras' backend are fixed at its start. See `test_accelerator.run_steps`.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model.unet import build_unet
from model.unet_config import UNetConfig
from training.accelerator import Accelerator, choose
from training.config import NetworkConfig
from training.losses import LOSSES
from training.train import compiled_network

JAX = keras.backend.backend() == "jax"
DEVICES = 8 if JAX else 2
NETWORK = UNetConfig(input_size=32, depth=1, start_channels=4)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """16 photographs, their discs of very different sizes, one without an annotated cup."""
    random = np.random.default_rng(1)
    images = random.normal(size=(16, 32, 32, 3)).astype(np.float32)
    targets = random.random((16, 32, 32, 2)) < np.linspace(0.05, 0.95, 16)[:, None, None, None]
    targets = targets.astype(np.float32)
    targets[3, ..., 1] = -1
    return images, targets


def plain_model(accelerator: Accelerator, network: UNetConfig = NETWORK) -> keras.Model:
    """float32, plain gradient descent, the same weights every time."""
    keras.utils.set_random_seed(1)
    with accelerator.scope():
        model = build_unet(network)
        loss, jit = LOSSES["dice_and_cross_entropy"], accelerator.jit_compile
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, jit_compile=jit)
        accelerator.adapt(model)
    return model


def stepped(accelerator: Accelerator, model: keras.Model) -> dict[str, Any]:
    """Loss and weights after one step."""
    loss = accelerator.step(model, *batch())["loss"]
    return {"loss": loss} | {f"w{i}": weight for i, weight in enumerate(model.get_weights())}


def real_model(accelerator: Accelerator) -> keras.Model:
    """The optimiser, metrics and precision of a training run."""
    config = NetworkConfig(dataclasses.replace(NETWORK, dropout=0.2), steps=100, batch_size=16)
    with accelerator.scope():
        return compiled_network("segmenter", config, accelerator, mixed_precision=True)


def jax_state(model: keras.Model) -> tuple[list[Any], ...]:
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return tuple([variable.value for variable in group] for group in groups)


def jax_facts(many: Accelerator, one: Accelerator) -> dict[str, dict[str, Any]]:
    """`alone`: each device steps by its own share. Without batch normalisation, so that nothing else is missing."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    simple = dataclasses.replace(NETWORK, normalisation="group")
    model = plain_model(one, simple)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
    everywhere, split = PartitionSpec(), PartitionSpec("batch")
    step = jax.shard_map(
        model.train_step, mesh=mesh, in_specs=(everywhere, split), out_specs=everywhere, check_vma=False
    )

    def each_by_itself(*state_and_data: Any) -> Any:  # under a name of its own among the compiled programs
        return step(*state_and_data)

    logs, state = jax.jit(each_by_itself)(jax_state(model), batch())
    alone = {"loss": logs["loss"]} | {f"w{i}": np.asarray(weight) for i, weight in enumerate(state[0])}

    tpu = dataclasses.replace(many, kind="tpu", bf16=True)
    real = real_model(tpu)
    nothing = np.zeros((1, 32, 32, 2), np.float32)
    real.compute_metrics(nothing, nothing, nothing)  # makes their variables
    shared = jax.device_put(batch(), NamedSharding(mesh, split))
    exported = jax.export.export(jax.jit(real.train_step), platforms=["tpu"])(jax_state(real), shared)
    lowered = {
        "platforms": list(exported.platforms),
        "devices": exported.nr_devices,
        "module": exported.mlir_module(),
        "static": all(isinstance(side, int) for aval in exported.in_avals for side in aval.shape),
    }
    spread = plain_model(many, simple)
    group_many = stepped(many, spread)
    devices = {len(v.value.sharding.device_set) for v in (*spread.variables, *spread.optimizer.variables)}
    return {
        "group_one": stepped(one, model),
        "group_many": group_many,
        "variables": {"devices": sorted(devices)},
        "alone": alone,
        "tpu": lowered,
    }


def split_the_cpu() -> None:
    """Two devices for TensorFlow; JAX is told by its environment."""
    import tensorflow as tf

    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * DEVICES)


def tensorflow_facts(many: Accelerator, one: Accelerator) -> dict[str, dict[str, Any]]:
    """`alone`: each device steps by its own share; batch normalisation still sees the whole batch."""
    import tensorflow as tf

    model = plain_model(many)
    model.optimizer._all_reduce_sum_gradients = list
    real = real_model(dataclasses.replace(one, bf16=True))
    real.jit_compile = True
    values = one.step(real, *batch())
    shapes = tuple(tf.TensorSpec.from_tensor(tf.constant(array)) for array in batch())
    graph = tf.function(real.train_step).get_concrete_function(shapes).graph
    operations = sorted({operation.type for operation in graph.get_operations()})
    return {"alone": stepped(many, model), "compiled": values | {"operations": operations}}


def main(out: Path) -> None:
    if not JAX:
        split_the_cpu()
    many = choose("cpu")
    assert many.count == DEVICES
    one = dataclasses.replace(many, count=1, _strategy=None)
    results = {"one": stepped(one, plain_model(one)), "many": stepped(many, plain_model(many))}
    results |= (jax_facts if JAX else tensorflow_facts)(many, one)
    np.savez(out, **{f"{name}/{key}": value for name, facts in results.items() for key, value in facts.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
