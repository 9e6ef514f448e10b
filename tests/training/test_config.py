"""Tests of `training.config` and the bundled presets."""

import pytest

from model.errors import InvalidConfiguration
from training.config import PRESETS, leave_out_sources, preset_from_dict, read_preset

SMALL = """
[[sources]]
name = "clinic"
[locator.network]
outputs = ["disc"]
[segmenter.network]
input_size = 64
"""


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_every_bundled_preset_reads(name):
    preset = read_preset(name)
    assert preset.name == name
    assert preset.locator.network.outputs == ("disc",)
    assert preset.segmenter.network.outputs == ("disc", "cup")


def test_what_is_not_said_has_a_default(tmp_path):
    (tmp_path / "a.toml").write_text(SMALL)
    preset = read_preset(str(tmp_path / "a.toml"))
    assert preset.segmenter.network.input_size == 64
    assert preset.segmenter.batch_size == 16


def test_every_mistake_is_named_at_once(tmp_path):
    (tmp_path / "a.toml").write_text(
        "sead = 1\n"
        + SMALL
        + '[segmenter.sources]\nelsewhere = 1\n[segmenter.augmentation]\nscale = [1.0]\nhide = "a"\n'
    )
    with pytest.raises(InvalidConfiguration) as caught:
        read_preset(str(tmp_path / "a.toml"))
    for text in ("sead", "segmenter.augmentation.scale", "segmenter.augmentation.hide"):
        assert text in str(caught.value)


@pytest.mark.parametrize("line", ["steps = 0", "learning_rate = -1.0", "batch_size = 0"])
def test_impossible_values_are_refused(tmp_path, line):
    (tmp_path / "a.toml").write_text(SMALL.replace("[locator.network]", f"[locator]\n{line}\n[locator.network]"))
    with pytest.raises(InvalidConfiguration, match=line.split()[0]):
        read_preset(str(tmp_path / "a.toml"))


@pytest.mark.parametrize("text", ["= nonsense", "seed = 1\n"])
def test_what_is_no_preset_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InvalidConfiguration, match=r"a\.toml"):
        read_preset(str(tmp_path / "a.toml"))


def test_a_preset_survives_its_own_record():
    preset = read_preset("bundled")
    assert preset_from_dict(preset.as_dict()) == preset


def test_leaving_out_names_the_preset_and_marks_the_source():
    preset = leave_out_sources(read_preset("bundled"), ("drishti-gs1",))
    assert [source.name for source in preset.sources if source.left_out] == ["drishti-gs1"]
    assert "drishti-gs1" in preset.name
    with pytest.raises(InvalidConfiguration, match="elsewhere"):
        leave_out_sources(preset, ("elsewhere",))


def test_a_source_may_name_a_public_layout_which_brings_its_terms(tmp_path):
    (tmp_path / "a.toml").write_text(
        SMALL + '[[sources]]\nname = "hospital"\nlayout = "papila"\noptions = { expert = "2" }\n'
        '[[sources]]\nname = "mine"\nlayout = "papila"\nterms = "agreed by letter"\n'
    )
    sources = read_preset(str(tmp_path / "a.toml")).sources
    assert sources[0].layout == "folder"
    assert (sources[1].options, sources[1].terms) == ({"expert": "2"}, "CC BY 4.0")
    assert "Kovalyk" in sources[1].citation
    assert sources[2].terms == "agreed by letter"


def test_unknown_layouts_and_choices_are_named_at_once(tmp_path):
    (tmp_path / "a.toml").write_text(
        SMALL + '[[sources]]\nname = "b"\nlayout = "papyrus"\n'
        '[[sources]]\nname = "c"\nlayout = "drishti-gs1"\nellipses = "d.csv"\n'
        'options = { experts = "5", colour = "red" }\n'
    )
    with pytest.raises(InvalidConfiguration) as caught:
        read_preset(str(tmp_path / "a.toml"))
    for text in (
        "sources[1].layout",
        "papyrus",
        "sources[2].options.experts",
        "sources[2].options.colour",
        "sources[2].ellipses",
    ):
        assert text in str(caught.value)
