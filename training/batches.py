"""Source-balanced batches, made ahead of the training step; batch n is the same in every run with the same seed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from model.cores import usable_cores
from model.normalisation import Distribution
from training.augment import Sample, draw_sample
from training.config import NetworkConfig
from training.conventions import Conventions
from training.views import View

AHEAD = 3  # batches that are ready or in the making for each that is being made, while the network computes

Inputs = np.ndarray | list[np.ndarray]  # images; with conventions those too
Batch = tuple[Inputs, np.ndarray]


def choose_views(
    views: Sequence[View], weights: dict[str, float], count: int, random: np.random.Generator
) -> list[int]:
    """Indices of `count` views: first a source by weight, then one of its views, evenly."""
    by_source: dict[str, list[int]] = {}
    for index, view in enumerate(views):
        by_source.setdefault(view.example.source, []).append(index)
    names = sorted(name for name in by_source if weights.get(name, 0) > 0)
    share = np.array([weights[name] for name in names])
    picked = random.choice(len(names), size=count, p=share / share.sum())
    return [by_source[names[number]][random.integers(len(by_source[names[number]]))] for number in picked]


def batches(
    views: Sequence[View],
    config: NetworkConfig,
    weights: dict[str, float],
    roi_diameters: float | None,
    distribution: Distribution,
    seed: Sequence[int],
    first: int,
    conventions: Conventions | None = None,
) -> Iterator[Batch]:
    """(images, targets) of batches number `first` to the last: (B, S, S, 3) and (B, S, S, C) float32.

    With conventions the images are a list: the images, and whose annotation each target is, (B, K) float32.

    A batch depends on `seed` and its own number alone, so a resumed run sees what an unbroken one would have seen.
    """
    size, outputs = config.network.input_size, config.network.outputs

    def make(number: int) -> Batch:
        random = np.random.default_rng([*seed, number])
        images = np.zeros((config.batch_size, size, size, 3), np.float32)
        targets = np.empty((config.batch_size, size, size, len(outputs)), np.float32)
        picked = choose_views(views, weights, len(images), random)
        for image, target, chosen in zip(images, targets, picked, strict=True):
            place = Sample(image, target)
            draw_sample(
                views[chosen], size, outputs, roi_diameters, distribution, config.augmentation, random, into=place
            )
        if conventions is not None:
            return conventions.told(images, [views[chosen].example.source for chosen in picked], random), targets
        return images, targets

    return made_ahead(make, range(first, config.steps))


def made_ahead(make: Callable[[int], Batch], numbers: Iterable[int]) -> Iterator[Batch]:
    """The batches of these numbers in order, made by as many threads as there are cores while others are used.

    OpenCV and NumPy release the lock. On a CPU the network takes its time from the same cores, so that their making is
    not hidden, only spread evenly.
    """
    with ThreadPoolExecutor(_workers()) as pool:
        waiting: list[Future[Batch]] = []
        try:
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) > queue_length():
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:  # nobody wants them any more
                future.cancel()


def queue_length() -> int:
    """How many batches are ready or in the making at most while one is used."""
    return AHEAD * _workers()


def _workers() -> int:
    return max(2, usable_cores())
