"""A small version that is really trained, on drawn photographs: no larger and no longer than its tests need."""

from pathlib import Path

from rich.console import Console

from model.artefact import Artefact
from model.local_registry import LocalRegistry
from tests.drawn import write_folder
from training.config import Preset
from training.finish import Facts
from training.preset_files import read_preset
from training.publish import publish_run
from training.run import Trained, train_run
from training.saved_run import save_run

PRESET = """
seed = 3
mixed_precision = false
steps_per_epoch = {epoch}

[[sources]]
name = "whole"
held_out = 6
terms = "drawn"

[[sources]]
name = "crops"
held_out = 3

[[sources]]
name = "discs"
weight = 0.3

[locator]
steps = {steps}
batch_size = 8
learning_rate = 4e-3
warm_up = 0
ema_momentum = 0.95
[locator.network]
input_size = 64
depth = 3
start_channels = 8
channel_growth = 1.6
outputs = ["disc"]

[segmenter]
steps = {steps}
told = 0.5
batch_size = 8
learning_rate = 4e-3
warm_up = 0
ema_momentum = 0.95
[segmenter.network]
input_size = 64
depth = 3
start_channels = 8
"""

FACTS = Facts("2026.1.1", "2026-01-01T00:00:00Z", "0.1.0", "cupdisc-train train drawn", "a test machine")


def write_data(folder: Path) -> Path:
    """Three drawn sources: whole photographs, crops, and whole photographs without annotated cups."""
    write_folder(folder / "whole", 26, seed=11)
    write_folder(folder / "crops", 15, seed=12, crops=True)
    write_folder(folder / "discs", 6, seed=13, cups=False)
    return folder


def small_preset(folder: Path, steps: int, epoch: int = 100) -> Preset:
    """The preset above with as many steps for both networks."""
    path = folder / "drawn.toml"
    path.write_text(PRESET.format(steps=steps, epoch=epoch), encoding="utf-8")
    return read_preset(str(path))


def train_small(folder: Path, data: Path, steps: int, console: Console) -> Trained:
    """Train the preset into `folder`."""
    trained = train_run(small_preset(folder, steps), data, folder / "run", console)
    save_run(trained, folder / "run")
    return trained


def publish_small(folder: Path, trained: Trained, console: Console) -> Artefact:
    """Publish it as 2026.1.1 with the alias `production` into `folder`/registry."""
    return publish_run(trained, FACTS, LocalRegistry(folder / "registry"), "production", console)
