"""The bundled version on real photographs, the way of a user: whole files in, disc, cup and ratio out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from model import engines
from model.artefact import Artefact
from model.images import decode
from model.masks import Label
from model.registry import BUNDLED, open_registry
from model.segmenter import Segmenter
from tests import example_by_hand
from tests.photographs import EXAMPLE, REPOSITORY, shared_data
from training.config import preset_from_dict
from training.evaluate import evaluate
from training.sources.example import Example
from training.split import read_splits
from training.summary import summarise

PER_SOURCE = 12  # held-out photographs; `cupdisc-train evaluate` runs all of them


@pytest.fixture(scope="module")
def bundled() -> Artefact:
    return open_registry("bundled").open("production")


@pytest.fixture(scope="module")
def segmenter(bundled: Artefact) -> Segmenter:
    return Segmenter(bundled)


@pytest.fixture(scope="module")
def held_out(bundled: Artefact) -> list[Example]:
    """Photographs that the bundled version has never seen: of every source, the first few of its held-out part."""
    splits = read_splits(preset_from_dict(bundled.manifest.training["preset"]), shared_data())
    return [example for split in splits.values() for example in split.held_out[:PER_SOURCE]]


def test_the_example_agrees_with_what_was_measured_by_hand(segmenter: Segmenter):
    (answer,) = segmenter.segment([decode(EXAMPLE.read_bytes()).pixels])
    assert answer.gradable
    by_hand = example_by_hand.VERTICAL_RATIO
    assert answer.ratios.vertical == pytest.approx(by_hand, abs=0.1)  # two experts differ by 0.03 to 0.08, on average
    assert answer.vertical_interval.low < by_hand < answer.vertical_interval.high
    top, bottom = example_by_hand.DISC_ROWS
    # REFUGE's experts, whose convention the version draws, draw discs some per cent wider than others do
    assert answer.disc.box.top == pytest.approx(top, abs=17)
    assert answer.disc.box.top + answer.disc.box.height - 1 == pytest.approx(bottom, abs=17)


def test_held_out_photographs_of_every_source_are_outlined(segmenter: Segmenter, held_out: list[Example]):
    figures = summarise(evaluate(segmenter, held_out), "held out")
    assert {row["source"] for row in figures} >= {"rim-one-dl", "drishti-gs1", "refuge-crops"}
    assert sum(row["discs_missed"] for row in figures) == 0
    count = sum(row["photographs"] for row in figures)
    assert sum(row["disc_dice"] * row["photographs"] for row in figures) / count >= 0.94
    assert sum(row["cup_dice"] * row["photographs"] for row in figures) / count >= 0.77


def test_no_disc_that_a_person_can_see_is_missed(bundled: Artefact, segmenter: Segmenter):
    """Of whole photographs, those that it was trained on too: Drishti-GS1, IDRiD, REFUGE, HRF and DRIVE.

    A person sees the disc on each of them (`training/ellipses/disc_not_visible.csv`).
    """
    splits = read_splits(preset_from_dict(bundled.manifest.training["preset"]), shared_data())
    whole = [e for split in splits.values() for e in (*split.training, *split.held_out) if e.view == "full"]
    assert {example.source for example in whole} == {"drishti-gs1", "idrid", "refuge-full", "hrf-drive", "refuge-test"}
    results = evaluate(segmenter, whole)
    assert [f"{r.source}/{r.id}" for r in results if r.missed or "disc_not_found" in r.reasons] == []


def test_figures_of_the_manifest_come_out_again(segmenter: Segmenter, bundled: Artefact, held_out: list[Example]):
    """The bundled version is the one that its own table describes."""
    recorded = (bundled.folder / "report" / "photographs.csv").read_text().splitlines()
    header = recorded[0].split(",")
    rows = {tuple(row.split(",")[:2]): row.split(",") for row in recorded[1:]}
    for result in evaluate(segmenter, held_out[::6]):
        row = dict(zip(header, rows[result.source, result.id], strict=True))
        assert result.disc_dice == pytest.approx(float(row["disc_dice"]), abs=0.01)
        assert result.cup_dice == pytest.approx(float(row["cup_dice"]), abs=0.03)


def test_the_file_name_of_every_citation_stands_in_the_card(bundled: Artefact):
    card = (bundled.folder / "card.md").read_text()
    for words in ("10.5566/ias.2346", "Sivaswamy", "1910.03667", "Porwal", "research and education"):
        assert words in card
    readme = (REPOSITORY / "README.md").read_text()
    for words in ("10.5566/ias.2346", "Sivaswamy", "1910.03667", "Porwal", "research and education"):
        assert words in readme


def test_the_bundled_version_is_small_enough():
    size = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file())
    assert size <= 16 * 2**20


def test_no_photograph_but_the_free_one_is_in_the_repository():
    suffixes = {".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
    skip = {".venv", ".venv-bulk", ".clients", "runs", ".git"}
    found = [
        path
        for path in REPOSITORY.rglob("*")
        if path.suffix.lower() in suffixes and not skip & set(path.relative_to(REPOSITORY).parts)
    ]
    assert found == [EXAMPLE]


@pytest.fixture(scope="module")
def regions(held_out: list[Example]) -> list[np.ndarray]:
    return [example.read_photograph() for example in held_out[::3]]


def test_both_engines_give_the_same_probabilities(bundled: Artefact, segmenter: Segmenter):
    images = np.random.default_rng(1).normal(0, 1, (3, *[bundled.manifest.segmenter.input_size] * 2, 3))
    fast = engines.load(bundled.segmenter, "openvino", "f32")(images.astype(np.float32))
    reference = engines.load(bundled.segmenter, "tensorflow")(images.astype(np.float32))
    assert fast == pytest.approx(reference, abs=1e-4)


def test_both_engines_draw_the_same_masks_of_real_photographs(bundled: Artefact, regions: list[np.ndarray]):
    fast = Segmenter(bundled, "openvino", "f32").segment(regions)
    reference = Segmenter(bundled, "tensorflow").segment(regions)
    for one, other in zip(fast, reference, strict=True):
        assert (one.drawn != other.drawn).mean() < 1e-4
        assert one.drawn_ratios.vertical == pytest.approx(other.drawn_ratios.vertical, abs=0.01)


@pytest.mark.skipif(engines.precisions("openvino")[-1] == "f32", reason="this CPU computes in f32 alone")
def test_the_quickest_precision_changes_the_ratio_by_less_than_its_own_noise(
    bundled: Artefact, regions: list[np.ndarray]
):
    quick, exact = (Segmenter(bundled, "openvino", precision).segment(regions) for precision in ("auto", "f32"))
    ratios = [(q.drawn_ratios.vertical, e.drawn_ratios.vertical) for q, e in zip(quick, exact, strict=True)]
    differences = np.diff(ratios, axis=1)
    assert np.abs(differences).mean() <= 0.005


def test_a_disc_is_found_by_its_place_not_by_chance(segmenter: Segmenter, held_out: list[Example]):
    """Mirrored, the same eye has the mirrored answer."""
    for example in held_out[:: PER_SOURCE // 2]:
        photograph = example.read_photograph()
        plain, mirrored = segmenter.segment([photograph, np.ascontiguousarray(photograph[:, ::-1])])
        disc, back = plain.drawn >= Label.RIM, mirrored.drawn[:, ::-1] >= Label.RIM
        assert 2 * (disc & back).sum() / (disc.sum() + back.sum()) > 0.93


def test_a_photograph_that_lost_its_disc_is_not_gradable(segmenter: Segmenter):
    """The example with its disc painted over by retina from elsewhere in the same photograph."""
    photograph = decode(EXAMPLE.read_bytes()).pixels.copy()
    top, left, height, width = 480, 60, 350, 330
    photograph[top : top + height, left : left + width] = photograph[900 : 900 + height, 600 : 600 + width]
    (answer,) = segmenter.segment([photograph])
    assert not answer.gradable
    assert answer.ratios is None


def test_the_preset_of_the_bundled_version_is_the_one_in_the_repository(bundled: Artefact):
    from training.preset_files import read_preset

    recorded = preset_from_dict(bundled.manifest.training["preset"])
    assert dataclasses.replace(recorded, name="bundled") == read_preset("bundled")


def test_registry_and_aliases_of_the_package_are_whole():
    registry = open_registry("bundled")
    assert registry.aliases()["production"] in registry.versions()
    for version in registry.versions():
        assert Path(registry.open(version).folder).is_dir()
