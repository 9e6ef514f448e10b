"""Tests of `training.run`, `train`, `checkpoint`, `evaluate` and `publish` on drawn photographs."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model.artefact import Artefact
from model.errors import InvalidConfiguration
from model.local_registry import LocalRegistry
from model.normalisation import Distribution
from model.segmenter import Segmenter
from tests.drawn import draw_fundus, write_folder
from tests.trained import small_preset
from training.batches import batches
from training.calibrate import interval
from training.checkpoint import InvalidCheckpoint
from training.evaluate import evaluate, read_csv, write_csv
from training.finish import Facts
from training.publish import same_networks, stage_version
from training.run import Trained, in_convention, train_run
from training.saved_run import load_run
from training.sources.folder import read_source
from training.split import read_splits, split_source
from training.summary import summarise

QUIET = Console(quiet=True)


def test_the_drawn_version_outlines_eyes_that_it_never_saw(drawn_version: Artefact, tmp_path: Path):
    examples = read_source(write_folder(tmp_path / "new", 8, seed=99), "new")
    (figures,) = summarise(evaluate(Segmenter(drawn_version), examples), "left out")
    assert figures["photographs"] == 8
    assert figures["discs_missed"] == 0
    assert figures["disc_dice"] >= 0.9
    assert figures["cup_dice"] >= 0.6


def test_the_manifest_tells_where_the_version_comes_from(drawn_version: Artefact):
    manifest = drawn_version.manifest
    counts = {row["name"]: (row["trained_on"], row["held_out"]) for row in manifest.sources}
    assert counts == {"whole": (20, 6), "crops": (12, 3), "discs": (6, 0)}
    found = {(row["source"], row["how"]): row["photographs"] for row in manifest.metrics}
    own = "held out, drawn by its own convention"
    assert found == {("whole", "held out"): 6, ("crops", "held out"): 3, ("whole", own): 6, ("crops", own): 3}
    assert manifest.calibration["photographs"] == {"whole, held out": 6, "crops, held out": 3}
    card = (drawn_version.folder / "card.md").read_text()
    assert "not a medical device" in card
    assert "| whole | 20 | 20 | 6 |" in card
    shares = {name: row["share"] for name, row in manifest.training["conventions"].items()}
    assert shares == {"crops": 0, "discs": 0, "whole": 0}  # nothing was asked: it draws by looks
    assert "| whole | 0% |" in card
    assert "A request may ask for another convention" in card


def test_figures_in_the_report_are_those_of_the_photographs(drawn_version: Artefact):
    rows = (drawn_version.folder / "report" / "photographs.csv").read_text().splitlines()
    header = rows[0].split(",")
    dice = [float(row.split(",")[header.index("disc_dice")]) for row in rows[1:] if row.startswith("whole,")]
    metrics = json.loads((drawn_version.folder / "report" / "metrics.json").read_text())
    (whole,) = [row for row in metrics if row["source"] == "whole" and row["how"] == "held out"]
    assert whole["disc_dice"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert {row.split(",")[header.index("how")] for row in rows[1:]} == {"held out"}


def test_results_survive_their_table(drawn_version: Artefact, tmp_path: Path):
    table = drawn_version.folder / "report" / "photographs.csv"
    results = read_csv(table)
    write_csv(results, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == table.read_text()
    (tmp_path / "odd.csv").write_text("source,id\nclinic,1\n")
    with pytest.raises(InvalidConfiguration, match=r"odd\.csv"):
        read_csv(tmp_path / "odd.csv")


def test_a_left_out_source_decides_how_wide_the_interval_is(drawn_version: Artefact):
    held_out = read_csv(drawn_version.folder / "report" / "photographs.csv")
    far = [dataclasses.replace(r, source="elsewhere", vertical=0.2, vertical_truth=0.9) for r in held_out]
    wide = interval(held_out, far)
    assert interval(held_out, []) == drawn_version.manifest.calibration
    assert wide["vertical_half_width"] == pytest.approx(0.7)
    assert wide["widest_source"] == "elsewhere, left out"


def test_a_saved_run_can_be_published_later(drawn_run: tuple[Path, Trained]):
    folder, trained = drawn_run
    again = load_run(folder / "run", folder / "data")
    assert again.distribution == trained.distribution
    for first, second in zip(trained.segmenter.get_weights(), again.segmenter.get_weights(), strict=True):
        assert (first == second).all()


def test_a_run_on_other_photographs_is_refused(drawn_run: tuple[Path, Trained], tmp_path: Path):
    folder, _ = drawn_run
    shutil.copytree(folder / "data", tmp_path / "data")
    (tmp_path / "data" / "crops" / "masks" / "eye000.png").write_bytes(b"another")
    with pytest.raises(InvalidConfiguration, match="crops"):
        load_run(folder / "run", tmp_path / "data")


def test_a_run_can_draw_by_one_convention_alone(drawn_run: tuple[Path, Trained]):
    folder, trained = drawn_run
    once = in_convention(load_run(folder / "run", folder / "data"), "crops")
    direct = in_convention(trained, "crops")
    assert {name: row["share"] for name, row in once.conventions.items()} == {"crops": 1, "discs": 0, "whole": 0}
    assert once.conventions["crops"]["cup_radius"] == 1
    changed = 0
    for one, other, before in zip(
        once.segmenter.get_weights(), direct.segmenter.get_weights(), trained.segmenter.get_weights(), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-6)
        changed += bool((one != before).any())
    assert changed == 3 * 2 + 2 + 1  # biases of the way up, of the bottom and of the logits
    with pytest.raises(InvalidConfiguration, match="whole"):
        in_convention(trained, "nobody")


def test_a_version_draws_what_a_version_of_one_convention_draws(
    drawn_run: tuple[Path, Trained], drawn_version: Artefact, tmp_path: Path
):
    _, trained = drawn_run
    facts = Facts("2026.1.2", "2026-01-01T00:00:00Z", "0.1.0", "train", "a test machine")
    alone, _ = stage_version(in_convention(trained, "crops"), facts, tmp_path, QUIET)
    one, asked = Segmenter(alone, precision="f32"), Segmenter(drawn_version, precision="f32").in_convention("crops")
    assert (one.convention, asked.convention) == ("crops", "crops")
    images = np.random.default_rng(5).normal(size=(2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(
        asked.probabilities("segmenter", images), one.probabilities("segmenter", images), atol=1e-4
    )
    assert {row["how"] for row in alone.manifest.metrics if row["source"] == "crops"} == {"held out"}  # it is its own


def test_a_kept_segmenter_keeps_its_conventions(
    drawn_run: tuple[Path, Trained], drawn_version: Artefact, tmp_path: Path
):
    _, trained = drawn_run
    origin = {"name": "2026.1.1", "digest": drawn_version.digest, "kept": "segmenter"}
    beside_another_locator = dataclasses.replace(trained, conventions={}, shifts={}, origin=origin)
    facts = Facts("2026.1.2", "2026-01-01T00:00:00Z", "0.1.0", "train", "a test machine")
    kept = {"segmenter": drawn_version.segmenter}
    version, _ = stage_version(beside_another_locator, facts, tmp_path, QUIET, kept=kept)
    for name in ("conventions.npz", "segmenter/variables/variables.data-00000-of-00001"):
        assert version.manifest.files[name] == drawn_version.manifest.files[name]
    assert version.manifest.training["conventions"] == drawn_version.manifest.training["conventions"] != {}
    for name in ("disc", "cup"):  # it outlines as before
        assert version.manifest.thresholds[name] == drawn_version.manifest.thresholds[name]
    assert "A request may ask for another convention" in (version.folder / "card.md").read_text()


def test_networks_that_are_those_of_production_are_not_written_anew(
    drawn_run: tuple[Path, Trained], drawn_version: Artefact
):
    _, trained = drawn_run
    both = {"locator": drawn_version.locator, "segmenter": drawn_version.segmenter}
    assert same_networks(trained, [drawn_version]) == both
    assert same_networks(trained, []) == {}
    changed = in_convention(trained, "crops")
    assert same_networks(changed, [drawn_version]) == {"locator": drawn_version.locator}


@pytest.fixture(scope="module")
def data(drawn_run: tuple[Path, Trained]) -> Path:
    """The drawn sources. Not to be changed."""
    return drawn_run[0] / "data"


def weights_after(folder: Path, data: Path, steps: int = 6) -> list[np.ndarray]:
    """Of networks of one level, which TensorFlow traces in seconds; a checkpoint after every second step."""
    folder.mkdir(exist_ok=True)
    preset = small_preset(folder, steps, epoch=2)
    locator, segmenter = (
        dataclasses.replace(part, network=dataclasses.replace(part.network, depth=1, start_channels=4))
        for part in (preset.locator, preset.segmenter)
    )
    preset = dataclasses.replace(preset, locator=locator, segmenter=segmenter)
    trained = train_run(preset, data, folder / "run", QUIET)
    return [*trained.locator.get_weights(), *trained.segmenter.get_weights()]


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """The folder of a run that nothing disturbed, and its weights. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, weights_after(folder, data)


