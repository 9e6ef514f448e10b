"""Tests of a run that is killed: a real process, kill -9, and the same command once more."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.photographs import REPOSITORY
from tests.training.tiny import EIGHT_DEVICES, command, finish, write_tiny


def arrays(path: Path) -> list[np.ndarray]:
    """Weights, dropout's random state and the optimiser's variables of a checkpoint."""
    with np.load(path) as file:
        return [file[f"v{i}"] for i in range(len(file.files) - 1)]


def kill_in_the_segmenter(process: "subprocess.Popen[str]", folder: Path) -> None:
    """With -9, as soon as two of the segmenter's steps stand in its log."""
    log = folder / "segmenter.log.csv"
    deadline = time.monotonic() + 500
    while not (log.is_file() and "\n2," in log.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "run.json").exists()


def steps_of(folder: Path, name: str) -> list[str]:
    """The first column of a network's log."""
    return [line.split(",")[0] for line in (folder / f"{name}.log.csv").read_text().splitlines()]


def last_figures(folder: Path) -> list[float]:
    """Loss and Dice of the segmenter's last steps, and its Dice on what was held out."""
    last = (folder / "segmenter.log.csv").read_text().splitlines()[-1]
    line = json.loads(last[last.index("'") + 1 : -1])
    return [value for each in line.values() for value in (each if isinstance(each, list) else [each])]


def test_a_killed_run_ends_as_an_unbroken_one_bit_by_bit(tmp_path: Path):
    import keras

    arguments = (*write_tiny(tmp_path, 6), "--deterministic", "--out")
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    first, second = command(*arguments, str(killed)), command(*arguments, str(unbroken))
    kill_in_the_segmenter(first, killed)
    finish(second)
    finish(command(*arguments, str(killed)))
    for name in ("locator", "segmenter"):
        one, other = (arrays(folder / f"{name}.checkpoint.npz") for folder in (unbroken, killed))
        assert len(one) == len(other) > 50
        for a, b in zip(one, other, strict=True):
            assert a.tobytes() == b.tobytes()
        one, other = (keras.models.load_model(f / f"{name}.keras").get_weights() for f in (unbroken, killed))
        for a, b in zip(one, other, strict=True):
            assert a.tobytes() == b.tobytes()
        assert steps_of(unbroken, name) == steps_of(killed, name) == ["step", "2", "4", "6"]


def test_under_jax_a_run_that_is_killed_on_eight_devices_ends_on_eight_or_on_one(tmp_path: Path):
    pytest.importorskip("jax")
    import keras

    jax, eight = {"KERAS_BACKEND": "jax"}, {"KERAS_BACKEND": "jax", **EIGHT_DEVICES}
    arguments = (*write_tiny(tmp_path, 6), "--deterministic", "--out")
    unbroken, killed, alone = tmp_path / "unbroken", tmp_path / "killed", tmp_path / "alone"
    first, second = (command(*arguments, str(folder), **eight) for folder in (killed, unbroken))
    kill_in_the_segmenter(first, killed)
    shutil.copytree(killed, alone)
    assert "8 × " in finish(second)
    third, fourth = command(*arguments, str(killed), **eight), command(*arguments, str(alone), **jax)
    assert "8 × " in finish(third)
    assert "1 × " in finish(fourth)
    for a, b in zip(*(arrays(folder / "segmenter.checkpoint.npz") for folder in (unbroken, killed)), strict=True):
        assert a.tobytes() == b.tobytes()
    images = np.random.default_rng(4).normal(size=(3, 32, 32, 3)).astype(np.float32)
    one, many = (keras.models.load_model(folder / "segmenter.keras").predict(images) for folder in (alone, unbroken))
    assert one == pytest.approx(many, abs=0.01)
    assert last_figures(alone) == pytest.approx(last_figures(unbroken), abs=0.01)
    assert steps_of(alone, "segmenter") == steps_of(killed, "segmenter") == ["step", "2", "4", "6"]


SAVES_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from training import checkpoint

class Network:  # what a checkpoint needs to know of one
    def __init__(self):
        self.variables = [np.zeros(200_000) for _ in range(3)]
        self.optimizer = self

class Value:
    def __init__(self, value): self.value = value

network = Network()
for step in range(1, 10**9):
    network.variables = [Value(np.full(200_000, step))]
    checkpoint.save(Path(sys.argv[1]), network, step, 0.0, {})
    print(step, flush=True)
"""


def test_a_checkpoint_is_whole_whenever_its_writer_is_killed(tmp_path: Path):
    path = tmp_path / "locator.checkpoint.npz"
    random = np.random.default_rng(1)
    seen = 0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVES_FOR_EVER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.communicate()
        (values,) = {tuple(np.unique(each)) for each in arrays(path)}
        assert len(values) == 1  # of one step alone
        seen += 1
    assert seen == 5
