"""What bf16 saves of the networks' time and changes of their answers, by what is kept in f32. Markdown.

    python -m benchmarks.precision [--version 2026.11.8] [--registry bundled] [--data DIR] > FILE

Times are medians of calls, locator and segmenter in turn, some of each way at a time, one thread. Answers are compared
with those in f32, every pixel of each photograph decoded. Whether they are right is not asked here. Needs a CPU that
computes in bf16.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import machine, of_a_version
from model import engines, images, openvino_network
from model.artefact import Artefact
from model.engines import Engine
from model.masks import Label
from model.registry import open_registry
from model.segmentation import Segmentation
from model.segmenter import Segmenter

WHOLE = {"drishti-gs1": 1, "refuge-full": 1, "idrid": 1, "unlabelled": 1}  # each, or each so-and-so-manyth
CROPS = {"refuge-crops": 4, "rim-one-dl": 4}
ROUNDS, CALLS = 20, 6
Network = Literal["locator", "segmenter"]
NETWORKS: tuple[Network, ...] = ("locator", "segmenter")


@dataclass
class Compared:
    """Answers of one way beside those in f32."""

    common: dict[Label, int] = field(default_factory=lambda: dict.fromkeys((Label.RIM, Label.CUP), 0))
    both: dict[Label, int] = field(default_factory=lambda: dict.fromkeys((Label.RIM, Label.CUP), 0))
    differences: list[float] = field(default_factory=list)  # of the vertical ratio
    verdicts: int = 0  # that differ

    def add(self, exact: Segmentation, other: Segmentation) -> None:
        """One photograph's."""
        for least in self.common:
            one, two = exact.drawn >= least, other.drawn >= least
            self.common[least] += int(np.count_nonzero(one & two))
            self.both[least] += int(np.count_nonzero(one) + np.count_nonzero(two))
        if exact.drawn_ratios and other.drawn_ratios:
            self.differences.append(abs(exact.drawn_ratios.vertical - other.drawn_ratios.vertical))
        self.verdicts += exact.reasons != other.reasons

    def __str__(self) -> str:
        disc, cup = (2 * self.common[least] / self.both[least] for least in self.common)
        mean, most = statistics.mean(self.differences), max(self.differences)
        return f"{disc:.4f}, {cup:.4f}, {mean:.4f} ({most:.3f}), {self.verdicts}"


def main() -> None:
    """Measure and print."""
    options = of_a_version.options(__doc__)
    version = open_registry(options.registry).open(options.version)
    if "bf16" not in engines.precisions("openvino"):
        raise SystemExit("this CPU does not compute in bf16")
    ways = {
        "f32": Segmenter(version, precision="f32", threads=1),
        "f32, as read": changed(version, nothing, "f32"),
        "bf16, as read": changed(version, nothing),
        "bf16, enlarged by products": changed(version, openvino_network.enlarge_by_products),
        "bf16, and the first convolutions in f32": Segmenter(version, precision="bf16", threads=1),
        "so, and the locator in f32: the default": Segmenter(version, threads=1),
    }
    files = {"whole": chosen(options.data, WHOLE), "crops": chosen(options.data, CROPS)}
    print(f"# Networks in f32 and bf16, {time.strftime('%Y-%m-%d')}\n")
    openvino = metadata.version("openvino")
    print(f"{machine.cpu_name()}, OpenVINO {openvino}, version {version.manifest.version}, one thread.\n")
    heads = [f"{len(some)} {kind}: disc, cup, vCDR (most), verdicts" for kind, some in files.items()]
    print(f"| way | locator, ms | segmenter, ms | {' | '.join(heads)} |\n|---|---|---|---|---|")
    took = times(ways)
    compared = {kind: compare(ways, some) for kind, some in files.items()}
    for name in ways:
        cells = [str(compared[kind][name]) for kind in files]
        print(f"| {name} | {took[name, 'locator']:.1f} | {took[name, 'segmenter']:.1f} | {' | '.join(cells)} |")


def nothing(openvino: object, network: object) -> None:
    """A network as it was read."""


def changed(version: Artefact, change: Callable[[object, object], None], precision: str = "bf16") -> Segmenter:
    """With networks to which only `change` was done before they were compiled."""
    openvino = engines.import_openvino()
    core = openvino.Core()

    def compiled(name: str, _: Engine) -> Engine:
        network = core.read_model(version.folder / name)
        change(openvino, network)
        options = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
        return engines._OpenVINOEngine(core, network, options)

    return Segmenter(version, precision="f32", threads=1).sharing(compiled)


def chosen(data: Path, sources: dict[str, int]) -> list[Path]:
    """Files of photographs."""
    found: list[Path] = []
    for source, each in sources.items():
        files = sorted(file for file in (data / source / "images").rglob("*") if file.is_file())
        found += files[::each]
    return found


def times(ways: dict[str, Segmenter]) -> dict[tuple[str, Network], float]:
    """Milliseconds of a call, by way and network: of each way in turn what some photographs take."""
    took: dict[tuple[str, Network], list[float]] = {}
    random = np.random.default_rng(0)
    for _, (name, segmenter), _ in itertools.product(range(ROUNDS), ways.items(), range(CALLS)):
        for network in NETWORKS:
            side = segmenter.input_size(network)
            image = random.normal(size=(1, side, side, 3)).astype(np.float32)
            started = time.perf_counter()
            segmenter.probabilities(network, image)
            took.setdefault((name, network), []).append((time.perf_counter() - started) * 1000)
    return {key: statistics.median(some) for key, some in took.items()}


def compare(ways: dict[str, Segmenter], files: list[Path]) -> dict[str, Compared]:
    """Answers of each way to the same photographs."""
    found = {name: Compared() for name in ways}
    for file in files:
        photograph = images.decode(file.read_bytes())
        answers = {name: segmenter.segment([photograph])[0] for name, segmenter in ways.items()}
        for name, answer in answers.items():
            found[name].add(answers["f32"], answer)
    return found


if __name__ == "__main__":
    main()
