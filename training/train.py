"""Train one network, locator or segmenter, on views; resumable, the same again with the same seed."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.normalisation import Distribution
from model.unet import BATCH_NORMALISATION_MOMENTUM, build_unet
from training import checkpoint
from training.accelerator import Accelerator
from training.augment import plain_sample
from training.batches import Batch, batches
from training.config import NetworkConfig
from training.losses import LOSSES, dice_of_channel
from training.views import View
from training.whole_file import whole_file, writing

WATCHED_AT_ONCE = 32  # held-out samples
SETTLING_BATCHES = 100  # passes that settle batch normalisation on the averaged weights


def train_network(
    name: str,
    config: NetworkConfig,
    weights: dict[str, float],
    roi_diameters: float | None,
    views: Sequence[View],
    held_out: Sequence[View],
    distribution: Distribution,
    seed: int,
    mixed_precision: bool,
    steps_per_epoch: int,
    data_digest: str,
    out: Path,
    console: Console,
    accelerator: Accelerator,
    start: keras.Model | None = None,
    origin: str = "",
) -> tuple[keras.Model, float]:
    """Train, or go on with, one network.

    Args:
        name: "locator" or "segmenter".
        weights: share of the samples by source.
        roi_diameters: None for the locator, which sees whole fields of view.
        held_out: views for the log only; nothing is chosen by them.
        mixed_precision: compute in bf16 where the accelerator does.
        out: folder for `<name>.checkpoint.npz` and `<name>.log.csv`.
        start: a network of the same configuration whose weights training starts from; None for random ones.
        origin: what tells one start from another.
    Returns:
        The float32 network with its final weights, and the seconds that training took in this and earlier tries.
    Raises:
        InvalidCheckpoint: `out` holds the state of another run.
        InvalidConfiguration: the accelerator's devices cannot share a batch evenly.
        CannotWrite: `out` cannot take a checkpoint; told before the first step where it is so from the start.
    """
    accelerator.check_batch(config.batch_size)
    keras.utils.set_random_seed(seed)
    stream = [seed, 0 if roi_diameters is None else 1]
    facts = _facts(config, weights, roi_diameters, distribution, stream, mixed_precision, data_digest, origin)
    saved, log = out / f"{name}.checkpoint.npz", out / f"{name}.log.csv"
    with accelerator.scope():
        model = compiled_network(name, config, accelerator, mixed_precision)
        if start is not None:
            model.set_weights(start.get_weights())
        first, seconds = checkpoint.load(saved, model, facts) if saved.exists() else (0, 0.0)
    if not first:
        checkpoint.save(saved, model, 0, 0.0, facts)  # a disk that is too small is noticed now
    _shorten(log, first)
    stream_of_batches = batches(views, config, weights, roi_diameters, distribution, stream, first)
    watched = _watched(held_out, config, roi_diameters, distribution)
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
        task = progress.add_task(name, total=config.steps, completed=first, note="")
        started, counted = time.perf_counter(), first
        for step, (images, targets) in enumerate(stream_of_batches, first + 1):
            values = accelerator.step(model, images, targets)
            if step % 10 == 0:
                rate = (step - counted) * config.batch_size / (time.perf_counter() - started)
                progress.update(task, completed=step, note=_note(values, rate))
            if step % steps_per_epoch == 0 or step == config.steps:
                lap = time.perf_counter() - started
                seconds += lap
                rate = (step - counted) * config.batch_size / lap
                seen = _watch(model, watched, accelerator)
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
    drawn = batches(views, config, weights, roi_diameters, distribution, [*stream, 1], 0)
    return settled(averaged, name, config, drawn, accelerator), seconds


def compiled_network(name: str, config: NetworkConfig, accelerator: Accelerator, mixed_precision: bool) -> keras.Model:
    """The network with its optimiser, loss and metrics, ready for `accelerator.step`; called inside its scope."""
    with _Precision(mixed_precision and accelerator.bf16):
        model = build_unet(config.network, name)
    warm_up = min(config.warm_up, config.steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-6 if warm_up else config.learning_rate,
        max(1, config.steps - warm_up),
        warmup_target=config.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    average: dict[str, Any] = {"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, global_clipnorm=5.0, **average)
    metrics = [dice_of_channel(i, output) for i, output in enumerate(config.network.outputs)]
    model.compile(optimizer=optimizer, loss=LOSSES[config.loss], metrics=metrics, jit_compile=accelerator.jit_compile)
    accelerator.adapt(model)
    return model


def _averaged_weights(model: keras.Model, config: NetworkConfig) -> list[np.ndarray]:
    if config.ema_momentum:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    weights: list[np.ndarray] = model.get_weights()
    return weights


def settled(
    averaged: list[np.ndarray], name: str, config: NetworkConfig, drawn: Iterator[Batch], accelerator: Accelerator
) -> keras.Model:
    """The averaged weights in a float32 network, its batch normalisation settled on them: a plain mean over batches."""
    final = build_unet(config.network, name)
    final.set_weights(averaged)
    layers = [layer for layer in final.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        return final
    for layer in layers:
        layer.momentum = 0.0  # it holds the statistics of one batch, until the next
    training = AsInTraining(final)
    training.compile(jit_compile=accelerator.jit_compile)
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    sums, count = [np.zeros(variable.shape) for variable in statistics], min(SETTLING_BATCHES, config.steps)
    for images, _ in itertools.islice(drawn, count):
        training.predict_on_batch(images)
        for total, variable in zip(sums, statistics, strict=True):
            total += keras.ops.convert_to_numpy(variable)
    for total, variable in zip(sums, statistics, strict=True):
        variable.assign(total / count)
    for layer in layers:
        layer.momentum = BATCH_NORMALISATION_MOMENTUM
    return final


class AsInTraining(keras.Model):
    """A network whose prediction is one compiled pass as in training: batch normalisation takes the batch's statistics.

    Keras' own prediction tells a network that has the argument `training` that it is not; this one has none.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=True)


