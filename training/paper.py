"""The experiment of Civit-Masot et al. 2019 (doi 10.1109/ACCESS.2019.2944692) again: `cupdisc-train paper`.

Cup and disc are two networks with one output each, trained on two sources together; the cup's sees the disc's annotated
box alone. It makes no version for the service: there a locator finds the disc, and nobody annotates it first.
"""

import dataclasses
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from rich.console import Console

from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig
from training import checkpoint
from training.accelerator import Accelerator
from training.batches import Batch, made_ahead
from training.config import SourceConfig
from training.losses import LOSSES, dice_of_channel
from training.metrics import dice, radii_ratio
from training.paper_pixels import cut, enlarge, equalise, vary
from training.preset_files import preset_path
from training.sources.example import Example, digest, read_each
from training.split import read_examples
from training.tables import build, read_toml, with_lines
from training.whole_file import whole_file, writing

OUTPUTS = ("cup", "disc")
PREDICTED_TOGETHER = 16
FEWEST = 4  # photographs of a source, so that one is left for the test


@dataclass(frozen=True)
class PaperSource:
    """One of the sources that are trained on together."""

    name: str
    repeats: int = 1  # how often each training photograph counts, so that a small source weighs as much as a large one
    ids: str = ".*"  # regular expression: only photographs whose whole id matches
    folder: str = ""  # below the data folder; the name where empty
    layout: str = "folder"  # one of training.sources.layouts
    options: dict[str, str] = dataclasses.field(default_factory=dict)  # what its layout lets choose

    def __post_init__(self) -> None:
        wrong = [] if self.repeats >= 1 else [f"repeats={self.repeats}: must be at least 1"]
        try:
            re.compile(self.ids)
        except re.error as error:
            wrong.append(f"ids={self.ids!r}: no regular expression, {error}")
        try:
            self.config()
        except InvalidConfiguration as error:
            wrong.append(str(error))
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))

    def config(self) -> SourceConfig:
        """As the sources' readers take it."""
        return SourceConfig(self.name, folder=self.folder, layout=self.layout, options=self.options)


@dataclass(frozen=True)
class PaperNetwork:
    """A generalised U-Net by the paper's three numbers."""

    start_channels: int
    depth: int
    channel_growth: float

    @property
    def name(self) -> str:
        """E.g. 64/6/1.1."""
        return f"{self.start_channels}/{self.depth}/{self.channel_growth:g}"

    @classmethod
    def of(cls, name: str) -> "PaperNetwork":
        """The inverse of `name`. Raises InvalidConfiguration."""
        numbers = re.fullmatch(r"(\d+)/(\d+)/(\d+(?:\.\d+)?)", name)
        if numbers is None:
            raise InvalidConfiguration(f"network={name!r}: must be start channels, depth and growth, such as 64/6/1.1")
        return cls(int(numbers[1]), int(numbers[2]), float(numbers[3]))


@dataclass(frozen=True)
class Known:
    """A result of the original: mean Dice over test photographs of one source."""

    output: str
    source: str
    photographs: int
    dice: float


