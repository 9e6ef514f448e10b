"""Train under JAX and keep what the networks answer there; run as a process of its own by `test_jax`."""

import sys
from pathlib import Path

import keras
import numpy as np

from training.cli import app


def main(out: Path, arguments: list[str]) -> None:
    """Run the command line, then write `<network>.npz`, images and answers, into the run's folder."""
    assert keras.backend.backend() == "jax"
    app([*arguments, "--out", str(out)], standalone_mode=False)
    for name in ("locator", "segmenter"):
        images = np.random.default_rng(4).normal(size=(3, 32, 32, 3)).astype(np.float32)
        network = keras.models.load_model(out / f"{name}.keras")
        np.savez(out / f"{name}.npz", images=images, answers=network.predict(images, verbose=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
