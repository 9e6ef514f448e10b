"""Compile a preset's training step for the eight cores of a TPU v5e, without a TPU; JAX's own TPU compiler does it.

    .venv/bin/pip install --no-deps --target /tmp/libtpu 'libtpu==0.0.42.*'   # the version that jax[tpu] asks for
    PYTHONPATH=/tmp/libtpu KERAS_BACKEND=jax .venv/bin/python -m benchmarks.tpu_compile smoke

Says that the step is accepted, how it is split, and what memory it takes; not how fast it is.
"""

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
    from jax.experimental import topologies

    from training.preset_files import read_preset
    from training.run import NETWORKS
    from training.scale import collectives_of, compiled_step

    devices = topologies.get_topology_desc(TOPOLOGY, platform="tpu").devices
    chosen = read_preset(preset)
    print("| network | batch | sums across cores | convolutions in bf16 | memory a core, MiB | compiled in, s |")
    print("|---|---|---|---|---|---|")
    for name, config in [(part, kind) for part in NETWORKS for kind in getattr(chosen, part).kinds]:
        started = time.perf_counter()
        _, step = compiled_step(name, config, devices, mixed_precision=True)
        seconds = time.perf_counter() - started
        text = step.as_text()
        sums = collectives_of(text).get("all-reduce", (0, 0))[0]
        convolutions = len(re.findall(r"bf16\[[^\]]*\][^=]*convolution", text))
        memory = step.memory_analysis()
        mib = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20
        called = f"{name}, {config.network.encoder}"
        print(f"| {called} | {config.batch_size} | {sums} | {convolutions} | {mib:.1f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
