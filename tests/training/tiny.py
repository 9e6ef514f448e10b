"""A run that takes seconds: one drawn source, networks of few channels that see 32 × 32 pixels, the real command."""

import os
import subprocess
import sys
from pathlib import Path

from tests.drawn import write_folder

CPU_ALONE = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # what runs only once
EIGHT_DEVICES = {"XLA_FLAGS": f"--xla_force_host_platform_device_count=8 {QUICKLY_COMPILED}"}  # under JAX

PRESET = """
seed = 5
steps_per_epoch = 2

[[sources]]
name = "clinic"
held_out = 1
terms = "drawn"

[locator]
steps = {steps}
batch_size = 8
warm_up = 0
[locator.network]
input_size = 32
depth = 1
start_channels = 4
outputs = ["disc"]

[segmenter]
steps = {steps}
batch_size = 8
warm_up = 0
[segmenter.network]
input_size = 32
depth = 1
start_channels = 4
dropout = 0.2
"""


def write_tiny(folder: Path, steps: int) -> tuple[str, ...]:
    """Photographs and preset in `folder`; returns the arguments of `cupdisc-train train` but for --out."""
    write_folder(folder / "data" / "clinic", 4, seed=21)
    (folder / "tiny.toml").write_text(PRESET.format(steps=steps), encoding="utf-8")
    return ("train", str(folder / "tiny.toml"), "--data", str(folder / "data"))


def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """The command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        env={**os.environ, **CPU_ALONE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """What it printed; it must have succeeded."""
    output, _ = process.communicate(timeout=580)
    assert process.returncode == 0, output
    return output
