"""Callers on many threads share a network's calls, and each gets its own answer."""

import concurrent.futures as cf
import threading
import time

import cv2
import numpy as np
import pytest

from model.images import decode
from model.registry import open_registry
from model.segmenter import Segmenter
from service.batching import Rules, SharedEngine, SharedSegmenters
from tests.photographs import EXAMPLE


class Doubling:
    """A network that doubles, counts its calls, and where it has a gate waits behind it."""

    name, precision = "openvino", "f32"

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.sizes, self.at_once, self.most_at_once = gate, [], 0, 0
        self.begun = threading.Semaphore(0)
        self.lock = threading.Lock()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        with self.lock:
            self.sizes.append(len(images))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        if self.gate:
            assert self.gate.wait(20)
        with self.lock:
            self.at_once -= 1
        if np.isnan(images).any():
            raise ValueError("not a number")
        return images * 2


def images(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def gathered(engine: SharedEngine, count: int) -> None:
    """Wait until so many callers wait for a busy network."""
    until = time.monotonic() + 20
    while len(engine._waiting) < count and time.monotonic() < until:
        time.sleep(0.001)
    assert len(engine._waiting) == count


def test_an_idle_network_starts_at_once_with_one_photograph() -> None:
    network = Doubling()
    engine = SharedEngine(network, Rules(8, 1, 60.0))
    started = time.monotonic()
    assert engine(images(3)).tolist() == [[6]]
    assert time.monotonic() - started < 30  # it does not wait for company
    assert network.sizes == [1]


@pytest.mark.parametrize(("most", "sizes"), [(8, [1, 5]), (2, [1, 2, 2, 1])])
def test_who_comes_while_it_is_busy_shares_the_next_call_up_to_the_most(most: int, sizes: list[int]) -> None:
    network, seen = Doubling(threading.Event()), []
    engine = SharedEngine(network, Rules(most, 1, 60.0), seen.append)
    with cf.ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(engine, images(0))]
        assert network.begun.acquire(timeout=20)
        for number in range(1, 6):
            answers.append(pool.submit(engine, images(number)))
            gathered(engine, number)
        network.gate.set()
        assert [answer.result(20).tolist() for answer in answers] == [[[2 * number]] for number in range(6)]
    assert network.sizes == seen == sizes
    assert network.most_at_once == 1


def test_a_busy_network_keeps_nobody_longer_than_agreed() -> None:
    network = Doubling(threading.Event())
    engine = SharedEngine(network, Rules(8, 1, 0.01))
    with cf.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(engine, images(number)) for number in range(2)]
        assert all(network.begun.acquire(timeout=20) for _ in range(2))  # the second began beside the first
        network.gate.set()
        assert sorted(answer.result(20).item() for answer in answers) == [0, 2]
    assert network.most_at_once == 2


def test_where_others_are_under_way_it_is_made_ready_for_several_calls_at_a_time() -> None:
    alone, many = Doubling(), Doubling(threading.Event())
    crowd, may_be_made = [False], threading.Event()

    def made() -> Doubling:
        assert may_be_made.wait(20)
        return many

    engine = SharedEngine(alone, Rules(8, 2, 60.0), crowded=lambda: crowd[0], for_many=made)
    assert engine(images(1)).item() == 2
    assert engine._preparing is None  # nobody needed it so far
    crowd[0] = True
    assert engine(images(2)).item() == 4  # nobody waits for it to be ready
    may_be_made.set()
    engine._preparing.join(20)
    with cf.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(engine, images(number)) for number in range(2)]
        assert all(many.begun.acquire(timeout=20) for _ in range(2))
        answers += [pool.submit(engine, images(number)) for number in (2, 3)]
        gathered(engine, 2)
        many.gate.set()
        assert sorted(answer.result(20).item() for answer in answers) == [0, 2, 4, 6]
    assert many.most_at_once == 2
    crowd[0], calls = False, len(many.sizes)
    assert engine(images(5)).item() == 10
    assert len(many.sizes) == calls  # who is alone has all cores for one call again


def test_where_it_cannot_be_made_ready_for_several_calls_they_take_turns(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("no memory")

    network = Doubling()
    engine = SharedEngine(network, Rules(1, 2, 60.0), crowded=lambda: True, for_many=fail)
    with cf.ThreadPoolExecutor(4) as pool:
        assert sorted(answer.item() for answer in pool.map(engine, [images(1), images(2)] * 4)) == [2] * 4 + [4] * 4
    engine._preparing.join(20)
    assert network.most_at_once == 1


def test_callers_with_several_photographs_keep_them_together() -> None:
    network = Doubling(threading.Event())
    engine = SharedEngine(network, Rules(4, 1, 60.0))
    with cf.ThreadPoolExecutor(4) as pool:
        first = pool.submit(engine, images(0))
        assert network.begun.acquire(timeout=20)
        many = []
        for number, values in enumerate(((1, 2, 3), (4, 5), (6, 7, 8, 9, 10, 11)), 1):  # the last alone is too many
            many.append(pool.submit(engine, images(*values)))
            gathered(engine, number)
        network.gate.set()
        assert first.result(20).tolist() == [[0]]
        assert [answer.result(20)[:, 0].tolist() for answer in many] == [
            *([2, 4, 6], [8, 10], [12, 14, 16, 18, 20, 22])
        ]
    assert network.sizes == [1, 3, 2, 6]


def test_a_failed_call_fails_for_those_in_it_and_the_next_one_works() -> None:
    network = Doubling(threading.Event())
    engine = SharedEngine(network, Rules(8, 1, 60.0))
    with cf.ThreadPoolExecutor(3) as pool:
        first = pool.submit(engine, images(1))
        assert network.begun.acquire(timeout=20)
        shared = [pool.submit(engine, images(float("nan"))), pool.submit(engine, images(2))]
        gathered(engine, 2)
        network.gate.set()
        assert first.result(20).item() == 2
        for answer in shared:
            with pytest.raises(ValueError, match="not a number"):
                answer.result(20)
    assert engine(images(4)).item() == 8


def test_photographs_of_all_sizes_sent_at_once_are_answered_as_one_by_one() -> None:
    """The real networks, shared by eight threads."""
    segmenter = Segmenter(open_registry("bundled").open("production"), precision="f32")
    eye = decode(EXAMPLE.read_bytes()).pixels
    sides = [700, 1411, 300, 2000, 128, 700]
    photographs = [cv2.resize(eye, (side, side), interpolation=cv2.INTER_AREA) for side in sides]
    photographs[4][:] = 0  # one without anything to be found
    alone = segmenter.segment(photographs)
    seen: list[tuple[str, int]] = []
    shared = SharedSegmenters(Rules(4, 2, 0.05), lambda *call: seen.append(call), crowded=lambda: True)
    assert shared.of(segmenter) is shared.of(segmenter)
    with cf.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda photograph: shared.of(segmenter).segment([photograph])[0], photographs * 3))
    for one, other in zip(alone * 3, together, strict=True):
        assert one.drawn.shape == other.drawn.shape
        assert (one.drawn != other.drawn).mean() < 1e-4
        assert one.reasons == other.reasons
    assert sum(size for network, size in seen if network == "locator") == 18
    assert max(size for _, size in seen) <= 4
