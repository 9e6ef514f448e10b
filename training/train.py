"""Train one network, locator or segmenter, on views; resumable, the same again with the same seed."""

import functools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.normalisation import Distribution
from model.unet import build_unet
from training import checkpoint
from training.accelerator import Accelerator
from training.augment import plain_sample
from training.batches import batches
from training.config import NetworkConfig
from training.conventions import Conventions, Shifts, folded, measure_conventions, shifts_of, unfold
from training.encoder import adamw, freeze
from training.losses import LOSSES, dice_of_channel
from training.pretrained import start_from_imagenet
from training.settling import settled
from training.views import View
from training.watching import watch, watched_samples
from training.whole_file import whole_file, writing

MEASURED = 200  # photographs that tell how conventions differ


@dataclass(frozen=True)
class TrainedNetwork:
    """The float32 network with its final weights, and how it came to be."""

    network: keras.Model
    seconds: float  # that training took in this and earlier tries
    conventions: dict[str, dict[str, float]] = field(default_factory=dict)  # of `measure_conventions`
    shifts: Shifts = field(default_factory=dict)  # of `shifts_of`


@dataclass(frozen=True)
class Task:
    """What one network is to learn, and from what."""

    name: str  # of the network, and of its files: locator, segmenter, segmenter_2
    config: NetworkConfig  # of one U-Net
    weights: dict[str, float]  # share of the samples by source
    roi_diameters: float | None  # None for the locator, which sees whole fields of view
    views: Sequence[View]
    held_out: Sequence[View]  # for the log only; nothing is chosen by them
    distribution: Distribution
    seed: int
    mixed_precision: bool  # compute in bf16 where the accelerator does
    steps_per_epoch: int  # between two checkpoints
    data_digest: str
    start: keras.Model | None = None  # whose weights training starts from; None for those of `config`
    origin: str = ""  # what tells one start from another
    conventions: Conventions | None = None  # learnt apart; the trained network draws their `answer` alone

    @property
    def stream(self) -> list[int]:
        """The random stream of its samples."""
        return [self.seed, 0 if self.roi_diameters is None else 1]

    def facts(self) -> dict[str, Any]:
        """Whatever makes another run, as JSON types; not the device, so that a run may move to another one."""
        own = asdict(self.config)
        del own["beside"], own["network"]["beside"]  # others are trained by themselves
        return {
            **own,
            "weights": self.weights,
            "roi_diameters": self.roi_diameters,
            "distribution": self.distribution.as_dict(),
            "seed": self.stream,
            "mixed_precision": self.mixed_precision,
            "data": self.data_digest,
            "from": self.origin,
            "answers": self.conventions.shares if self.conventions else None,
        }


