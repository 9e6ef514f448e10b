"""What makes the answer quick does not change it: real photographs, the plain way beside the ways of the service.

Plain is every pixel decoded and TensorFlow's own graph in f32. Quick is a reduced JPEG, and the precision that the
machine is quickest with.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from model import images
from model.images import Decoded
from model.masks import Label
from model.registry import open_registry
from model.segmentation import Segmentation
from model.segmenter import Segmenter
from service.answers import segmented
from tests.photographs import EXAMPLE, shared_data

WHOLE = {"drishti-gs1": 17, "refuge-full": 2, "idrid": 7, "unlabelled": 20}  # photographs of each, evenly spread


@dataclass(frozen=True)
class Answers:
    """Of one photograph."""

    plain: Segmentation
    reduced: Segmentation  # in f32
    rough: Segmentation  # every pixel, in the machine's quickest precision
    quick: Segmentation  # both, as the service answers
    decoded: Decoded  # what the quick answer was made from


@pytest.fixture(scope="module")
def answers() -> list[Answers]:
    version = open_registry("bundled").open("production")
    tensorflow, exact, rough = Segmenter(version, "tensorflow"), Segmenter(version, precision="f32"), Segmenter(version)
    data = shared_data()
    files = [EXAMPLE]
    for source, count in WHOLE.items():
        found = sorted((data / source / "images").rglob("*.jp*g"))
        files += found[:: max(1, len(found) // count)][:count]

    def decode(content: bytes, side: int | None) -> Decoded:
        return images.decode(content, smallest_side=side)

    gathered = []
    for file in files:
        content = file.read_bytes()
        whole = decode(content, None)
        decoded, quick, _ = segmented(content, rough, decode)
        gathered.append(
            Answers(
                plain=tensorflow.segment([whole])[0],
                reduced=segmented(content, exact, decode)[1],
                rough=rough.segment([whole])[0],
                quick=quick,
                decoded=decoded,
            )
        )
    return gathered


def dice(answers: list[Answers], way: str, least: Label) -> float:
    """Of a way and the plain one, over the pixels of all photographs."""
    common = both = 0
    for each in answers:
        one, other = (whole(found) >= least for found in (each.plain, getattr(each, way)))
        common += np.count_nonzero(one & other)
        both += np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * common / both


def whole(found: Segmentation) -> np.ndarray:
    """What was drawn, (H, W); not kept, as `drawn` is: all photographs' together would fill a gigabyte."""
    return dataclasses.replace(found.patch).whole


@pytest.mark.parametrize("structure", [Label.RIM, Label.CUP])
@pytest.mark.parametrize("way", ["reduced", "rough", "quick"])
def test_masks_are_the_same(answers: list[Answers], way: str, structure: Label) -> None:
    assert round(dice(answers, way, structure), 3) >= 0.998


@pytest.mark.parametrize("way", ["reduced", "rough", "quick"])
def test_ratios_and_verdicts_are_the_same(answers: list[Answers], way: str) -> None:
    pairs = [(each.plain, getattr(each, way)) for each in answers]
    assert np.mean([abs(one.drawn_ratios.vertical - other.drawn_ratios.vertical) for one, other in pairs]) <= 0.005
    assert [one.gradable for one, _ in pairs] == [other.gradable for _, other in pairs]


def test_sharpness_and_distance_keep_their_meaning(answers: list[Answers]) -> None:
    quotients = [each.quick.sharpness / each.plain.sharpness for each in answers]
    assert np.mean(quotients) == pytest.approx(1, abs=0.02)
    assert quotients == pytest.approx([1] * len(quotients), abs=0.05)
    for each in answers:
        assert each.quick.distance_from_training == pytest.approx(each.plain.distance_from_training, abs=0.1)


def test_most_of_them_really_were_reduced(answers: list[Answers]) -> None:
    assert sum(each.decoded.reduction > 1 for each in answers) > len(answers) / 2
    for each in answers:
        assert each.quick.patch.shape == each.plain.patch.shape == each.decoded.shape


def test_a_photograph_that_came_too_small_is_decoded_again() -> None:
    """Reduced to an eighth the example's region has fewer pixels than the network sees: that is noticed."""
    segmenter = Segmenter(open_registry("bundled").open("production"))
    content = EXAMPLE.read_bytes()
    (small,) = segmenter.segment([images.decode(content, smallest_side=170)])
    assert small.coarse
    asked: list[int | None] = []

    def decode(data: bytes, side: int | None) -> Decoded:
        asked.append(side)
        return images.decode(data, smallest_side=side and 170)

    decoded, found, _ = segmented(content, segmenter, decode)
    assert asked == [segmenter.smallest_side, None]
    assert (decoded.reduction, found.coarse) == (1, False)
