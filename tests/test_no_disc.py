"""What `benchmarks.no_disc` shows a version: pictures in which no disc is, and the ones that they were made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.no_disc import disc_of, other_things, painted_over, pieces
from tests.drawn import write_folder
from training.sources.example import Example
from training.sources.folder import read_source


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list[Example]:
    folder = write_folder(Path(tmp_path_factory.mktemp("no-disc")) / "eyes", 3, seed=8)
    return read_source(folder, "drawn")


def test_no_piece_shows_a_part_of_the_disc(examples: list[Example], tmp_path: Path) -> None:
    found = 0
    for example in examples:
        photograph = example.read_photograph()
        x, y, radius = disc_of(example, photograph)
        disc = np.hypot(*np.ogrid[-y : photograph.shape[0] - y, -x : photograph.shape[1] - x]) <= radius
        marked = photograph.copy()
        marked[disc] = (255, 0, 255)  # a colour that no eye has
        Image.fromarray(marked).save(tmp_path / "marked.png")
        for piece in pieces(replace(example, image=tmp_path / "marked.png")):
            found += 1
            assert not (piece == (255, 0, 255)).all(axis=-1).any()
    assert found


def test_a_painted_over_disc_has_the_colours_around_it(examples: list[Example]) -> None:
    for example in examples:
        before = example.read_photograph()
        x, y, radius = disc_of(example, before)
        after = painted_over(example)
        scale = after.shape[0] / before.shape[0]
        rows, columns = np.mgrid[: after.shape[0], : after.shape[1]]
        away = np.hypot(columns - x * scale, rows - y * scale) / (radius * scale)
        inside, ring = away < 0.7, (away > 1.5) & (away < 2)
        whole = np.hypot(*np.ogrid[-y : before.shape[0] - y, -x : before.shape[1] - x]) / radius
        stood_out = np.abs(before[whole < 0.7].mean(0) - before[(whole > 1.5) & (whole < 2)].mean(0)).max()
        assert np.abs(after[inside].mean(0) - after[ring].mean(0)).max() < 0.4 * stood_out


def test_other_things_are_many_and_large_enough() -> None:
    pictures = list(other_things())
    assert len(pictures) > 100
    assert all(each.ndim == 3 and min(each.shape[:2]) >= 32 for each in pictures)
