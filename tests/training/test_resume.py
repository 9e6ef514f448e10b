"""Tests of a run that is killed: a real process, kill -9, and the same command once more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.photographs import REPOSITORY
from tests.training.tiny import command, finish, write_tiny


def arrays(path: Path) -> list[np.ndarray]:
    """Weights, dropout's random state and the optimiser's variables of a checkpoint."""
    with np.load(path) as file:
        return [file[f"v{i}"] for i in range(len(file.files) - 1)]


def test_a_killed_run_ends_as_an_unbroken_one_bit_by_bit(tmp_path: Path):
    import keras

    arguments = (*write_tiny(tmp_path, 6), "--deterministic", "--out")
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    first, second = command(*arguments, str(killed)), command(*arguments, str(unbroken))
    log = killed / "segmenter.log.csv"
    deadline = time.monotonic() + 500
    while not (log.is_file() and "\n2," in log.read_text()):
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (killed / "run.json").exists()
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
        logs = [(folder / f"{name}.log.csv").read_text().splitlines() for folder in (unbroken, killed)]
        steps = [[line.split(",")[0] for line in lines] for lines in logs]
        assert steps[0] == steps[1] == ["step", "2", "4", "6"]


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
