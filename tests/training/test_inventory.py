"""Tests of `training.inventory` and of `cupdisc-train sources`."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn import write_folder
from tests.layouts import WRITERS
from training import cli
from training.config import Preset, preset_from_dict
from training.inventory import survey

NETWORKS = '[locator.network]\noutputs = ["disc"]\n[segmenter.network]\ninput_size = 64\n'


def every_layout() -> Preset:
    sources = [{"name": layout, "layout": layout} for layout in WRITERS]
    return preset_from_dict(
        {"name": "all", "sources": sources, "locator": {"network": {"outputs": ["disc"]}}, "segmenter": {"network": {}}}
    )


def test_what_every_layout_holds_is_counted(tmp_path):
    for layout, write in WRITERS.items():
        write(tmp_path / layout)
    facts = {source.name: source for source in survey(every_layout(), tmp_path)}
    assert {name: source.photographs for name, source in facts.items()} == {
        name: {"rim-one-dl": 3, "refuge": 4}.get(name, 2) for name in WRITERS
    }
    assert (facts["drions-db"].cups, facts["idrid"].cups, facts["g1020"].cups, facts["refuge"].cups) == (0, 0, 1, 4)
    assert not any(source.problems for source in facts.values())
    assert all(source.terms for source in facts.values())


def test_ratios_are_those_of_the_masks(tmp_path):
    folder = write_folder(tmp_path / "clinic", 1, seed=1)
    labels = cv2.imread(str(folder / "masks" / "eye000.png"), cv2.IMREAD_UNCHANGED)
    heights = [np.ptp(np.nonzero(labels >= least)[0]) + 1 for least in (1, 2)]
    preset = preset_from_dict(
        {"name": "one", "sources": [{"name": "clinic"}], "locator": {"network": {}}, "segmenter": {"network": {}}}
    )
    assert survey(preset, tmp_path)[0].verticals == pytest.approx([heights[1] / heights[0]])


def test_a_cup_outside_its_disc_is_told_with_how_much(tmp_path):
    WRITERS["rim-one-dl"](tmp_path / "rim-one-dl")
    path = next(tmp_path.rglob("r1_Im001-1-Cup-T.png"))
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    area = int((mask > 0).sum())
    rows = -(-area // mask.shape[1])
    mask[-rows:] = 255  # about as much again, far from the disc
    cv2.imwrite(str(path), mask)
    facts = next(source for source in survey(every_layout(), tmp_path) if source.name == "rim-one-dl")
    assert list(facts.cups_outside) == ["r1_Im001"]
    assert facts.cups_outside["r1_Im001"] == pytest.approx(0.5, abs=0.1)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_the_command_prints_a_row_for_each_source(tmp_path: Path, monkeypatch, capsys):
    write_folder(tmp_path / "clinic", 3, seed=1)
    preset = tmp_path / "mine.toml"
    preset.write_text('[[sources]]\nname = "clinic"\nterms = "ours"\n' + NETWORKS)
    assert run(monkeypatch, "sources", str(preset), "--data", str(tmp_path)) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "clinic" in line)
    assert all(text in row for text in ("folder", "3", "ours"))


def test_the_command_fails_and_names_what_is_missing_or_odd_in_all_sources(tmp_path: Path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "clinic", 3, seed=1)
    (folder / "images" / "eye001.png").write_bytes(b"not a picture")
    cv2.imwrite(str(folder / "masks" / "eye002.png"), np.ones((8, 8), np.uint8))
    preset = tmp_path / "mine.toml"
    preset.write_text('[[sources]]\nname = "clinic"\n[[sources]]\nname = "papila"\nlayout = "papila"\n' + NETWORKS)
    assert run(monkeypatch, "sources", str(preset), "--data", str(tmp_path)) == 1
    shown = capsys.readouterr()
    assert "not in" in shown.out
    said = shown.err.replace("\n", "")
    for name in ("eye001.png", "eye002.png", "FundusImages"):
        assert name in said
