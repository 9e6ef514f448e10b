"""What makes the answer quick does not change it: real photographs, the plain way beside the way of the service.

Plain is every pixel decoded and TensorFlow's own graph in f32. The quick way is a reduced JPEG, OpenVINO, and the
precision that the machine is quickest with.
"""

import numpy as np
import pytest

from model import engines, images
from model.images import Decoded
from model.masks import Label
from model.registry import open_registry
from model.segmenter import Segmentation, Segmenter
from service.answers import segmented
from tests.photographs import EXAMPLE, shared_data

WHOLE = {"drishti-gs1": 6, "refuge-full": 2, "idrid": 2, "unlabelled": 2}  # photographs of each, evenly spread


@pytest.fixture(scope="module")
def both() -> list[tuple[Segmentation, Segmentation, Decoded]]:
    """Of each photograph the plain answer, the quick one, and what the quick one was made from."""
    version = open_registry("bundled").open("production")
    plain, quick = Segmenter(version, "tensorflow"), Segmenter(version)
    data = shared_data()
    files = [EXAMPLE]
    for source, count in WHOLE.items():
        found = sorted((data / source / "images").rglob("*.jp*g"))
        files += found[:: max(1, len(found) // count)][:count]
    answers = []
    for file in files:
        content = file.read_bytes()
        (slow,) = plain.segment([images.decode(content).pixels])
        decoded, fast, _ = segmented(content, quick, lambda data, side: images.decode(data, smallest_side=side))
        answers.append((slow, fast, decoded))
    return answers


def test_masks_are_the_same(both: list[tuple[Segmentation, Segmentation, Decoded]]) -> None:
    for least in (Label.RIM, Label.CUP):
        pairs = [(slow.drawn >= least, fast.drawn >= least) for slow, fast, _ in both]
        common = sum(np.count_nonzero(one & other) for one, other in pairs)
        total = sum(np.count_nonzero(one) + np.count_nonzero(other) for one, other in pairs)
        assert 2 * common / total >= 0.998  # Dice over all pixels


def test_ratios_and_verdicts_are_the_same(both: list[tuple[Segmentation, Segmentation, Decoded]]) -> None:
    differences = [abs(slow.drawn_ratios.vertical - fast.drawn_ratios.vertical) for slow, fast, _ in both]
    assert np.mean(differences) <= 0.005
    assert [slow.reasons for slow, _, _ in both] == [fast.reasons for _, fast, _ in both]


def test_sharpness_and_distance_keep_their_meaning(both: list[tuple[Segmentation, Segmentation, Decoded]]) -> None:
    assert np.mean([fast.sharpness / slow.sharpness for slow, fast, _ in both]) == pytest.approx(1, abs=0.02)
    for slow, fast, _ in both:
        assert fast.sharpness == pytest.approx(slow.sharpness, rel=0.05)
        assert fast.distance_from_training == pytest.approx(slow.distance_from_training, abs=0.1)


def test_most_of_them_really_went_the_quick_way(both: list[tuple[Segmentation, Segmentation, Decoded]]) -> None:
    assert sum(decoded.reduction > 1 for _, _, decoded in both) > len(both) / 2
    for slow, fast, decoded in both:
        assert slow.drawn.shape == fast.drawn.shape == decoded.shape
    assert engines.is_installed("openvino")


def test_a_photograph_that_came_too_small_is_decoded_again() -> None:
    """Reduced to an eighth the example's region has fewer pixels than the network sees: that is noticed."""
    segmenter = Segmenter(open_registry("bundled").open("production"))
    content = EXAMPLE.read_bytes()
    (coarse,) = segmenter.segment([images.decode(content, smallest_side=170)])
    assert coarse.coarse
    assert coarse.drawn.shape == images.decode(content).shape
    (whole,) = segmenter.segment([images.decode(content)])
    assert not whole.coarse
