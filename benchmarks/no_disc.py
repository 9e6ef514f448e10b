"""Pictures that show no optic disc: how many does a version call gradable? Markdown.

    python -m benchmarks.no_disc [--version 2026.11.8] [--registry bundled] [--data DIR]

Photographs of other things are the samples that scikit-image and scikit-learn bring along, and windows of them. Pieces
of fundus photographs are cut so that the disc is not in them; a painted-over disc is filled from what lies around it.
The photographs that these were made of are read as they are too: a version that refuses everything is of no use.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks import of_a_version
from model.biomarkers import measure
from model.registry import open_registry
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from training.preset_files import read_preset
from training.sources.example import Example, labels_of
from training.split import read_splits

RESULTS = Path(__file__).parent / "results"
SOURCES = ("drishti-gs1", "idrid", "refuge-full")  # whole views with an annotated disc
SAMPLES = (("skimage", "data"), ("sklearn", "datasets/images"))
NOT_OTHER = ("retina.jpg", "microaneurysms.png")  # of these samples: fundus photographs
WINDOWS = 6  # of a picture of other things
PIECES = 3  # of a fundus photograph
TRIES = 200
SMALLEST = 64  # pixels
LIT = 20  # grey level
AT_A_TIME = 8


def main() -> None:
    """Measure and write."""
    options = of_a_version.options(__doc__)
    segmenter = Segmenter(open_registry(options.registry).open(options.version))
    splits = read_splits(read_preset("bundled"), options.data)
    examples = [each for name in SOURCES for each in (*splits[name].training, *splits[name].held_out)]
    groups = {
        "photographs of other things, and windows of them": other_things(),
        "pieces of fundus photographs without their disc": (each for example in examples for each in pieces(example)),
        "fundus photographs, the disc painted over": (painted_over(example) for example in examples),
        "the same fundus photographs as they are": (example.read_photograph() for example in examples),
    }
    rows = []
    for name, pictures in groups.items():
        rows.append(row(name, answers(segmenter, pictures)))
        print(rows[-1], flush=True)
    target = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-no-disc.md"
    target.write_text(report(segmenter, rows), encoding="utf-8")
    print(target)


def other_things() -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 each."""
    random = np.random.default_rng(1)
    for package, folder in SAMPLES:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise SystemExit(f"{package} is not installed: make install")
        for path in sorted((Path(found.origin).parent / folder).iterdir()):
            if path.suffix not in (".png", ".jpg") or path.name in NOT_OTHER:
                continue
            picture = np.asarray(Image.open(path).convert("RGB"))
            yield picture
            shorter = min(picture.shape[:2])
            for side in (shorter * random.uniform(0.25, 0.9, WINDOWS)).astype(int):
                if side >= SMALLEST:
                    yield window(picture, int(side), random)


def window(picture: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A square of it, anywhere."""
    top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def pieces(example: Example) -> Iterator[np.ndarray]:
    """Squares of a quarter to seven tenths of the height, mostly lit, a fifth of a radius or more from the disc."""
    photograph = example.read_photograph()
    x, y, radius = disc_of(example, photograph)
    near = 1.2 * radius
    random = np.random.default_rng(round(x))
    found = 0
    for _ in range(TRIES):
        side = int(random.uniform(0.25, 0.7) * min(photograph.shape[:2]))
        top, left = (int(random.integers(0, length - side + 1)) for length in photograph.shape[:2])
        if top - near < y < top + side + near and left - near < x < left + side + near:
            continue
        piece = photograph[top : top + side, left : left + side]
        if (piece.max(axis=-1) > LIT).mean() < 0.8:
            continue
        yield piece
        found += 1
        if found == PIECES:
            return


def painted_over(example: Example) -> np.ndarray:
    """The photograph, at most 1000 pixels high, with its disc and a third of a radius around filled."""
    photograph = example.read_photograph()
    x, y, radius = disc_of(example, photograph)
    scale = min(1.0, 1000 / photograph.shape[0])
    small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = np.zeros(small.shape[:2], np.uint8)
    cv2.circle(mask, (round(x * scale), round(y * scale)), round(1.35 * radius * scale), 255, cv2.FILLED)
    return np.asarray(cv2.inpaint(small, mask, 5, cv2.INPAINT_TELEA))


def disc_of(example: Example, photograph: np.ndarray) -> tuple[float, float, float]:
    """Centre and radius of a circle of its area, pixels."""
    disc = measure(labels_of(example.read_shares(photograph.shape[:2]))).disc
    assert disc is not None
    return disc.centre.x, disc.centre.y, float(np.sqrt(disc.area / np.pi))


def answers(segmenter: Segmenter, pictures: Iterator[np.ndarray]) -> list[Segmentation]:
    """Of all of them, a few at a time."""
    found: list[Segmentation] = []
    waiting: list[np.ndarray] = []
    for picture in pictures:
        waiting.append(np.ascontiguousarray(picture))
        if len(waiting) == AT_A_TIME:
            found += segmenter.segment(waiting)
            waiting = []
    return found + segmenter.segment(waiting)


def row(name: str, found: Sequence[Segmentation]) -> str:
    """What became of one group."""
    gradable = sum(each.gradable for each in found)
    reasons = Counter(reason for each in found for reason in each.reasons)
    said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"| {name} | {len(found)} | {gradable} | {said} |"


HEAD = "| what | pictures | called gradable | reasons |\n|---|---|---|---|"


def report(segmenter: Segmenter, rows: Sequence[str]) -> str:
    """Markdown."""
    head = f"# Pictures without a disc, {datetime.now(UTC):%Y-%m-%d}"
    about = (
        f"Version {segmenter.version}, {segmenter.engine}, {segmenter.precision}. It was trained on most of the fundus "
        f"photographs (Drishti-GS1, IDRiD, two of REFUGE), not on pictures of other things than drawn ones."
    )
    return "\n".join([head, "", about, "", HEAD, *rows, ""])


if __name__ == "__main__":
    main()
