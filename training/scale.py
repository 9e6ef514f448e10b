"""A training step on devices that are not there: how the compiler splits it, what memory it takes, what is exchanged.

JAX's compiler is given as many pretended devices of a CPU as are asked for, and the step of `cupdisc-train train` in
shapes alone. Nothing is computed, so a laptop can answer for 256 devices; how fast they would be nobody is told.
"""

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from model.artefact import NETWORKS
from model.errors import InvalidConfiguration
from training.config import NetworkConfig, Preset
from training.preset_files import read_preset

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
MOST_DEVICES = 1024
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
# machine code is made and never run, so LLVM need not make it good; sharding and memory were decided before
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
OPERATION = re.compile(r"^\s*(?:ROOT )?%?\S+ = (.*?) (" + "|".join(COLLECTIVES) + r")(?:-start)?\(", re.MULTILINE)
SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
MIB = 2**20


@dataclass(frozen=True)
class ScaledStep:
    """One network's step on so many devices. Sizes are bytes on each device."""

    network: str
    devices: int
    batch: int  # photographs of all devices together
    images: tuple[int, ...]  # on each device
    answers: tuple[int, ...]  # likewise
    parameters: int
    state: int  # weights, their average, optimiser, metrics: a whole copy on each device
    working: int  # what the compiler sets aside for everything in between
    collectives: dict[str, tuple[int, int]]  # operation: how many, bytes of their results

    @property
    def sent(self) -> int:
        """Bytes that a device sends in a step where sums go round in a ring: 2 (n - 1) / n of what is summed."""
        summed = self.collectives.get("all-reduce", (0, 0))[1]
        return round(2 * (self.devices - 1) / self.devices * summed)


def scaled(
    preset: str, devices: Sequence[int], per_device: int, networks: Sequence[str] = NETWORKS
) -> list[ScaledStep]:
    """The steps of a preset's networks on each number of devices; compiled in a process of its own.

    Args:
        per_device: photographs of a batch that each device gets.
        networks: of NETWORKS.
    Raises:
        InvalidConfiguration: numbers that make no sense, a preset that is none, or no JAX here.
    """
    wrong = [str(count) for count in devices if not 1 <= count <= MOST_DEVICES]
    if wrong or per_device < 1:
        raise InvalidConfiguration(f"devices must be 1 to {MOST_DEVICES}, and each gets 1 photograph at least")
    if not set(networks) <= set(NETWORKS):
        raise InvalidConfiguration(f"network: must be {' or '.join(NETWORKS)}")
    read_preset(preset)
    given = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{QUICKLY} {given} --xla_force_host_platform_device_count={max(devices)}",
    }
    command = [sys.executable, "-m", "training.scale", preset, str(per_device), ",".join(networks), *map(str, devices)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise InvalidConfiguration(f"the step cannot be compiled under JAX: {last}")
    return [_from_json(values) for values in json.loads(done.stdout)]


def compiled_step(name: str, config: NetworkConfig, devices: Sequence[Any], mixed_precision: bool) -> Any:
    """The step of a network, compiled for JAX devices that share each batch evenly; shapes alone, nothing is computed.

    Returns:
        The network, and JAX's compiled step.
    """
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from training.accelerator import choose
    from training.train import compiled_network

    mesh = Mesh(np.array(devices), ("batch",))
    everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
    # without its strategy: one copy of the weights is enough to know their shapes
    many = dataclasses.replace(choose("cpu"), count=len(devices), bf16=mixed_precision, _strategy=None)
    many.check_batch(config.batch_size)
    model = compiled_network(name, config, many, mixed_precision)
    batch = (config.batch_size, *model.input_shape[1:]), (config.batch_size, *model.output_shape[1:])
    nothing = np.zeros((1, *model.output_shape[1:]), np.float32)
    model.compute_metrics(nothing, nothing, nothing)  # makes their variables
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=everywhere) for v in group] for group in groups)
    data = tuple(jax.ShapeDtypeStruct(shape, "float32", sharding=split) for shape in batch)
    places = (None, tuple([everywhere] * len(group) for group in groups))
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=places).lower(state, data).compile()
    return model, step


def collectives_of(program: str) -> dict[str, tuple[int, int]]:
    """How many collective operations of each kind a compiled program (HLO text) has, and the bytes of their results."""
    found: dict[str, tuple[int, int]] = {}
    for shapes, operation in OPERATION.findall(program):
        count, size = found.get(operation, (0, 0))
        found[operation] = (count + 1, size + sum(_size(*shape) for shape in SHAPE.findall(shapes)))
    return found


def scaled_table(steps: Sequence[ScaledStep]) -> Table:
    """For people."""
    table = Table(box=None, pad_edge=False)
    for column in ("network", "devices", "batch", "images on each", "answers on each"):
        table.add_column(column)
    for column in ("state, MiB", "working, MiB", "collectives", "summed, MiB", "sent by each, MiB"):
        table.add_column(column, justify="right")
    for step in steps:
        operations = ", ".join(f"{count} {name}" for name, (count, _) in step.collectives.items()) or "none"
        summed = sum(size for _, size in step.collectives.values())
        table.add_row(
            step.network,
            str(step.devices),
            str(step.batch),
            " × ".join(map(str, step.images)),
            " × ".join(map(str, step.answers)),
            f"{step.state / MIB:.1f}",
            f"{step.working / MIB:.1f}",
            operations,
            f"{summed / MIB:.2f}",
            f"{step.sent / MIB:.2f}",
        )
    return table


def _steps(preset: Preset, per_device: int, networks: Sequence[str], counts: Sequence[int]) -> list[ScaledStep]:
    import jax

    found = []
    for name in networks:
        config = preset.locator if name == "locator" else preset.segmenter
        # U-Nets that are averaged train one after the other
        for single, count in itertools.product(config.kinds, counts):
            asked = dataclasses.replace(single, batch_size=per_device * count)
            model, step = compiled_step(name, asked, jax.devices("cpu")[:count], preset.mixed_precision)
            memory = step.memory_analysis()
            images = per_device * 4 * _product(model.input_shape[1:]) + per_device * 4 * _product(
                model.output_shape[1:]
            )
            found.append(
                ScaledStep(
                    network=name if len(config.kinds) == 1 else f"{name}, {single.network.encoder}",
                    devices=count,
                    batch=asked.batch_size,
                    images=(per_device, *model.input_shape[1:]),
                    answers=(per_device, *model.output_shape[1:]),
                    parameters=model.count_params(),
                    state=memory.argument_size_in_bytes - images,
                    working=memory.temp_size_in_bytes + images,
                    collectives=collectives_of(step.as_text()),
                )
            )
    return found


def _product(shape: Sequence[int]) -> int:
    whole = 1
    for side in shape:
        whole *= side
    return whole


def _size(kind: str, sides: str) -> int:
    return BYTES.get(kind, 0) * _product([int(side) for side in sides.split(",") if side])


def _from_json(values: dict[str, Any]) -> ScaledStep:
    kept = {name: tuple(values[name]) for name in ("images", "answers")}
    collectives = {name: (count, size) for name, (count, size) in values["collectives"].items()}
    return ScaledStep(**{**values, **kept, "collectives": collectives})


def main(preset: str, per_device: str, networks: str, *counts: str) -> None:
    """Answer as JSON; how many devices there are was fixed when this process began."""
    steps = _steps(read_preset(preset), int(per_device), networks.split(","), [int(count) for count in counts])
    sys.stdout.write(json.dumps([dataclasses.asdict(step) for step in steps]))


if __name__ == "__main__":
    main(*sys.argv[1:])
