"""Tests of `training.sources`: every public layout, on drawn data sets and on the few real files that are at hand."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from model.biomarkers import vertical_cup_to_disc_ratio
from tests.layouts import SIZE, WRITERS, draw
from tests.photographs import shared_data
from training.metrics import dice
from training.sources.example import InvalidSource, digest
from training.sources.layouts import LAYOUTS, read_layout, wrong_choices

WITHOUT_CUPS = ("drions-db", "idrid")
WITH_PARTS = {"rim-one-dl": (2, 1), "drishti-gs1": (1, 1), "refuge": (2, 1), "idrid": (1, 1)}


def test_every_public_layout_is_drawn_here():
    assert {"folder", *WRITERS} == set(LAYOUTS)


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_read_as_it_was_drawn(layout, tmp_path):
    ids = WRITERS[layout](tmp_path)
    examples = {example.id: example for example in read_layout(layout, tmp_path, "clinic", {})}
    assert sorted(ids) == list(examples)
    for seed, identity in enumerate(ids):
        example = examples[identity]
        photograph, labels = draw(seed)
        read = example.read_photograph()
        assert read.shape == photograph.shape
        assert np.abs(read.astype(int) - photograph).mean() < 8  # the right photograph, through JPEG
        answer = example.read_labels(SIZE)
        assert dice(answer > 0, labels > 0) > (0.97 if layout in ("drions-db", "papila") else 0.9999)
        with_cup = layout not in WITHOUT_CUPS and (layout, seed) != ("g1020", 1)
        assert example.cup_annotated == with_cup
        assert dice(answer == 2, labels == 2) > 0.95 if with_cup else answer.max() == 1


@pytest.mark.parametrize("layout", WRITERS)
def test_missing_and_odd_files_are_all_named_at_once(layout, tmp_path):
    WRITERS[layout](tmp_path)
    examples = read_layout(layout, tmp_path, "clinic", {})
    for example in examples:
        example.annotation.files[-1].unlink()
    odd = examples[0].image.with_name("Copy of it.png")
    shutil.copy(examples[0].image, odd)
    (examples[0].image.parent / "Thumbs.db").write_bytes(b"Windows leaves these")
    (examples[0].image.parent / "._hidden.png").write_bytes(b"and macOS those")
    with pytest.raises(InvalidSource) as caught:
        read_layout(layout, tmp_path, "clinic", {})
    named = str(caught.value)
    assert all(example.annotation.files[-1].name in named for example in examples)
    assert str(odd) in named
    assert len(named.splitlines()) == len(examples) + 1


def test_an_id_that_stands_twice_is_named_with_both_places(tmp_path):
    WRITERS["rim-one-dl"](tmp_path)
    first = next(tmp_path.rglob("r1_Im001.png"))
    second = first.parents[2] / "test_set" / "normal" / "r1_Im001.png"
    shutil.copy(first, second)
    with pytest.raises(InvalidSource) as caught:
        read_layout("rim-one-dl", tmp_path, "clinic", {})
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_without_the_data_set_is_refused_with_what_was_expected(layout, tmp_path):
    with pytest.raises(InvalidSource, match=str(tmp_path)):
        read_layout(layout, tmp_path, "clinic", {})


@pytest.mark.parametrize("layout", WITH_PARTS)
def test_one_part_can_be_chosen(layout, tmp_path):
    WRITERS[layout](tmp_path)
    training, test = (read_layout(layout, tmp_path, "clinic", {"part": part}) for part in ("training", "test"))
    assert (len(training), len(test)) == WITH_PARTS[layout]
    assert not {example.id for example in training} & {example.id for example in test}


def test_a_part_that_was_not_downloaded_is_left_out_unless_it_is_asked_for(tmp_path):
    WRITERS["drishti-gs1"](tmp_path)
    shutil.rmtree(tmp_path / "Test")
    assert len(read_layout("drishti-gs1", tmp_path, "clinic", {})) == 1
    with pytest.raises(InvalidSource, match="Test"):
        read_layout("drishti-gs1", tmp_path, "clinic", {"part": "test"})


def test_the_more_experts_must_agree_the_smaller_the_disc(tmp_path):
    WRITERS["drishti-gs1"](tmp_path)
    areas = [
        (read_layout("drishti-gs1", tmp_path, "clinic", {"experts": experts})[0].read_labels(SIZE) > 0).sum()
        for experts in ("2", "3", "4")
    ]
    assert areas[0] > areas[1] > areas[2] > 0


def test_a_soft_label_trains_with_the_share_of_experts(tmp_path):
    WRITERS["drishti-gs1"](tmp_path)
    (soft, _), (two, _) = (
        read_layout("drishti-gs1", tmp_path, "clinic", {"experts": experts}) for experts in ("soft", "2")
    )
    disc, cup = soft.read_shares(SIZE)
    assert set(np.unique(disc)) == {0, 64, 128, 191, 255}
    assert (cup <= disc).all()
    assert (soft.read_labels(SIZE) == two.read_labels(SIZE)).all()


def test_a_soft_label_reaches_the_views_that_train(tmp_path):
    from training.views import cut_view

    WRITERS["drishti-gs1"](tmp_path)
    soft, hard = (
        cut_view(read_layout("drishti-gs1", tmp_path, "clinic", {"experts": experts})[0], "roi")
        for experts in ("soft", "2")
    )
    between = [((view.disc > 40) & (view.disc < 220)).mean() for view in (soft, hard)]
    assert between[0] > 2 * between[1]


def test_experts_of_one_photograph_differ_and_so_does_the_digest(tmp_path):
    WRITERS["rim-one-r3"](tmp_path)
    choices = [read_layout("rim-one-r3", tmp_path, "clinic", {"expert": expert}) for expert in ("average", "1", "2")]
    average, first, second = ((examples[0].read_labels(SIZE) > 0).sum() for examples in choices)
    assert average == first < second
    assert digest(choices[1]) != digest(choices[2])


def test_soft_and_thresholded_maps_have_different_digests(tmp_path):
    WRITERS["drishti-gs1"](tmp_path)
    choices = [read_layout("drishti-gs1", tmp_path, "clinic", {"experts": experts}) for experts in ("2", "3", "soft")]
    assert len({digest(examples) for examples in choices}) == 3


def test_a_mask_as_wide_as_the_left_half_is_read_as_well(tmp_path):
    WRITERS["rim-one-r3"](tmp_path)
    (example, _) = read_layout("rim-one-r3", tmp_path, "clinic", {})
    before = example.read_labels(SIZE)
    for path in example.annotation.files:
        mask = np.asarray(Image.open(path))
        Image.fromarray(mask[:, : SIZE[1]]).save(path)
    assert (example.read_labels(SIZE) == before).all()


@pytest.mark.parametrize("layout", WRITERS)
def test_damaged_annotations_are_refused_by_name(layout, tmp_path):
    WRITERS[layout](tmp_path)
    example = read_layout(layout, tmp_path, "clinic", {})[0]
    path = example.annotation.files[0]
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InvalidSource) as caught:
        example.read_labels(SIZE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_an_annotation_of_another_size_is_refused_by_name(layout, tmp_path):
    WRITERS[layout](tmp_path)
    example = read_layout(layout, tmp_path, "clinic", {})[0]
    with pytest.raises(InvalidSource) as caught:
        example.read_labels((30, 40))
    assert str(example.annotation.files[0]) in str(caught.value)


@pytest.mark.parametrize("layout", ["drishti-gs1", "refuge", "g1020"])
def test_values_that_the_encoding_does_not_know_are_refused_by_name(layout, tmp_path):
    WRITERS[layout](tmp_path)
    example = read_layout(layout, tmp_path, "clinic", {})[0]
    path = example.annotation.files[0]
    mask = np.asarray(Image.open(path)).copy()
    mask[0, 0] = 77
    Image.fromarray(mask).save(path)
    with pytest.raises(InvalidSource, match="77") as caught:
        example.read_labels(SIZE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "options", "text"),
    [
        ("clinic", {}, "layout"),
        ("papila", {"expert": "3"}, "options.expert"),
        ("origa", {"expert": "1"}, "options.expert"),
        ("folder", {"part": "all"}, "options.part"),
    ],
)
def test_impossible_choices_are_named(layout, options, text):
    (wrong,) = wrong_choices(layout, options)
    assert wrong.startswith(text)


def test_the_first_choice_is_what_a_reader_takes_by_itself(tmp_path):
    for name, layout in LAYOUTS.items():
        if name != "folder":
            WRITERS[name](tmp_path / name)
            said = {option: values[0] for option, values in layout.options.items()}
            assert read_layout(name, tmp_path / name, "clinic", said) == layout.read(tmp_path / name, "clinic")


@pytest.mark.parametrize(
    ("layout", "masks", "count"),
    [("rim-one-dl", "rim-one-dl", 3), ("drishti-gs1", "drishti-gs1", 1), ("refuge", "refuge-full", 1)],
)
def test_real_files_in_their_layout_give_the_masks_that_were_made_of_them(layout, masks, count):
    data = shared_data()
    examples = read_layout(layout, data / "layouts" / layout, layout, {})
    assert len(examples) == count
    for example in examples:
        labels = example.read_labels(example.read_photograph().shape[:2])
        expected = cv2.imread(str(data / masks / "masks" / f"{example.id}.png"), cv2.IMREAD_UNCHANGED)
        assert (labels == expected).all()


def test_real_idrid_files_in_their_layout_give_the_mask_that_was_made_of_them():
    data = shared_data()
    (example,) = read_layout("idrid", data / "layouts" / "idrid", "idrid", {})
    labels = example.read_labels(example.read_photograph().shape[:2])
    expected = cv2.imread(str(data / "idrid" / "masks" / "IDRiD_01.png"), cv2.IMREAD_UNCHANGED)
    reduced = cv2.resize(labels, expected.shape[::-1], interpolation=cv2.INTER_NEAREST)
    assert dice(reduced > 0, expected > 0) > 0.99


def test_a_real_ratio_is_as_near_to_the_experts_as_they_are_to_each_other():
    folder = shared_data() / "layouts" / "drishti-gs1"
    (example,) = read_layout("drishti-gs1", folder, "drishti-gs1", {})
    values = (folder / "Training" / "GT" / example.id / f"{example.id}_cdrValues.txt").read_text().split()
    ratio = vertical_cup_to_disc_ratio(example.read_labels(example.read_photograph().shape[:2]))
    assert ratio == pytest.approx(np.mean([float(value) for value in values]), abs=0.064)


def test_a_diagnosis_is_read_where_the_layout_tells_it(tmp_path):
    told = {}
    for layout in ("rim-one-dl", "refuge", "rim-one-r3", "papila"):
        WRITERS[layout](tmp_path / layout)
        examples = read_layout(layout, tmp_path / layout, "clinic", {})
        told[layout] = {example.id: example.glaucoma for example in examples}
    for identity, glaucoma in told["refuge"].items():
        assert glaucoma == {"g": True, "n": False}.get(identity[0])  # V and T: told elsewhere
    for identity, glaucoma in told["rim-one-r3"].items():
        assert glaucoma == {"G": True, "N": False}.get(identity[0])  # S: a suspect
    assert set(told["rim-one-dl"].values()) == {True, False}
    assert set(told["papila"].values()) == {None}


def test_papila_tells_whose_eye_it_is(tmp_path):
    WRITERS["papila"](tmp_path)
    assert {example.person for example in read_layout("papila", tmp_path, "clinic", {})} == {"RET002"}