@dataclass(frozen=True)
class Paper:
    """The whole experiment. Values are the original's where `presets/paper.toml` sets them."""

    sources: tuple[PaperSource, ...]
    networks: tuple[PaperNetwork, ...]
    network: str  # name of the one that is trained
    known: tuple[Known, ...] = ()
    outputs: tuple[str, ...] = OUTPUTS  # one network each
    input_size: int = 128
    dropout: float = 0.0  # in the bottom block
    learning_rate: float = 7.5e-4  # of Adam, constant
    batch_size: int = 120
    epochs: int = 15
    steps_per_epoch: int = 150
    seed: int = 42
    test_share: float = 0.25
    photographs: int = 0  # of each source at most; 0 for all
    mixed_precision: bool = False  # bf16 in the layers where the device has it
    clip_limit: float = 0.035  # of the equalisation that every photograph goes through
    plain_copies: int = 16  # of each photograph, beside those below
    enlarged_clip_limits: tuple[float, ...] = (0.02, 0.04)
    enlarged_brightness: tuple[float, ...] = (0.9, 1.1)
    middle: float = 0.8  # of a photograph's height and width, where the disc is looked for
    rotation_deg: float = 30.0
    shift: float = 0.1  # of the side
    zoom: float = 0.2  # of the scale

    def __post_init__(self) -> None:
        known = [network.name for network in self.networks]
        wrong = [
            f"{name}={getattr(self, name)!r}: must be {text}"
            for name, good, text in (
                ("sources", self.sources, "at least one"),
                ("network", self.network in known or not known, f"one of {', '.join(known)}"),
                ("outputs", self.outputs and not set(self.outputs) - set(OUTPUTS), "cup, disc or both"),
                ("learning_rate", self.learning_rate > 0, "positive"),
                *((each, getattr(self, each) >= 1, "at least 1") for each in ("batch_size", "epochs", "plain_copies")),
                ("steps_per_epoch", self.steps_per_epoch >= 1, "at least 1"),
                ("seed", self.seed >= 0, "at least 0"),
                ("test_share", 0 < self.test_share < 1, "in (0, 1)"),
                (
                    "photographs",
                    self.photographs == 0 or self.photographs >= FEWEST,
                    f"0 for all, or at least {FEWEST}",
                ),
                ("clip_limit", 0 < self.clip_limit <= 1, "in (0, 1]"),
                ("enlarged_clip_limits", all(0 < each <= 1 for each in self.enlarged_clip_limits), "in (0, 1]"),
                ("enlarged_brightness", all(each > 0 for each in self.enlarged_brightness), "positive"),
                ("middle", 0 < self.middle <= 1, "in (0, 1]"),
                ("shift", 0 <= self.shift < 1, "in [0, 1)"),
                ("zoom", 0 <= self.zoom < 1, "in [0, 1)"),
            )
            if not good
        ]
        if not wrong and self.networks:
            try:
                self.unet(self.outputs[0])
            except InvalidConfiguration as error:
                wrong.append(f"network={self.network!r}: {error}")
        if wrong:
            raise InvalidConfiguration("; ".join(wrong))

    def with_network(self, name: str) -> "Paper":
        """The experiment with another network, by its three numbers; it need not be one of `networks`.

        Raises:
            InvalidConfiguration: no three numbers, or no network that can be built.
        """
        network = PaperNetwork.of(name)
        return dataclasses.replace(self, network=network.name, networks=(*self.networks, network))

    def unet(self, output: str) -> UNetConfig:
        """The network for one output."""
        chosen = next(network for network in self.networks if network.name == self.network)
        return UNetConfig(
            input_size=self.input_size,
            depth=chosen.depth,
            start_channels=chosen.start_channels,
            channel_growth=chosen.channel_growth,
            dropout=self.dropout,
            outputs=(output,),  # type: ignore[arg-type]
        )

    @property
    def steps(self) -> int:
        """Of each network."""
        return self.epochs * self.steps_per_epoch