class _Precision:
    """The layers that are built inside compute in bf16, weights stay float32."""

    def __init__(self, mixed: bool) -> None:
        self.policy = "mixed_bfloat16" if mixed else "float32"

    def __enter__(self) -> None:
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self.before)


def _watched(
    views: Sequence[View], config: NetworkConfig, roi_diameters: float | None, distribution: Distribution
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Unvaried samples of held-out views by source; of the sources with cups alone where the network draws cups."""
    by_source: dict[str, list[Any]] = {}
    for view in views:
        sample = plain_sample(view, config.network.input_size, config.network.outputs, roi_diameters, distribution)
        by_source.setdefault(view.example.source, []).append(sample)
    return {
        name: (np.stack([s.image for s in samples]), np.stack([s.target for s in samples]))
        for name, samples in sorted(by_source.items())
    }


def _watch(
    model: keras.Model, watched: dict[str, tuple[np.ndarray, np.ndarray]], accelerator: Accelerator
) -> dict[str, Any]:
    """Mean Dice of each output by source with the weights of this moment."""
    result = {}
    for name, (images, targets) in watched.items():
        drawn = accelerator.predict(model, images, WATCHED_AT_ONCE) > 0.5
        truth = targets > 0.5
        dice = 2 * (drawn & truth).sum((1, 2)) / np.maximum(1, drawn.sum((1, 2)) + truth.sum((1, 2)))
        known: np.ndarray = np.all(targets[:, 0, 0] >= 0, axis=0)
        result[name] = [
            round(float(value), 3) if ok else None for value, ok in zip(dice.mean(axis=0), known.tolist(), strict=True)
        ]
    return result


def _note(values: dict[str, Any], rate: float) -> str:
    dice = " ".join(f"{key} {float(value):.3f}" for key, value in values.items() if key != "loss")
    return f"loss {float(values['loss']):.3f} Dice {dice} {rate:.0f} images/s"


def _facts(
    config: NetworkConfig,
    weights: dict[str, float],
    roi_diameters: float | None,
    distribution: Distribution,
    stream: Sequence[int],
    mixed_precision: bool,
    data_digest: str,
    origin: str,
) -> dict[str, Any]:
    """Whatever makes another run, as JSON types; not the device, so that a run may move to another one."""
    return {
        **asdict(config),
        "weights": weights,
        "roi_diameters": roi_diameters,
        "distribution": distribution.as_dict(),
        "seed": list(stream),
        "mixed_precision": mixed_precision,
        "data": data_digest,
        "from": origin,
    }


def _shorten(log: Path, step: int) -> None:
    """Take out what was logged after the checkpoint that training goes on from, or begin the log."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines() if step else []
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines[1:] if line.split(",")[0].isdigit() and int(line.split(",")[0]) <= step]
    with whole_file(log) as partial:
        partial.write_text("\n".join(["step,seconds,loss,images_per_s,metrics", *kept, ""]), encoding="utf-8")
