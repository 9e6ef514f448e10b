"""What OpenVINO compiles is not what was read: the answers stay the same, and what needs f32 has it."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import artefact, engines, openvino_network
from model.errors import InvalidConfiguration
from model.unet import build_unet
from model.unet_config import UNetConfig
from tests.model.test_engines import HAS_BF16

needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
HALVED = UNetConfig(input_size=32, depth=2, start_channels=4, stem_stride=2)
BESIDE = UNetConfig(input_size=32, depth=1, start_channels=4, stem_stride=2, encoder="efficientnet_lite0")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the segmenter that ships: two U-Nets of two kinds, each of which answers at half the resolution, enlarged."""
    import keras

    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("network") / "segmenter"
    config = UNetConfig(**{**HALVED.as_dict(), "beside": BESIDE.as_dict()})
    artefact.export_network(build_unet(config, "segmenter"), folder)
    return folder


def read(saved_model: Path) -> tuple[Any, Any, Any]:
    openvino = engines.import_openvino()
    core = openvino.Core()
    return openvino, core, core.read_model(saved_model)


def kinds(network: Any) -> list[str]:
    return [node.get_type_name() for node in network.get_ops()]


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(batch, 32, 32, 3)).astype(np.float32)


def test_pixels_between_two_others_are_weighed_by_nearness() -> None:
    np.testing.assert_allclose(openvino_network.linear(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(openvino_network.linear(3, 3), np.eye(3))
    np.testing.assert_allclose(openvino_network.linear(5, 13).sum(axis=1), 1)


def test_an_answer_is_enlarged_by_products_and_stays_the_same(saved_model: Path) -> None:
    openvino, _, network = read(saved_model)
    assert kinds(network).count("Interpolate") == 2
    openvino_network.enlarge_by_products(openvino, network)
    assert "Interpolate" not in kinds(network)
    assert kinds(network).count("MatMul") == 4
    loaded, reference = (engines.load(saved_model, name, "f32") for name in engines.ENGINES)
    for batch in (1, 3):
        np.testing.assert_allclose(loaded(images(batch)), reference(images(batch)), atol=1e-5)


def test_what_is_enlarged_in_another_way_is_left(saved_model: Path) -> None:
    openvino, _, _ = read(saved_model)
    operations = openvino.opset13

    def left(channels: int = 2, mode: str = "linear_onnx", where: str = "half_pixel", axes: tuple[int, ...] = (1, 2)):
        pixels = operations.parameter([-1, 8, 8, channels], np.float32)
        sizes, along = np.array([16] * len(axes)), np.array(axes)
        larger = operations.interpolate(pixels, sizes, mode, "sizes", axes=along, coordinate_transformation_mode=where)
        network = openvino.Model([larger.output(0)], [pixels])
        openvino_network.enlarge_by_products(openvino, network)
        return "Interpolate" in kinds(network)

    assert not left()
    assert left(channels=openvino_network.FEW_CHANNELS + 1)
    assert left(mode="nearest")
    assert left(where="align_corners")
    assert left(axes=(2, 3))


def convolutions(engine: Any) -> list[str]:
    """In what each convolution computes, in order."""
    nodes = [node.get_rt_info() for node in engine._compiled.get_runtime_model().get_ordered_ops()]
    return [about["runtimePrecision"].astype(str) for about in nodes if about["layerType"].astype(str) == "Convolution"]


@needs_bf16
def test_in_bf16_the_first_convolutions_stay_in_f32(saved_model: Path, tmp_path: Path) -> None:
    engine = engines.load(saved_model, "openvino", compiled=tmp_path)
    from_disk = engines.load(saved_model, "openvino", compiled=tmp_path)
    assert list(tmp_path.iterdir())
    for loaded in (engine, from_disk, engines.for_many(engine, 2) if engine.threads > 1 else engine):
        assert loaded.precision == "bf16"
        assert openvino_network.are_first_in_f32(loaded._compiled)
        ran = convolutions(loaded)
        assert 3 <= ran.count("f32") <= 4  # two of the plain network, the depthwise one and perhaps what it takes
        assert ran.count("bf16") > 20


@needs_bf16
def test_without_marks_they_would_not(saved_model: Path) -> None:
    _, core, network = read(saved_model)
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    assert not openvino_network.are_first_in_f32(compiled)


@needs_bf16
@pytest.mark.parametrize("missing", ["room", "knowledge"])
def test_where_they_cannot_all_computes_in_f32(
    saved_model: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError("no room")

    if missing == "room":
        monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    else:  # another OpenVINO may not know the mark
        monkeypatch.setattr(openvino_network, "_IN_F32", "")
    engine = engines.load(saved_model, "openvino")
    assert engine.precision == "f32"
    assert set(convolutions(engine)) == {"f32"}
    with pytest.raises(InvalidConfiguration, match="computes in f32"):
        engines.load(saved_model, "openvino", "bf16")


def test_a_network_with_one_convolution_has_nothing_to_keep() -> None:
    openvino = engines.import_openvino()
    core = openvino.Core()
    operations = openvino.opset13
    pixels = operations.parameter([-1, 3, 8, 8], np.float32)
    kernel = operations.constant(np.ones((2, 3, 1, 1), np.float32))
    answer = operations.convolution(pixels, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    network = openvino.Model([answer.output(0)], [pixels])
    openvino_network.keep_first_in_f32(openvino, core, network)
    assert openvino_network.are_first_in_f32(core.compile_model(network, "CPU"))
