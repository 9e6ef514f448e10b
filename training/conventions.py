"""Ways of annotating: what each source's experts draw beside the others, learnt apart from the photographs' looks.

Experts of one source draw larger cups than those of another, and a network that is not told whose annotation it learns
fits both by telling the sources apart by their looks. A network that is told has biases of its own for each convention,
in its decoder. Untold, it draws by the photograph's looks; told, by the convention, whatever the photograph looks like.
The finished network's answer is a mean of these, and a mean of biases is a bias, so that it is a plain one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from model.unet import build_unet
from model.unet_config import UNetConfig
from training.config import NetworkConfig, Preset, convention_of

MEASURED_AT_ONCE = 32  # photographs

Shifts = dict[str, list[np.ndarray]]  # by convention, of each weight of a plain network


@dataclass(frozen=True)
class Conventions:
    """Those that one network learns.

    `answer` (K,) float32 is the share of each in what the version draws, together at most 1; the rest is untold.
    `share_told` of the samples are told.
    """

    names: tuple[str, ...]
    of_source: dict[str, int]  # name of a source → number of its convention
    answer: np.ndarray
    share_told: float

    @property
    def shares(self) -> dict[str, float]:
        """`answer` by name."""
        return dict(zip(self.names, self.answer.tolist(), strict=True))

    def told(self, images: np.ndarray, sources: Sequence[str], random: np.random.Generator) -> list[np.ndarray]:
        """The network's two inputs: images, and of those that are told, by chance, the convention of their source."""
        shares = np.eye(len(self.names), dtype=np.float32)[[self.of_source[name] for name in sources]]
        return [images, shares * (random.random((len(images), 1)) < self.share_told)]

    def answering(self, images: np.ndarray, shares: np.ndarray | None = None) -> list[np.ndarray]:
        """The network's two inputs for the version's answer, or for another mean of the conventions."""
        shares = self.answer if shares is None else shares
        return [images, np.repeat(shares[None].astype(np.float32), len(images), axis=0)]


def conventions_of(preset: Preset, config: NetworkConfig, complete: set[str]) -> Conventions | None:
    """What a network learns apart; None where the preset does not ask for it, or there is but one way of annotating.

    A network that is always told knows no other way of drawing: the shares of its answer then are 1 together, and those
    of all complete sources are alike where none is asked for.

    Args:
        complete: the sources of which photographs train and are annotated for all of the network's outputs.
    """
    if not config.told:
        return None
    used = [
        source
        for source in preset.sources
        if not source.left_out and config.sources.get(source.name, source.weight) > 0
    ]
    names = tuple(sorted({convention_of(source) for source in used}))
    if len(names) < 2:
        return None
    of_source = {source.name: names.index(convention_of(source)) for source in used}
    answer = np.array([config.answer.get(name, 0.0) for name in names], np.float32)
    if config.told == 1:
        if not answer.any():
            answer[[number for name, number in of_source.items() if name in complete] or slice(None)] = 1
        answer /= answer.sum()
    return Conventions(names, of_source, answer, config.told)


def measure_conventions(
    model: keras.Model, conventions: Conventions, images: np.ndarray, outputs: Sequence[str]
) -> dict[str, dict[str, float]]:
    """How large each convention draws the same eyes.

    Args:
        model: with the conventions as its second input.
        images: (N, S, S, 3) float32, normalised regions of interest.
    Returns:
        By convention its `share` of the answer and, for each output such as cup, `cup_radius`: the median over the
        photographs of the radius that it draws over the answer's, of circles of the same areas.
    """

    def areas(shares: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), MEASURED_AT_ONCE)
        parts = (conventions.answering(images[i : i + MEASURED_AT_ONCE], shares) for i in starts)
        drawn = np.concatenate([keras.ops.convert_to_numpy(model.predict_on_batch(part)) > 0.5 for part in parts])
        found: np.ndarray = drawn.sum(axis=(1, 2)).astype(np.float64)
        return found

    answer = areas(conventions.answer)
    table = {}
    for name, shares, share in zip(conventions.names, np.eye(len(conventions.names)), conventions.answer, strict=True):
        ratios = np.sqrt(areas(shares) / np.maximum(answer, 1))
        medians = [
            float(np.median(ratios[seen, i])) if (seen := answer[:, i] > 0).any() else 0.0 for i in range(len(outputs))
        ]
        table[name] = {
            "share": round(float(share), 4),
            **{f"{output}_radius": round(median, 3) for output, median in zip(outputs, medians, strict=True)},
        }
    return table


def shifted(
    weights: Sequence[np.ndarray],
    shifts: Shifts,
    before: dict[str, float],
    after: dict[str, float],
) -> list[np.ndarray]:
    """Weights of a plain network that draws another mean of the conventions.

    Args:
        shifts: of `shifts_of`.
        before, after: the share of each convention.
    """
    new = [np.array(weight) for weight in weights]
    for name, each in shifts.items():
        change = after.get(name, 0.0) - before.get(name, 0.0)
        for weight, shift in zip(new, each, strict=True):
            weight += change * shift
    return new


def folded(model: keras.Model, config: UNetConfig, name: str, shares: np.ndarray) -> keras.Model:
    """The plain network that draws what `model` draws for these shares of its conventions."""
    plain = build_unet(config, name)
    added = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Dense)}
    for source, target in zip(_common(model), _common(plain), strict=True):
        weights = source.get_weights()
        more = added.get(f"{source.name}_convention")
        if more is not None:
            weights[1] = weights[1] + shares @ more.get_weights()[0]
        target.set_weights(weights)
    return plain


def shifts_of(
    model: keras.Model, conventions: Conventions, config: UNetConfig, name: str
) -> dict[str, list[np.ndarray]]:
    """By convention, what a whole share of it adds to each weight of the plain network; only biases are not 0."""
    count = len(conventions.names)
    none = folded(model, config, name, np.zeros(count, np.float32)).get_weights()
    return {
        each: [
            whole - nothing
            for whole, nothing in zip(folded(model, config, name, shares).get_weights(), none, strict=True)
        ]
        for each, shares in zip(conventions.names, np.eye(count, dtype=np.float32), strict=True)
    }


def unfold(plain: keras.Model, model: keras.Model) -> None:
    """Give a network with conventions the weights of a plain one: all of its conventions draw as that does."""
    for source, target in zip(_common(plain), _common(model), strict=True):
        target.set_weights(source.get_weights())


def _common(model: keras.Model) -> list[Any]:
    """The layers with weights that a network with conventions shares with a plain one, from the input on."""
    return [layer for layer in model.layers if layer.weights and not isinstance(layer, keras.layers.Dense)]
