"""How many images a second training takes: the step alone, and the step that waits for its samples."""

import contextlib
import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import keras
from rich.table import Table

from model.artefact import NETWORKS
from model.normalisation import Distribution
from training.accelerator import Accelerator
from training.batches import Batch, batches, queue_length
from training.cache import Cache
from training.config import NetworkConfig, Preset
from training.run import estimate_distribution, gather_views, weights_of
from training.split import Split, disc_cut_of
from training.train import compiled_network
from training.views import WHOLE, View

STEPS = 12  # timed in one lap
LAPS = 7  # of each kind, in turn, so that both meet the machine's moods


@dataclass(frozen=True)
class Throughput:
    """Of one network on one device, images per second; medians over the laps.

    `alone`: the same few batches, in memory, again and again. `served`: batches made while the network computes.
    `made`: batches made and thrown away. `cost` is the share by which a served step is longer than one alone: the
    median of the laps' ratios, each lap served beside one alone.
    """

    network: str
    device: str
    precision: str
    batch_size: int
    alone: float
    served: float
    made: float
    cost: float


def measure_preset(
    preset: Preset,
    splits: dict[str, Split],
    cache: Cache | None,
    accelerator: Accelerator,
    precisions: Sequence[bool] | None = None,
    steps: int = STEPS,
    laps: int = LAPS,
) -> list[Throughput]:
    """Both networks of a preset, on its own training photographs.

    Args:
        cache: of the photographs; None to decode them now, which is not timed.
        precisions: False for float32, True for bf16 in the layers; None for what the preset trains in.
        steps: in a lap.
    """
    training = [example for split in splits.values() for example in split.training]
    whole, roi = (gather_views(training, cut, cache) for cut in (WHOLE, disc_cut_of(preset)))
    distribution = estimate_distribution(preset, roi, whole)
    chosen = (preset.mixed_precision and accelerator.bf16,) if precisions is None else precisions
    rows = []
    for name, views, diameters in zip(NETWORKS, (whole, roi), (None, preset.roi_diameters), strict=True):
        config = getattr(preset, name)
        # U-Nets that are averaged are trained by themselves
        for single, mixed in itertools.product(config.kinds, chosen):
            stream = functools.partial(_endless, views, single, weights_of(preset, single), diameters, distribution)
            keras.utils.set_random_seed(preset.seed)
            with accelerator.scope():
                model = compiled_network(name, single, accelerator, mixed)
            called = name if len(config.kinds) == 1 else f"{name}, {single.network.encoder}"
            rows.append(_measure(called, model, stream, single.batch_size, mixed, accelerator, steps, laps))
    return rows


def throughput_table(rows: list[Throughput]) -> Table:
    """The figures, for people."""
    table = Table(title="training, images per second")
    columns = ("network", "device", "precision", "batch", "step alone", "with its samples", "samples alone", "cost")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:3] else "right")
    for row in rows:
        table.add_row(*as_cells(row))
    return table


def as_cells(row: Throughput) -> list[str]:
    """One row's cells, in the order of `throughput_table`."""
    rates = [f"{rate:.0f}" if rate >= 20 else f"{rate:.1f}" for rate in (row.alone, row.served, row.made)]
    return [row.network, row.device, row.precision, str(row.batch_size), *rates, f"{row.cost:.0%}"]


def _endless(
    views: Sequence[View],
    config: NetworkConfig,
    weights: dict[str, float],
    diameters: float | None,
    distribution: Distribution,
) -> Generator[Batch, None, None]:
    yield from batches(views, dataclasses.replace(config, steps=10**9), weights, diameters, distribution, [1], 0)


def _measure(
    name: str,
    model: keras.Model,
    stream: Callable[[], Generator[Batch, None, None]],
    batch_size: int,
    mixed: bool,
    accelerator: Accelerator,
    steps: int,
    laps: int,
) -> Throughput:
    with contextlib.closing(stream()) as queue:
        ready = list(itertools.islice(queue, 3))
    for images, targets in ready:  # the first step is compiled
        accelerator.step(model, images, targets)
    alone, served, made = [], [], []
    for _ in range(laps):
        started = time.perf_counter()
        for i in range(steps):
            accelerator.step(model, *ready[i % len(ready)])
        alone.append(time.perf_counter() - started)
        with contextlib.closing(stream()) as queue:
            for images, targets in itertools.islice(queue, queue_length() + 1):  # until none lies ready from before
                accelerator.step(model, images, targets)
            started = time.perf_counter()
            for images, targets in itertools.islice(queue, steps):
                accelerator.step(model, images, targets)
            served.append(time.perf_counter() - started)
        with contextlib.closing(stream()) as queue:
            for _batch in itertools.islice(queue, queue_length() + 1):
                pass
            started = time.perf_counter()
            for _batch in itertools.islice(queue, steps):
                pass
            made.append(time.perf_counter() - started)
    rates = {
        name: steps * batch_size / statistics.median(each)
        for name, each in (("alone", alone), ("served", served), ("made", made))
    }
    ratios = [with_samples / without for with_samples, without in zip(served, alone, strict=True)]
    device = f"{accelerator.count} × {accelerator.name}, {accelerator.backend}"
    precision = "bf16" if mixed and accelerator.bf16 else "f32"
    return Throughput(name, device, precision, batch_size, cost=statistics.median(ratios) - 1, **rates)
