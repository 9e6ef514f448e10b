"""Tests of `training.config` and the bundled presets."""

import pytest

from model.errors import InvalidConfiguration
from training.config import leave_out_sources, preset_from_dict
from training.preset_files import PRESETS, read_preset

SMALL = """
[[sources]]
name = "clinic"
[locator.network]
outputs = ["disc"]
[segmenter.network]
input_size = 64
"""


@pytest.mark.parametrize("name", sorted({path.stem for path in PRESETS.glob("*.toml")} - {"paper"}))
def test_every_bundled_preset_reads(name):
    preset = read_preset(name)
    assert preset.name == name
    assert preset.locator.network.outputs == ("disc",)
    assert preset.segmenter.network.outputs == ("disc", "cup")


def test_the_papers_set_up_is_no_preset_of_a_version():
    with pytest.raises(InvalidConfiguration, match="cupdisc-train paper"):
        read_preset("paper")


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


@pytest.mark.parametrize(
    ("table", "line"),
    [
        *(("[locator]", each) for each in ("steps = 0", "learning_rate = -1.0", "batch_size = 0", "weight_decay = -1")),
        *(("[locator]", each) for each in ("learning_rate = nan", "sources = { clinic = -1 }", "network = 3")),
        *(("[segmenter.augmentation]", each) for each in ("scale = [1.5, 0.5]", "hide = 1.5", "disc_share = [0, 0.5]")),
        ("[locator.network]", 'outputs = ["cup", "disc"]'),
        *(("[segmenter.network]", each) for each in ('outputs = ["disc"]', "input_size = 100", "depth = 99")),
        *(("[[sources]]", each) for each in ("weight = -1", "held_out = -1", 'name = "../a"', 'layout = "papyrus"')),
        *(("", each) for each in ("seed = -1", "roi_diameters = 0.5", "steps_per_epoch = 0", "seed = 1.5")),
    ],
)
def test_impossible_values_are_refused_with_their_line(tmp_path, table, line):
    tables = {"": [], "[[sources]]": ['name = "clinic"'], "[locator]": [], "[locator.network]": ['outputs = ["disc"]']}
    tables |= {"[segmenter.network]": [], "[segmenter.augmentation]": []}
    key = line.split()[0]
    if key == "network":
        del tables["[locator.network]"]
    if key == "name" or (key == "outputs" and table == "[locator.network]"):
        tables[table] = []
    lines: list[str] = []
    for name, keys in tables.items():
        lines += [name, *keys]
        if name == table:
            lines += ["# a comment", line]
            expected = len(lines)
    (tmp_path / "a.toml").write_text("\n".join(lines))
    with pytest.raises(InvalidConfiguration, match=rf"a\.toml:{expected}: .*{key}"):
        read_preset(str(tmp_path / "a.toml"))


def test_every_mistake_is_told_with_its_line_wherever_it_stands(tmp_path):
    (tmp_path / "a.toml").write_text("""sead = 1
never_held_out = [
  "g0001",
]
[[sources]]
name = "clinic"
wait = 2
[sources.options]
part = "all"
[[sources]]
name = "clinic"
held_out = "a few"
[locator]
steps = 0
network.depth = 99
[segmenter]
network = { input_size = 100 }
sources = { elsewhere = 1 }
""")
    with pytest.raises(InvalidConfiguration) as caught:
        read_preset(str(tmp_path / "a.toml"))
    told = dict(line.removeprefix(f"{tmp_path / 'a.toml'}:").split(": ", 1) for line in str(caught.value).splitlines())
    expected = {"1": "sead", "7": "sources[0].wait", "9": "sources[0].options.part", "11": "sources[1].name"}
    expected |= {"12": "sources[1].held_out", "14": "locator.steps", "15": "locator.network.depth"}
    expected |= {"17": "segmenter.network.input_size", "18": "segmenter.sources.elsewhere"}
    assert {line: text.split("=")[0].split(":")[0] for line, text in told.items()} == expected


def test_a_missing_key_is_told_with_the_line_of_its_table(tmp_path):
    (tmp_path / "a.toml").write_text("\n\n[[sources]]\nweight = 1\n[locator.network]\n[segmenter.network]\n")
    with pytest.raises(InvalidConfiguration, match=r"a\.toml:3: sources\[0\]\.name: missing"):
        read_preset(str(tmp_path / "a.toml"))


def test_a_preset_without_anything_to_train_on_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text(SMALL.replace('name = "clinic"', 'name = "clinic"\nleft_out = true'))
    with pytest.raises(InvalidConfiguration, match="nothing to train on"):
        read_preset(str(tmp_path / "a.toml"))
    with pytest.raises(InvalidConfiguration, match="sources: there is none"):
        preset_from_dict({"name": "a", "sources": [], "locator": {"network": {}}, "segmenter": {"network": {}}})


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


def test_a_preset_extends_another_one(tmp_path):
    (tmp_path / "a.toml").write_text(SMALL + "[segmenter.augmentation]\nhide = 0.5\n")
    (tmp_path / "b.toml").write_text(
        'extends = "a.toml"\nseed = 7\n[[sources]]\nname = "clinic"\nheld_out = 3\n[[sources]]\nname = "other"\n'
        "[segmenter.augmentation]\ngrey = 0.25\n"
    )
    preset = read_preset(str(tmp_path / "b.toml"))
    assert [(source.name, source.held_out) for source in preset.sources] == [("clinic", 3), ("other", 0)]
    assert (preset.seed, preset.segmenter.network.input_size) == (7, 64)
    assert (preset.segmenter.augmentation.hide, preset.segmenter.augmentation.grey) == (0.5, 0.25)
    assert read_preset("left_out").segmenter.network == read_preset("bundled").segmenter.network


@pytest.mark.parametrize("below", ["b.toml", "a.toml", "nowhere", "", 3])
def test_a_preset_that_extends_itself_or_nothing_is_refused(tmp_path, below):
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text(f"extends = {below!r}\n")
    with pytest.raises(InvalidConfiguration, match=r"extends|nowhere"):
        read_preset(str(tmp_path / "b.toml"))


def test_a_mistake_is_told_with_the_line_of_the_file_that_extends(tmp_path):
    (tmp_path / "a.toml").write_text('[[sources]]\nname = "first"\n' + SMALL)
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n\n[[sources]]\nname = "clinic"\nheld_out = -1\n')
    with pytest.raises(InvalidConfiguration, match=r"b\.toml:5: sources\[0\]\.held_out"):
        read_preset(str(tmp_path / "b.toml"))