class Material(NamedTuple):
    """What one network is trained on and judged by.

    `images` (N, S, S, 3) float32 in [0, 1] and `masks` (N, S, S) float32, 0 or 1, to train on; `rows` names each as
    often as it counts. `tests` by source: ids, images and masks.
    """

    images: np.ndarray
    masks: np.ndarray
    rows: np.ndarray
    tests: dict[str, tuple[list[str], np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Judged:
    """One test photograph."""

    output: str
    source: str
    id: str
    dice: float
    radii_ratio: float  # drawn over annotated; 0 where nothing was drawn


@dataclass(frozen=True)
class Repeated:
    """What came out. `counts` is (training, test) photographs by source; `seconds` of training by output."""

    paper: Paper
    judged: list[Judged]
    counts: dict[str, tuple[int, int]]
    seconds: dict[str, float]
    device: str


def read_paper(name: str = "paper") -> Paper:
    """The set-up of a TOML file, or the bundled one.

    Raises:
        InvalidConfiguration: unreadable, unknown keys or impossible values; all of them are named, with their lines.
    """
    path = preset_path(name)
    values, text = read_toml(path)
    problems = [f"{key}: unknown key" for key in values if key != "paper"]
    paper = build(Paper, values.get("paper", {}), "paper.", problems)
    if problems or paper is None:
        raise with_lines(InvalidConfiguration("\n".join(problems)), path, text)
    return paper


def repeat_paper(paper: Paper, data: Path, out: Path, accelerator: Accelerator, console: Console) -> Repeated:
    """Train and judge; a run that was stopped goes on where its last checkpoint stands.

    Args:
        data: the folder that holds the sources' folders.
        out: folder for checkpoints and the trained networks.
    Raises:
        InvalidSource, InvalidConfiguration, InvalidCheckpoint, CannotWrite.
    """
    accelerator.check_batch(paper.batch_size)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    parts = split(paper, data)
    counts = {name: (len(training), len(test)) for name, (training, test) in parts.items()}
    for name, (training, test) in counts.items():
        console.print(f"{name}: {training} for training, {test} for the test")
    digests = {name: digest([*training, *test]) for name, (training, test) in parts.items()}
    judged, seconds = [], {}
    for output in paper.outputs:
        console.print(f"{output}: cutting and equalising")
        material = gather(paper, output, parts)
        model, seconds[output] = train_output(paper, output, material, digests, out, accelerator, console)
        with whole_file(out / f"{output}.keras") as partial:
            model.save(partial)
        judged += judge(output, model, material, accelerator)
    return Repeated(paper, judged, counts, seconds, str(accelerator))


def split(paper: Paper, data: Path) -> dict[str, tuple[list[Example], list[Example]]]:
    """(training, test) photographs by source: as in the original, one generator draws from one source after the other.

    Raises:
        InvalidSource: missing or odd files.
        InvalidConfiguration: too few photographs have a matching id and an annotated cup.
    """
    random = np.random.RandomState(paper.seed)  # the generator that scikit-learn's train_test_split drew with
    parts = {}
    for source in paper.sources:
        examples = [
            example
            for example in read_examples(source.config(), data)
            if re.fullmatch(source.ids, example.id) and example.cup_annotated
        ]
        if len(examples) < FEWEST:
            raise InvalidConfiguration(f"{source.name}: {len(examples)} photographs with a cup match {source.ids!r}")
        if paper.photographs:
            chosen = np.random.default_rng(paper.seed).permutation(len(examples))[: paper.photographs]
            examples = [examples[i] for i in sorted(chosen)]
        order = random.permutation(len(examples))
        tests = math.ceil(paper.test_share * len(examples))
        parts[source.name] = ([examples[i] for i in order[tests:]], [examples[i] for i in order[:tests]])
    return parts


def gather(paper: Paper, output: str, parts: dict[str, tuple[list[Example], list[Example]]]) -> Material:
    """Read, cut, equalise and enlarge. Raises InvalidSource, which lists every photograph that cannot be read."""
    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    rows: list[int] = []
    tests = {}
    copies = [paper.plain_copies, *[1] * (len(paper.enlarged_clip_limits) + len(paper.enlarged_brightness))]
    for source in paper.sources:
        training, test = parts[source.name]

        def one(example: Example) -> tuple[np.ndarray, np.ndarray]:
            image, mask = cut(example, output, paper.input_size, paper.middle)
            return equalise(image, paper.clip_limit), mask.astype(np.float32)

        def several(example: Example) -> tuple[list[np.ndarray], np.ndarray]:
            image, mask = one(example)
            return enlarge(image, paper.enlarged_clip_limits, paper.enlarged_brightness), mask

        for variants, mask in read_each(training, several):
            for variant, times in zip(variants, copies, strict=True):
                rows += [len(images)] * (times * source.repeats)
                images.append(variant)
                masks.append(mask)
        judged = read_each(test, one)
        ids = [example.id for example in test]
        tests[source.name] = (ids, np.stack([image for image, _ in judged]), np.stack([mask for _, mask in judged]))
    return Material(np.stack(images), np.stack(masks), np.array(rows), tests)


def batch(paper: Paper, material: Material, number: int) -> Batch:
    """Batch `number`, (B, S, S, 3) and (B, S, S, 1) float32: depends on the seed and its number alone.

    All rows come once, in an order of their own, before any comes again.
    """
    count, orders = len(material.rows), {}
    images, masks = [], []
    for place in range(number * paper.batch_size, (number + 1) * paper.batch_size):
        turn, within = divmod(place, count)
        if turn not in orders:
            orders[turn] = np.random.default_rng([paper.seed, turn]).permutation(count)
        row = material.rows[orders[turn][within]]
        random = np.random.default_rng([paper.seed, turn, within])
        varied = vary(material.images[row], material.masks[row], paper.rotation_deg, paper.shift, paper.zoom, random)
        images.append(varied[0])
        masks.append(varied[1])
    return np.stack(images), np.stack(masks)[..., None]


def train_output(
    paper: Paper,
    output: str,
    material: Material,
    digests: dict[str, str],
    out: Path,
    accelerator: Accelerator,
    console: Console,
) -> tuple[keras.Model, float]:
    """Train, or go on with, one of the networks; answers with it and the seconds that training took."""
    keras.utils.set_random_seed(paper.seed)
    config = paper.unet(output)
    facts: dict[str, Any] = {"paper": dataclasses.asdict(dataclasses.replace(paper, known=())), "data": digests}
    saved = out / f"{output}.checkpoint.npz"
    before = keras.config.dtype_policy()
    with accelerator.scope():
        try:
            keras.config.set_dtype_policy("mixed_bfloat16" if paper.mixed_precision and accelerator.bf16 else "float32")
            model = build_unet(config, output)
        finally:
            keras.config.set_dtype_policy(before)
        model.compile(
            optimizer=keras.optimizers.Adam(paper.learning_rate),
            loss=LOSSES["log_dice"],
            metrics=[dice_of_channel(0, output)],
            jit_compile=accelerator.jit_compile,
        )
        accelerator.adapt(model)
        first, seconds = checkpoint.load(saved, model, facts) if saved.exists() else (0, 0.0)
    if not first:
        checkpoint.save(saved, model, 0, 0.0, facts)  # a disk that is too small is noticed now
    started = time.perf_counter()
    served = made_ahead(lambda number: batch(paper, material, number), range(first, paper.steps))
    for step, (images, masks) in enumerate(served, first + 1):
        values = accelerator.step(model, images, masks)
        if step % paper.steps_per_epoch == 0 or step == paper.steps:
            now = time.perf_counter()
            seconds, started = seconds + now - started, now
            told = f"loss {float(values['loss']):.3f}, {seconds:.0f} s"
            console.print(f"{output} {step}/{paper.steps}: {told}")
            checkpoint.save(saved, model, step, seconds, facts)
            model.reset_metrics()
    return model, seconds


def judge(output: str, model: keras.Model, material: Material, accelerator: Accelerator) -> list[Judged]:
    """Dice and radii ratio of each test photograph, on the network's own grid, as the original."""
    judged = []
    for source, (ids, images, masks) in material.tests.items():
        drawn = accelerator.predict(model, images, PREDICTED_TOGETHER)[..., 0] > 0.5
        for identity, one, truth in zip(ids, drawn, masks > 0.5, strict=True):
            judged.append(Judged(output, source, identity, dice(one, truth), radii_ratio(one, truth) or 0.0))
    return judged
