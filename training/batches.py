"""Source-balanced batches, made ahead of the training step; batch n is the same in every run with the same seed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from model.normalisation import Distribution
from training.augment import draw_sample
from training.config import NetworkConfig
from training.views import View

AHEAD = 6  # batches in the making while the network computes
WORKERS = 2  # OpenCV and NumPy release the lock; more would take cores from the network


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
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(images, targets) of batches number `first` to the last: (B, S, S, 3) and (B, S, S, C) float32.

    A batch depends on `seed` and its own number alone, so a resumed run sees what an unbroken one would have seen.
    """
    size, outputs = config.network.input_size, config.network.outputs

    def make(number: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([*seed, number])
        chosen = choose_views(views, weights, config.batch_size, random)
        samples = [
            draw_sample(views[i], size, outputs, roi_diameters, distribution, config.augmentation, random)
            for i in chosen
        ]
        return np.stack([s.image for s in samples]), np.stack([s.target for s in samples])

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: list[Future[tuple[np.ndarray, np.ndarray]]] = []
        numbers = iter(range(first, config.steps))
        for number in numbers:
            waiting.append(pool.submit(make, number))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
