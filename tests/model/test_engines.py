"""Two engines, one answer; what runs is what was asked for; and nobody is called at home."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model import engines
from model.artefact import Artefact
from model.errors import CorruptVersion, EngineUnavailable, InvalidConfiguration

HAS_BF16 = "BF16" in engines.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def draw(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def saved_model(tiny_version: Artefact) -> Path:
    return tiny_version.segmenter


@pytest.fixture(scope="module", params=engines.ENGINES)
def engine(request: pytest.FixtureRequest, saved_model: Path) -> engines.Engine:
    return engines.load(saved_model, request.param, "f32")


@pytest.mark.parametrize("network", ["locator", "segmenter"])
def test_engines_agree_in_f32(tiny_version: Artefact, network: str) -> None:
    first, second = (engines.load(tiny_version.folder / network, name, "f32") for name in engines.ENGINES)
    for batch in (1, 4, 2):
        answer = first(draw(batch))
        assert answer.shape == (batch, 32, 32, 1 if network == "locator" else 2)
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, second(draw(batch)), atol=1e-4)


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_bf16_is_what_runs_and_stays_close(saved_model: Path) -> None:
    rough, exact = (engines.load(saved_model, "openvino", precision) for precision in ("bf16", "f32"))
    assert (rough.precision, exact.precision) == ("bf16", "f32")
    difference = np.abs(rough(draw(4)) - exact(draw(4))).max()
    assert 0 < difference < 0.02  # 0 would mean that bf16 did not run


def test_precisions_are_those_that_load(saved_model: Path) -> None:
    for name in engines.ENGINES:
        for precision in engines.precisions(name):
            assert engines.load(saved_model, name, precision).precision == precision
        assert engines.load(saved_model, name).precision == engines.precisions(name)[-1]


def test_auto_takes_openvino_and_the_precision_of_the_cpu(saved_model: Path) -> None:
    engine = engines.load(saved_model)
    assert engine.name == "openvino"
    assert engine.precision == ("bf16" if HAS_BF16 else "f32")


def test_auto_takes_tensorflow_where_openvino_is_missing(saved_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine = engines.load(saved_model)
    assert (engine.name, engine.precision) == ("tensorflow", "f32")
    with pytest.raises(EngineUnavailable, match="openvino"):
        engines.load(saved_model, "openvino")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("torch", "auto", 0), "engine"),
        (("auto", "f16", 0), "precision"),
        (("auto", "auto", -1), "threads"),
        (("tensorflow", "bf16", 0), "precision"),
    ],
)
def test_a_wrong_setting_is_named(saved_model: Path, arguments: tuple[str, str, int], field: str) -> None:
    with pytest.raises(InvalidConfiguration, match=field):
        engines.load(saved_model, *arguments)


@pytest.mark.parametrize("shape", [(32, 32, 3), (1, 16, 32, 3), (1, 32, 32, 1), (0, 32, 32, 3)])
def test_another_shape_is_refused(engine: engines.Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        engine(np.zeros(shape, np.float32))


def test_an_answer_outlives_the_next_call(engine: engines.Engine) -> None:
    images = draw(2)
    answer = engine(images)
    kept = answer.copy()
    engine(draw(2, seed=1))
    np.testing.assert_array_equal(answer, kept)
    np.testing.assert_array_equal(images, draw(2))


def test_memory_layout_does_not_matter(engine: engines.Engine) -> None:
    images = draw(2)
    mirrored = images[:, :, ::-1]
    mirrored.setflags(write=False)
    images.setflags(write=False)
    np.testing.assert_array_equal(engine(mirrored), engine(mirrored.copy()))
    np.testing.assert_array_equal(engine(images), engine(draw(2)))


def test_threads_do_not_mix_their_answers(engine: engines.Engine) -> None:
    images = [draw(1 + seed % 3, seed) for seed in range(24)]
    expected = [engine(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine, images * 4))
    for answer, right in zip(answers, expected * 4, strict=True):
        np.testing.assert_allclose(answer, right, atol=1e-6)


@pytest.mark.parametrize("name", engines.ENGINES)
def test_what_is_no_saved_model_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptVersion, match=r"saved_model\.pb is missing"):
        engines.load(tmp_path, name)
    (tmp_path / "saved_model.pb").write_bytes(b"something else")
    with pytest.raises(CorruptVersion, match="cannot load"):
        engines.load(tmp_path, name)


@pytest.mark.parametrize("name", engines.ENGINES)
def test_another_signature_is_refused(name: str, tmp_path: Path) -> None:
    tensorflow = engines.import_tensorflow()
    module = tensorflow.Module()
    module.run = tensorflow.function(lambda x: {"y": x * 2})
    given = tensorflow.TensorSpec((None, 8, 8, 3), tensorflow.float32, name="x")
    signatures = {engines.SIGNATURE: module.run.get_concrete_function(given)}
    tensorflow.saved_model.save(module, str(tmp_path), signatures=signatures)
    with pytest.raises(CorruptVersion):
        engines.load(tmp_path, name)


def test_openvino_brings_no_tensorflow_and_opens_no_connection(saved_model: Path) -> None:
    program = f"""
import sys
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith(("socket.", "subprocess.")) else None)
import numpy as np
from pathlib import Path
from model import engines
engines.load(Path({str(saved_model)!r}))(np.zeros((1, 32, 32, 3), np.float32))
unwanted = {{"tensorflow", "keras", "openvino_telemetry", "openvino.tools.ovc"}} & set(sys.modules)
assert "openvino" in sys.modules and not unwanted and not calls, (unwanted, calls)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_streams_answer_alike(saved_model: Path) -> None:
    one, two = engines.load(saved_model, "openvino", "f32"), engines.load(saved_model, "openvino", "f32", 2, 2)
    with ThreadPoolExecutor(4) as pool:
        for seed, answer in enumerate(pool.map(two, [draw(2, seed) for seed in range(12)])):
            np.testing.assert_allclose(answer, one(draw(2, seed)), atol=1e-5)
    with pytest.raises(InvalidConfiguration, match="streams"):
        engines.load(saved_model, "openvino", streams=0)


def test_made_ready_for_many_calls_it_answers_alike(saved_model: Path) -> None:
    one = engines.load(saved_model, "openvino", "f32", threads=2)
    many = engines.for_many(one, 4)
    assert many is not None
    assert (many.name, many.precision) == ("openvino", "f32")
    with ThreadPoolExecutor(4) as pool:
        for seed, answer in enumerate(pool.map(many, [draw(1 + seed % 2, seed) for seed in range(12)])):
            np.testing.assert_allclose(answer, one(draw(1 + seed % 2, seed)), atol=1e-5)
    assert engines.for_many(engines.load(saved_model, "openvino", "f32", threads=1), 4) is None
    assert engines.for_many(one, 1) is None
    assert engines.for_many(engines.load(saved_model, "tensorflow"), 4) is None


def test_a_network_kept_compiled_answers_alike(saved_model: Path, tmp_path: Path) -> None:
    plain = engines.load(saved_model, "openvino", "f32")
    for _ in range(2):  # the first fills the folder, the second reads it
        kept = engines.load(saved_model, "openvino", "f32", compiled=tmp_path)
        assert kept.precision == "f32"
        np.testing.assert_array_equal(kept(draw(2)), plain(draw(2)))
        assert [path.suffix for path in tmp_path.iterdir()] == [".blob"]
