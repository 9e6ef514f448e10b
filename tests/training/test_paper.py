"""Tests of `training.paper`, `paper_pixels`, `paper_report` and `cupdisc-train paper`."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.model_selection import train_test_split

from model.errors import InvalidConfiguration
from tests.drawn import draw_fundus
from training import cli
from training.accelerator import choose
from training.checkpoint import InvalidCheckpoint
from training.paper import Material, Paper, batch, gather, read_paper, repeat_paper, split
from training.paper_pixels import brighten, cut, enlarge, equalise, vary
from training.paper_report import as_markdown
from training.sources.folder import read_source
from training.synthetic import write_example, write_index

TINY = """
[paper]
network = "4/2/1.5"
outputs = ["cup"]
input_size = 32
batch_size = 4
epochs = 1
steps_per_epoch = 2
plain_copies = 2

[[paper.sources]]
name = "few"
repeats = 3
[[paper.sources]]
name = "many"
ids = "eye[0-7]"

[[paper.networks]]
start_channels = 4
depth = 2
channel_growth = 1.5

[[paper.known]]
output = "cup"
source = "few"
photographs = 13
dice = 0.5
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of small photographs, 4 and 10 of them. Not to be changed."""
    folder = tmp_path_factory.mktemp("paper")
    for name, count in (("few", 4), ("many", 10)):
        for number in range(count):
            random = np.random.default_rng([count, number])
            write_example(folder / name, f"eye{number}", *draw_fundus(random, 120, 150, 0.4))
        write_index(folder / name, [[f"eye{number}", 1, 1, "full"] for number in range(count)])
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Paper:
    (tmp_path / "tiny.toml").write_text(TINY)
    return read_paper(str(tmp_path / "tiny.toml"))


def test_the_bundled_set_up_is_the_papers():
    paper = read_paper()
    assert [network.name for network in paper.networks] == ["64/6/1.1", "72/6/1.2", "64/5/1.6"]
    assert (paper.network, paper.input_size, paper.outputs) == ("64/6/1.1", 128, ("cup", "disc"))
    assert (paper.learning_rate, paper.batch_size, paper.epochs, paper.steps_per_epoch) == (7.5e-4, 120, 15, 150)
    assert (paper.clip_limit, paper.test_share, paper.seed) == (0.035, 0.25, 42)
    per_photograph = paper.plain_copies + len(paper.enlarged_clip_limits) + len(paper.enlarged_brightness)
    assert per_photograph == 20
    assert paper.unet("cup").channels == (64, 70, 77, 84, 92, 101, 111)
    assert paper.unet("cup").outputs == ("cup",)
    assert paper.unet("disc").normalisation == "batch"


def test_mistakes_are_told_at_once_with_their_lines(tmp_path: Path):
    (tmp_path / "a.toml").write_text(TINY.replace("batch_size = 4", "batch_size = 0\nbatch = 4").replace("[0-7]", "["))
    with pytest.raises(InvalidConfiguration) as caught:
        read_paper(str(tmp_path / "a.toml"))
    for text in (":6: paper.batch_size", ":7: paper.batch: unknown key", ":17: paper.sources[1].ids"):
        assert text in str(caught.value)
    (tmp_path / "b.toml").write_text(TINY.replace("4/2/1.5", "64/2/1.5"))
    with pytest.raises(InvalidConfiguration, match=r"b\.toml:3: .*4/2/1\.5"):
        read_paper(str(tmp_path / "b.toml"))


def test_the_cup_is_looked_for_in_the_discs_box_and_the_disc_in_the_middle(data: Path):
    example = read_source(data / "few", "few")[0]
    labels = example.read_labels((120, 150))
    rows, columns = np.nonzero(labels)
    _, cup = cut(example, "cup", 96, 0.8)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert cup.mean() == pytest.approx((labels == 2).sum() / (height * width), abs=0.02)
    image, disc = cut(example, "disc", 96, 0.8)
    assert image.shape == (96, 96, 3)
    assert disc.sum() == pytest.approx((labels[12:108, 15:135] > 0).sum() * 96 / 120, rel=0.03)


def test_equalising_spreads_brightness_and_keeps_the_range():
    image = np.random.default_rng(1).integers(90, 110, (64, 64, 3), dtype=np.uint8)
    equal = equalise(image, 0.035)
    assert equal.dtype == np.float32
    assert 0 <= equal.min() <= equal.max() <= 1
    assert equal.std() > 2 * (image / 255).std()


def test_brightness_scales_every_channel_alike():
    image = np.array([[[0.2, 0.4, 0.5], [0.9, 0.95, 1.0]]], np.float32)
    assert brighten(image, 0.9) == pytest.approx(image * 0.9, abs=1e-3)
    assert brighten(image, 1.1)[0, 0] == pytest.approx(image[0, 0] * 1.1, abs=1e-3)
    assert brighten(image, 1.1).max() <= 1


def test_enlarging_gives_the_image_itself_and_one_for_each_limit_and_brightness():
    image = equalise(np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8), 0.035)
    images = enlarge(image, (0.02, 0.04), (0.9, 1.1))
    assert len(images) == 5
    assert (images[0] == image).all()
    assert len({each.tobytes() for each in images}) == 5


def test_image_and_mask_move_together_and_black_comes_in():
    mask = np.zeros((64, 64), np.float32)
    mask[10:30, 20:50] = 1
    image = np.repeat(mask[..., None], 3, axis=-1)
    shares = []
    for seed in range(20):
        moved, moved_mask = vary(image, mask, 30, 0.1, 0.2, np.random.default_rng(seed))
        assert moved[..., 0] == pytest.approx(moved_mask, abs=1e-6)
        shares.append(moved_mask.sum() / mask.sum())
    assert 0.5 < min(shares) < 0.95
    assert 1.05 < max(shares) < 1 / 0.8**2 + 0.05
    same_image, same_mask = vary(image, mask, 0, 0, 0, np.random.default_rng(3))
    mirrors = [mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]]
    assert any(np.abs(same_mask - mirror).max() < 1e-5 for mirror in mirrors)
    assert same_image.shape == image.shape


def test_a_quarter_is_drawn_for_the_test_and_never_trains(data: Path, tiny: Paper):
    parts, generator = split(tiny, data), np.random.RandomState(42)
    assert {name: (len(training), len(test)) for name, (training, test) in parts.items()} == {
        "few": (3, 1),
        "many": (6, 2),
    }
    for training, test in parts.values():
        assert not {each.id for each in training} & {each.id for each in test}
    assert {each.id for each in split(tiny, data)["many"][1]} == {each.id for each in parts["many"][1]}
    assert all(each.id <= "eye7" for part in parts["many"] for each in part)
    too_few = dataclasses.replace(tiny, sources=(dataclasses.replace(tiny.sources[1], ids="eye[01]"),))
    with pytest.raises(InvalidConfiguration, match="2 photographs"):
        split(too_few, data)
    for name, ids in (("few", range(4)), ("many", range(8))):  # the original's way to draw, one source after the other
        names = [f"eye{number}" for number in ids]
        draw = train_test_split(names, test_size=0.25, random_state=generator)
        assert [[each.id for each in part] for part in parts[name]] == draw
    fewer = split(dataclasses.replace(tiny, photographs=5), data)
    assert sum(len(part) for part in fewer["many"]) == 5


@pytest.fixture(scope="module")
def material(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Material:
    path = tmp_path_factory.mktemp("material") / "tiny.toml"
    path.write_text(TINY)
    paper = read_paper(str(path))
    return gather(paper, "cup", split(paper, data))


def test_each_photograph_counts_as_often_as_it_is_enlarged_and_repeated(material: Material):
    assert len(material.images) == 5 * (3 + 6)
    rows = np.bincount(material.rows)
    assert rows[:5].tolist() == [6, 3, 3, 3, 3]  # of a source that is repeated three times, two plain copies
    assert rows[15:20].tolist() == [2, 1, 1, 1, 1]
    assert {name: len(ids) for name, (ids, _, _) in material.tests.items()} == {"few": 1, "many": 2}
    assert 0 <= material.images.min() <= material.images.max() <= 1
    assert set(np.unique(material.masks)) == {0, 1}


def test_a_batch_depends_on_its_number_alone_and_every_row_comes_once_in_a_turn(material: Material, tiny: Paper):
    images, masks = batch(tiny, material, 3)
    assert (images.shape, masks.shape) == ((4, 32, 32, 3), (4, 32, 32, 1))
    again = batch(tiny, material, 3)
    assert (images == again[0]).all()
    assert (masks == again[1]).all()
    still = dataclasses.replace(tiny, rotation_deg=0.0, shift=0.0, zoom=0.0, batch_size=len(material.rows))
    (turn, _), (next_turn, _) = batch(still, material, 0), batch(still, material, 1)
    expected = np.sort(material.images[material.rows].sum(axis=(1, 2, 3)))
    for some in (turn, next_turn):
        assert np.sort(some.sum(axis=(1, 2, 3))) == pytest.approx(expected, rel=1e-4)
    assert (turn != next_turn).any()


def test_the_command_repeats_a_small_experiment_and_reports_it(
    data: Path, tiny: Paper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    out = tmp_path / "out"
    arguments = ["paper", "--out", str(out), "--preset", str(tmp_path / "tiny.toml"), "--data", str(data)]
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *arguments, "--steps", "1", "--network", "3/2/1.5"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    report = (out / "paper.md").read_text()
    assert "| cup | few | 3 | 1 |" in report
    assert "0.5 (13)" in report
    assert "`steps_per_epoch` is 1; originally 150." in report
    assert "`network` is 3/2/1.5; originally 64/6/1.1." in report
    assert "`sources` is few (folder, ids .*, repeats 3), many (folder, ids eye[0-7], repeats 1); originally" in report
    assert "3160 rows" in report
    rows = (out / "photographs.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    facts = json.loads((out / "paper.json").read_text())
    assert facts["counts"] == {"few": [3, 1], "many": [6, 2]}
    assert (out / "cup.keras").is_file()
    assert "paper.md" in capsys.readouterr().out
    changed = dataclasses.replace(tiny, batch_size=2, steps_per_epoch=1).with_network("3/2/1.5")
    with pytest.raises(InvalidCheckpoint, match="batch_size"):
        repeat_paper(changed, data, out, choose("cpu"), Console(quiet=True))


@pytest.mark.parametrize("network", ["64", "64/6", "a/6/1.1", "64/6/1.1/2", "64/99/1.1", "0/2/1.5"])
def test_no_network_is_refused_by_its_name(tiny: Paper, network: str):
    with pytest.raises(InvalidConfiguration, match=f"network='{network}'"):
        tiny.with_network(network)


def test_a_figure_is_the_mean_of_its_photographs(tiny: Paper):
    from training.paper import Judged, Repeated

    judged = [Judged("cup", source, "a", 0.4 + i / 10, 0.95) for i, source in enumerate(("few", "few", "many"))]
    repeated = Repeated(tiny, judged, {"few": (3, 2), "many": (6, 1)}, {"cup": 60.0}, "a test machine")
    text = as_markdown(repeated, tiny, "cupdisc-train paper")
    assert "| cup | few | 3 | 2 | 0.450 (0.400–0.500) | 100% | 0.5 (13) | 1.0 min |" in text
    assert "originally" not in text.split("## What differs")[1].splitlines()[2].split("RIM-ONE")[0]
