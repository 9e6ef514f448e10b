"""Tests of `benchmarks.ways`: whatever is done to a photograph, its annotation still shows the disc."""

import cv2
import numpy as np
import pytest

from benchmarks.ways import WAYS


@pytest.mark.parametrize("name", WAYS)
def test_the_annotation_moves_with_the_photograph(name: str) -> None:
    annotation = np.zeros((220, 300), np.uint8)
    cv2.circle(annotation, (190, 80), 30, 255, cv2.FILLED)
    photograph = np.full((220, 300, 3), (90, 60, 30), np.uint8)
    photograph[annotation > 0] = (250, 240, 200)
    way = WAYS[name]
    changed, places = way.change(photograph), way.places(annotation) if way.places else annotation
    assert changed.dtype == places.dtype == np.uint8
    assert changed.shape == (*places.shape, 3)
    disc, near = places > 127, cv2.dilate(places, np.ones((61, 61), np.uint8)) > 127
    assert 2000 < disc.sum() < 5000
    contrast = float(changed[disc].mean()) - float(changed[near & ~disc].mean())
    assert contrast < -20 if name == "negative" else contrast > 4
