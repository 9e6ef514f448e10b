"""Tests of `training.throughput` and of the order in which `training.batches` hands out."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.training_throughput import as_markdown, drawn_preset
from tests.drawn import write_folder
from training.accelerator import choose
from training.batches import Batch, made_ahead, queue_length
from training.config import preset_from_dict
from training.preset_files import read_preset
from training.split import read_splits
from training.throughput import Throughput, measure_preset


def numbered(number: int) -> Batch:
    time.sleep(0.002 * (number % 3))  # some take longer than others
    return np.array([number]), np.array([-number])


def test_batches_come_in_order_whichever_is_ready_first():
    served = [int(images[0]) for images, _ in made_ahead(numbered, range(5, 40))]
    assert served == list(range(5, 40))


def test_no_more_batches_are_made_than_the_queue_holds_and_none_after_the_last_taken():
    made: list[int] = []
    lock = threading.Lock()

    def make(number: int) -> Batch:
        with lock:
            made.append(number)
        return numbered(number)

    queue = made_ahead(make, range(10**6))
    for _ in range(3):
        next(queue)
    queue.close()  # type: ignore[attr-defined]
    assert len(made) <= 3 + queue_length()
    after = len(made)
    time.sleep(0.05)
    assert len(made) == after


def test_each_network_is_measured_alone_and_with_its_samples(tmp_path: Path):
    write_folder(tmp_path / "clinic", 3, seed=1)
    tiny = {"input_size": 16, "depth": 1, "start_channels": 2}
    networks = {
        "locator": {"network": {**tiny, "outputs": ["disc"]}, "batch_size": 8},
        "segmenter": {"network": {**tiny, "members": 2}, "batch_size": 4},
    }
    preset = preset_from_dict({"name": "tiny", "sources": [{"name": "clinic"}], **networks})
    rows = measure_preset(preset, read_splits(preset, tmp_path), None, choose("cpu"), (False,), steps=1, laps=1)
    assert [(row.network, row.precision, row.batch_size) for row in rows] == [
        ("locator", "f32", 8),
        ("segmenter", "f32", 4),
    ]
    for row in rows:
        assert min(row.alone, row.served, row.made) > 0
        assert row.cost == pytest.approx(row.alone / row.served - 1)  # of one lap


def test_the_benchmark_measures_the_networks_that_ship():
    preset = drawn_preset()
    assert [source.name for source in preset.sources] == ["drawn"]
    assert preset.segmenter.network == read_preset("bundled").segmenter.network
    row = Throughput("locator", "1 × a CPU, tensorflow", "bf16", 16, 100.0, 90.0, 700.0, 1 / 9)
    text = as_markdown([row], ["1 × a CPU"])
    assert "| locator | 1 × a CPU, tensorflow | bf16 | 16 | 100 | 90 | 700 | 11% |" in text
    assert "f32 by itself, as bf16 is emulated or no faster: 1 × a CPU." in text