def test_the_same_seed_gives_the_same_network(unbroken: tuple[Path, list[np.ndarray]], data: Path, tmp_path: Path):
    for one, other in zip(unbroken[1], weights_after(tmp_path / "again", data), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_run_that_was_killed_ends_as_an_unbroken_one(
    unbroken: tuple[Path, list[np.ndarray]], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    served = 0

    def dying(*arguments: object) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal served
        for batch in batches(*arguments):
            served += 1
            if served == 6:  # the locator is at step 5 of 6; its last checkpoint is at 4
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr("training.train.batches", dying)
        with pytest.raises(KeyboardInterrupt):
            weights_after(tmp_path / "killed", data)
    resumed = weights_after(tmp_path / "killed", data)
    for one, other in zip(unbroken[1], resumed, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_checkpoint_of_another_configuration_is_refused(
    unbroken: tuple[Path, list[np.ndarray]], data: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(unbroken[0], tmp_path / "copy"))
    with pytest.raises(InvalidCheckpoint, match="another configuration"):
        weights_after(folder, data, steps=7)


def test_a_damaged_checkpoint_is_refused_by_name(unbroken: tuple[Path, list[np.ndarray]], data: Path, tmp_path: Path):
    folder = Path(shutil.copytree(unbroken[0], tmp_path / "copy"))
    (folder / "run" / "locator.checkpoint.npz").write_bytes(b"half of it")
    with pytest.raises(InvalidCheckpoint, match=r"locator\.checkpoint\.npz"):
        weights_after(folder, data)


def test_batch_number_n_does_not_depend_on_where_a_run_starts(data: Path, tmp_path: Path):
    from training.views import cut_views

    preset = small_preset(tmp_path, 5)
    views = cut_views(read_splits(preset, data)["crops"].training[:4], "roi")
    distribution = Distribution((140, 75, 40), (40, 30, 20), (0.0,) * 6, ((0.0,) * 6,) * 6, 1.0)
    options = (views, preset.segmenter, {"crops": 1.0}, 2.0, distribution, [1, 1])
    whole = list(batches(*options, 0))
    later = list(batches(*options, 3))
    assert len(whole) == 5
    for (images, targets), (images_again, targets_again) in zip(whole[3:], later, strict=True):
        assert (images == images_again).all()
        assert (targets == targets_again).all()
    assert (next(islice(batches(*options, 0), 1))[0] != whole[1][0]).any()


def test_sources_are_drawn_by_weight_not_by_size(data: Path, tmp_path: Path):
    from training.batches import choose_views
    from training.views import cut_views

    splits = read_splits(small_preset(tmp_path, 1), data)
    views = cut_views([*splits["whole"].training[:8], *splits["crops"].training[:2]], "roi")
    chosen = choose_views(views, {"whole": 1.0, "crops": 1.0}, 4000, np.random.default_rng(1))
    assert np.mean([views[i].example.source == "crops" for i in chosen]) == pytest.approx(0.5, abs=0.03)


def test_held_out_photographs_are_fixed_by_their_ids(data: Path, tmp_path: Path):
    preset = small_preset(tmp_path, 1)
    examples = read_source(data / "whole", "whole")
    source = preset.sources[0]
    split = split_source(examples, source, preset)
    shuffled = split_source(examples[::-1], source, preset)
    assert {e.id for e in split.held_out} == {e.id for e in shuffled.held_out}
    assert len(split.held_out) == 6
    assert not {e.id for e in split.held_out} & {e.id for e in split.training}


def test_a_person_is_held_out_with_all_photographs_or_not_at_all(tmp_path: Path):
    folder = write_folder(tmp_path / "clinic", 12, seed=5)
    index = folder / "index.csv"
    head, *rows = index.read_text(encoding="utf-8").splitlines()
    people = [f"{row},p{number // 2}" for number, row in enumerate(rows)]  # two photographs of each
    index.write_text("\n".join([f"{head},person", *people]) + "\n", encoding="utf-8")
    preset = small_preset(tmp_path, 1)
    examples = read_source(folder, "clinic")
    source = dataclasses.replace(preset.sources[0], name="clinic", held_out=5)
    split = split_source(examples, source, preset)
    assert len(split.held_out) == 6  # three persons
    assert not {each.person for each in split.held_out} & {each.person for each in split.training}
    with pytest.raises(InvalidConfiguration, match="held_out=11: of 12 photographs"):  # it takes the last person too
        split_source(examples, dataclasses.replace(source, held_out=11), preset)


def test_a_source_without_cups_trains_and_counts_no_cup(drawn_version: Artefact, tmp_path: Path):
    examples = read_source(write_folder(tmp_path / "discs", 2, seed=5, cups=False), "discs")
    (figures,) = summarise(evaluate(Segmenter(drawn_version), examples), "left out")
    assert "cup_dice" not in figures
    assert figures["disc_dice"] > 0.9


def test_publishing_twice_is_refused_and_harms_nothing(drawn_run, drawn_version: Artefact):
    from model.errors import VersionExists

    folder, _ = drawn_run
    registry = LocalRegistry(folder / "registry")
    with pytest.raises(VersionExists):
        registry.publish(drawn_version.folder)
    assert registry.open("production").digest == drawn_version.digest


def test_drawn_photographs_are_what_they_claim():
    image, labels = draw_fundus(np.random.default_rng(1))
    assert image.shape == (*labels.shape, 3)
    assert set(np.unique(labels)) == {0, 1, 2}
