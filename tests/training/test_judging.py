"""Tests of `training.judging`: which photographs judge a version."""

from pathlib import Path

import pytest

from model.artefact import Manifest
from model.errors import InvalidConfiguration
from tests.versions import manifest
from training.config import Preset, leave_out_sources, preset_from_dict
from training.judging import ALL, HELD_OUT, LEFT_OUT, NEVER_SEEN, UNSURE, choose, preset_of
from training.sources.example import Example
from training.sources.folder import DiscEllipse
from training.split import Split


def preset(**held_out: int) -> Preset:
    network = {"network": {"outputs": ["disc"]}}
    sources = [{"name": name, "held_out": count} for name, count in held_out.items()]
    return preset_from_dict({"name": "p", "sources": sources, "locator": network, "segmenter": {"network": {}}})


def version(**held_out: int) -> Manifest:
    rows = [{"name": name, "trained_on": 3} for name in held_out]
    return manifest(sources=rows, training={"preset": preset(**held_out).as_dict()})


def split(left_out: bool = False) -> Split:
    examples = [Example("s", name, Path(name), DiscEllipse(1, 1, 1, 1), False, "full") for name in "abcde"]
    return Split((), tuple(examples), True) if left_out else Split(tuple(examples[:3]), tuple(examples[3:]), False)


def judged(*arguments: object, **options: object) -> dict[str, tuple[str, str]]:
    return {
        name: (part.how, "".join(e.id for e in part.examples)) for name, part in choose(*arguments, **options).items()
    }


def test_a_known_source_judges_by_what_was_held_out():
    assert judged(version(a=2), preset(a=2), {"a": split()}) == {"a": (HELD_OUT, "de")}
    assert judged(version(a=2), preset(a=2), {"a": split()}, everything=True) == {"a": (ALL, "abcde")}


def test_a_source_that_it_never_saw_judges_with_all_its_photographs():
    assert judged(version(a=2), preset(b=2), {"b": split()}) == {"b": (NEVER_SEEN, "abcde")}


def test_a_left_out_source_is_named_so():
    left_out = leave_out_sources(preset(a=2, b=2), ("a",))
    assert judged(manifest(), left_out, {"a": split(left_out=True)}) == {"a": (LEFT_OUT, "abcde")}


def test_photographs_that_another_preset_holds_out_may_have_been_trained_on():
    assert judged(version(a=2), preset(a=1), {"a": split()})["a"][0] == UNSURE


def test_only_the_sources_that_are_asked_for():
    splits = {"a": split(), "b": split()}
    assert set(judged(version(a=2), preset(a=2, b=2), splits, ["b"])) == {"b"}
    with pytest.raises(InvalidConfiguration, match="elsewhere"):
        choose(version(a=2), preset(a=2), {"a": split()}, ["elsewhere"])


def test_nothing_to_judge_on_is_told():
    with pytest.raises(InvalidConfiguration, match="--all"):
        choose(version(a=0), preset(a=0), {"a": Split(split().training, (), False)})


def test_a_version_tells_its_preset_or_that_it_does_not():
    assert preset_of(version(a=2)).sources[0].name == "a"
    with pytest.raises(InvalidConfiguration, match="--preset"):
        preset_of(manifest())