def train_network(task: Task, out: Path, console: Console, accelerator: Accelerator) -> TrainedNetwork:
    """Train, or go on with, one network.

    Args:
        out: folder for `<name>.checkpoint.npz` and `<name>.log.csv`.
    Raises:
        InvalidCheckpoint: `out` holds the state of another run.
        InvalidConfiguration: the accelerator's devices cannot share a batch evenly.
        CannotWrite: `out` cannot take a checkpoint; told before the first step where it is so from the start.
    """
    name, config, distribution, conventions = task.name, task.config, task.distribution, task.conventions
    accelerator.check_batch(config.batch_size)
    keras.utils.set_random_seed(task.seed)
    facts = task.facts()
    apart = len(conventions.names) if conventions else 0
    saved, log = out / f"{name}.checkpoint.npz", out / f"{name}.log.csv"
    with accelerator.scope():
        model = compiled_network(name, config, accelerator, task.mixed_precision, apart)
        if task.start is not None:
            unfold(task.start, model)
        elif config.encoder_weights == "imagenet":
            start_from_imagenet(model)
        first, seconds = checkpoint.load(saved, model, facts) if saved.exists() else (0, 0.0)
    if not first:
        checkpoint.save(saved, model, 0, 0.0, facts)  # a disk that is too small is noticed now
    _shorten(log, first)
    samples = functools.partial(batches, task.views, config, task.weights, task.roi_diameters, distribution)
    watched = watched_samples(task.held_out, config, task.roi_diameters, distribution, conventions)
    text = TextColumn("{task.fields[note]}")
    columns = (
        TextColumn(f"{name:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        text,
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=config.steps, completed=first, note="")
        started, counted = time.perf_counter(), first
        for step, (inputs, targets) in enumerate(samples(task.stream, first, conventions), first + 1):
            values = accelerator.step(model, inputs, targets)
            if step % 10 == 0:
                rate = (step - counted) * config.batch_size / (time.perf_counter() - started)
                progress.update(bar, completed=step, note=_note(values, rate))
            if step % task.steps_per_epoch == 0 or step == config.steps:
                lap = time.perf_counter() - started
                seconds += lap
                rate = (step - counted) * config.batch_size / lap
                seen = watch(model, watched, accelerator)
                line = {k: round(float(v), 4) for k, v in values.items()} | seen
                with writing(log), log.open("a", encoding="utf-8") as file:
                    file.write(f"{step},{seconds:.1f},{line['loss']},{rate:.1f},{json.dumps(line)!r}\n")
                left = (config.steps - step) * config.batch_size / rate / 60
                held = " ".join(f"held-out {k} {v}" for k, v in seen.items())
                if not console.is_terminal:
                    console.print(f"{name} {step}/{config.steps} {_note(values, rate)} {held}, {left:.0f} min left")
                checkpoint.save(saved, model, step, seconds, facts)
                model.reset_metrics()
                started, counted = time.perf_counter(), step
    with accelerator.scope():
        averaged = _averaged_weights(model, config)
    again = samples([*task.stream, 1], 0, conventions)
    network = settled(averaged, name, config, again, accelerator, apart)
    if conventions is None:
        return TrainedNetwork(network, seconds)
    plain = _some(task.views, config, task.roi_diameters, distribution)
    return TrainedNetwork(
        folded(network, config.network, name, conventions.answer),
        seconds,
        measure_conventions(network, conventions, plain, config.network.outputs),
        shifts_of(network, conventions, config.network, name),
    )


def _some(
    views: Sequence[View], config: NetworkConfig, roi_diameters: float | None, distribution: Distribution
) -> np.ndarray:
    """(N, S, S, 3) unvaried samples of at most MEASURED views, every so many of them."""
    size, outputs = config.network.input_size, config.network.outputs
    every = -(-len(views) // MEASURED)
    return np.stack([plain_sample(view, size, outputs, roi_diameters, distribution).image for view in views[::every]])


def compiled_network(
    name: str, config: NetworkConfig, accelerator: Accelerator, mixed_precision: bool, conventions: int = 0
) -> keras.Model:
    """The network with its optimiser, loss and metrics, ready for `accelerator.step`; called inside its scope."""
    with _Precision(mixed_precision and accelerator.bf16):
        model = build_unet(config.network, name, conventions)
    freeze(model, config.frozen_levels)
    warm_up = min(config.warm_up, config.steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-6 if warm_up else config.learning_rate,
        max(1, config.steps - warm_up),
        warmup_target=config.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    average: dict[str, Any] = {"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}
    optimizer = adamw(
        model, config.encoder_rate, rate, weight_decay=config.weight_decay, global_clipnorm=5.0, **average
    )
    metrics = [dice_of_channel(i, output) for i, output in enumerate(config.network.outputs)]
    model.compile(optimizer=optimizer, loss=LOSSES[config.loss], metrics=metrics, jit_compile=accelerator.jit_compile)
    accelerator.adapt(model)
    return model


def _averaged_weights(model: keras.Model, config: NetworkConfig) -> list[np.ndarray]:
    if config.ema_momentum:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    weights: list[np.ndarray] = model.get_weights()
    return weights


class _Precision:
    """The layers that are built inside compute in bf16, weights stay float32."""

    def __init__(self, mixed: bool) -> None:
        self.policy = "mixed_bfloat16" if mixed else "float32"

    def __enter__(self) -> None:
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self.before)


def _note(values: dict[str, Any], rate: float) -> str:
    dice = " ".join(f"{key} {float(value):.3f}" for key, value in values.items() if key != "loss")
    return f"loss {float(values['loss']):.3f} Dice {dice} {rate:.0f} images/s"


def _shorten(log: Path, step: int) -> None:
    """Take out what was logged after the checkpoint that training goes on from, or begin the log."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines() if step else []
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines[1:] if line.split(",")[0].isdigit() and int(line.split(",")[0]) <= step]
    with whole_file(log) as partial:
        partial.write_text("\n".join(["step,seconds,loss,images_per_s,metrics", *kept, ""]), encoding="utf-8")
