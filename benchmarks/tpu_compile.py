"""Compile a preset's training step for the eight cores of a TPU v5e, without a TPU; JAX's own TPU compiler does it.

    .venv/bin/pip install --no-deps --target /tmp/libtpu 'libtpu==0.0.42.*'   # the version that jax[tpu] asks for
    PYTHONPATH=/tmp/libtpu KERAS_BACKEND=jax .venv/bin/python -m benchmarks.tpu_compile smoke

Says that the step is accepted, how it is split, and what memory it takes; not how fast it is.
"""

import dataclasses
import os
import re
import sys
import time

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no machine of Google's to be asked
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_WORKER_ID", "0")
os.environ["JAX_PLATFORMS"] = "cpu"  # the weights' place; nothing is computed

TOPOLOGY = "v5e:2x4"


def main(preset: str) -> None:
    """Print what the compiler makes of each network's step."""
    import jax
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from training.accelerator import choose
    from training.config import read_preset
    from training.train import compiled_network

    devices = topologies.get_topology_desc(TOPOLOGY, platform="tpu").devices
    mesh = Mesh(np.array(devices), ("batch",))
    everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
    tpu = dataclasses.replace(choose("cpu"), kind="tpu", count=len(devices), bf16=True)
    chosen = read_preset(preset)
    print("| network | batch | sums across cores | convolutions in bf16 | memory a core, MiB | compiled in, s |")
    print("|---|---|---|---|---|---|")
    for name, config in (("locator", chosen.locator), ("segmenter", chosen.segmenter)):
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, members=1))
        tpu.check_batch(config.batch_size)
        model = compiled_network(name, config, tpu, mixed_precision=True)
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
        started = time.perf_counter()
        step = jax.jit(model.train_step, donate_argnums=0, out_shardings=places).lower(state, data).compile()
        seconds = time.perf_counter() - started
        text = step.as_text()
        sums = len(re.findall(r"all-reduce[.\d]*\(|all-reduce-start", text))
        convolutions = len(re.findall(r"bf16\[[^\]]*\][^=]*convolution", text))
        memory = step.memory_analysis()
        mib = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20
        print(f"| {name} | {config.batch_size} | {sums} | {convolutions} | {mib:.1f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
