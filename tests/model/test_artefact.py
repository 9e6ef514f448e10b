"""A version is exactly what its manifest says, or it is refused with the name of every wrong file."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import artefact, engines
from model.artefact import Artefact
from model.errors import CorruptVersion, InvalidConfiguration, UnknownSchema
from tests.versions import manifest, stage

WEIGHTS = "segmenter/variables/variables.index"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return stage(tmp_path / "2026.1.1").folder


def edit(version: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = version / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = stage(tmp_path / "2026.1.1")
    found = artefact.read(tmp_path / "2026.1.1")
    assert found == written
    assert found.digest == hashlib.sha256((found.folder / "manifest.json").read_bytes()).hexdigest()
    assert found.manifest.files["card.md"] == hashlib.sha256(b"# Card\n").hexdigest()
    assert len(found.manifest.files) == 5
    assert found.manifest.segmenter.outputs == ("disc", "cup")
    assert (found.locator.name, found.segmenter.name) == ("locator", "segmenter")


def test_writing_again_gives_the_same_digest(version: Path) -> None:
    assert artefact.write(version, manifest()).digest == artefact.write(version, manifest()).digest


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda v: (v / WEIGHTS).write_bytes(b"weighty"), f"{WEIGHTS}: changed"),
        (lambda v: (v / WEIGHTS).unlink(), f"{WEIGHTS}: missing"),
        (lambda v: (v / "locator" / "more.pb").touch(), "locator/more.pb: not in the manifest"),
        (lambda v: (v / "locator" / "manifest.json").touch(), "locator/manifest.json: not in the manifest"),
        (lambda v: (v / ".manifest.json.unfinished").touch(), ".manifest.json.unfinished: not in the manifest"),
        (lambda v: (v / "manifest.json").unlink(), "manifest.json: No such file"),
        (lambda v: (v / "manifest.json").write_bytes(b"{"), "manifest.json: not JSON"),
    ],
)
def test_damage_is_named(version: Path, damage: Callable[[Path], object], complaint: str) -> None:
    damage(version)
    with pytest.raises(CorruptVersion) as caught:
        artefact.read(version)
    assert complaint in str(caught.value)
    assert "2026.1.1" in str(caught.value)


def test_every_wrong_file_is_named_at_once(version: Path) -> None:
    (version / WEIGHTS).write_bytes(b"weighty")
    (version / "card.md").unlink()
    (version / "notes.txt").touch()
    (version / "link").symlink_to("card.md")
    with pytest.raises(CorruptVersion) as caught:
        artefact.read(version)
    complaints = (f"{WEIGHTS}: changed", "card.md: missing", "notes.txt: not in the manifest", "link: a link")
    assert all(complaint in str(caught.value) for complaint in complaints)


def test_a_link_to_the_right_bytes_is_refused(version: Path, tmp_path: Path) -> None:
    (version / "card.md").rename(tmp_path / "card.md")
    (version / "card.md").symlink_to(tmp_path / "card.md")
    (version / "locator").rename(tmp_path / "locator")
    (version / "locator").symlink_to(tmp_path / "locator")
    with pytest.raises(CorruptVersion, match=r"card\.md: a link; .*locator: a link"):
        artefact.read(version)


def test_a_pipe_is_refused_and_not_waited_for(version: Path) -> None:
    (version / "card.md").unlink()
    os.mkfifo(version / "card.md")
    with pytest.raises(CorruptVersion, match=r"card\.md: not a plain file"):
        artefact.read(version)


def test_an_empty_folder_does_not_count(version: Path) -> None:
    (version / "locator" / "assets").mkdir()
    artefact.read(version)


@pytest.mark.parametrize(
    "path", ["../card.md", "/etc/passwd", "a//b", "a/../card.md", "./card.md", "a\\b", "a\0b", "", "manifest.json"]
)
def test_a_path_that_leads_out_is_refused(version: Path, path: str) -> None:
    edit(version, lambda content: content["files"].update({path: "0" * 64}))
    with pytest.raises(CorruptVersion, match="not a path inside the version"):
        artefact.read(version)


def test_a_version_without_a_network_is_refused(version: Path) -> None:
    (version / "locator" / "saved_model.pb").unlink()
    with pytest.raises(CorruptVersion, match=r"locator/saved_model\.pb: missing"):
        artefact.write(version, manifest())
    edit(version, lambda content: content["files"].pop("locator/saved_model.pb"))
    with pytest.raises(CorruptVersion, match=r"locator/saved_model\.pb: not in the manifest"):
        artefact.read(version)


def test_a_newer_schema_is_told_from_damage(version: Path) -> None:
    edit(version, lambda content: content.update(schema=artefact.SCHEMA + 1, something="new"))
    with pytest.raises(UnknownSchema, match=str(artefact.SCHEMA + 1)):
        artefact.read(version)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("schema", value) for value in (0, "1", True, 1.5, None)),
        *(("version", value) for value in ("2026.13.1", "2026.01.1", "2026.1.0", "../1", "2026.1.1\n", 1)),
        *(("created", value) for value in ("today", "2026-11-23", "2026-11-23T09:30:00", "2026-11-23T09:30:00+01:00")),
        ("thresholds", {"disc": "0.5"}),
        ("thresholds", [0.5]),
        ("segmenter", {"config": {}, "input_size": 32, "outputs": ["disc"]}),
        ("files", {"card.md": "abc"}),
        ("surprise", 1),
    ],
)
def test_a_malformed_field_is_named(version: Path, field: str, value: object) -> None:
    edit(version, lambda content: content.update({field: value}))
    with pytest.raises(CorruptVersion, match=rf"manifest\.json: .*{field}"):
        artefact.read(version)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "1", '{"schema": 1}', "NaN", "[" * 100_000, '"\\ud800"', "\ufeff{}"]
)
def test_a_manifest_that_is_none_is_refused(version: Path, text: str) -> None:
    (version / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CorruptVersion, match=r"manifest\.json"):
        artefact.read(version)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artefact, bytes]:
    """A version and its manifest's bytes, for a test that overwrites them again and again."""
    version = stage(tmp_path_factory.mktemp("whole") / "2026.1.1")
    return version, (version.folder / "manifest.json").read_bytes()


@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(deadline=None)
def test_a_changed_byte_is_refused_or_harmless(whole: tuple[Artefact, bytes], place: int, byte: int) -> None:
    version, damaged = whole[0], bytearray(whole[1])
    damaged[place % len(damaged)] = byte
    (version.folder / "manifest.json").write_bytes(damaged)
    try:
        found = artefact.read(version.folder)
    except (CorruptVersion, UnknownSchema):
        return
    assert found.manifest.files == version.manifest.files
    assert found.digest == hashlib.sha256(damaged).hexdigest()


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "1"},
        {"created": "now"},
        {"schema": artefact.SCHEMA + 1},
        {"thresholds": {"disc": float("nan")}},
        {"normalisation": {"mean": np.float32(1)}},
        {"calibration": {"half": float("inf")}},
    ],
)
def test_an_impossible_manifest_is_not_written(version: Path, wrong: dict[str, Any]) -> None:
    before = (version / "manifest.json").read_bytes()
    with pytest.raises(InvalidConfiguration):
        artefact.write(version, manifest(**wrong))
    assert (version / "manifest.json").read_bytes() == before
    artefact.read(version)


def test_remains_of_a_killed_writer_are_cleared_away(version: Path) -> None:
    (version / ".manifest.json.unfinished").write_bytes(b"{")
    artefact.write(version, manifest())
    artefact.read(version)


def test_a_version_of_real_networks_is_read(tiny_version: Artefact) -> None:
    assert artefact.read(tiny_version.folder) == tiny_version
    assert dataclasses.asdict(tiny_version.manifest)["locator"]["config"]["input_size"] == 32


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A network in which every kind of weight matters, and its SavedModel."""
    import keras

    from model.unet import build_unet
    from model.unet_config import UNetConfig

    keras.utils.set_random_seed(1)
    network = build_unet(UNetConfig(input_size=16, depth=2, start_channels=8, dropout=0.5, residual=True))
    random = np.random.default_rng(1)
    for weights in network.weights:  # also batch normalisation's moving statistics, 0 and 1 when fresh
        weights.assign(random.uniform(0.2, 0.4, weights.shape) if "moving" in weights.name else weights)
    folder = tmp_path_factory.mktemp("exported") / "segmenter"
    artefact.export_network(network, folder)
    return network, folder


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_exported_network_answers_as_before(exported: tuple[Any, Path], engine: str) -> None:
    network, folder = exported
    images = np.random.default_rng(2).normal(size=(3, 16, 16, 3)).astype(np.float32)
    expected = np.asarray(network(images, training=False))
    assert np.ptp(expected) > 0.01
    run = engines.load(folder, engine, "f32")
    np.testing.assert_allclose(run(images), expected, atol=1e-5)
    np.testing.assert_allclose(run(images[:1]), expected[:1], atol=1e-5)


def test_an_exported_network_has_the_signature_that_every_server_expects(exported: tuple[Any, Path]) -> None:
    signature = engines.import_tensorflow().saved_model.load(str(exported[1])).signatures["serving_default"]
    ((), given), taken = signature.structured_input_signature, signature.structured_outputs
    assert {name: tuple(spec.shape) for name, spec in given.items()} == {"image": (None, 16, 16, 3)}
    assert {name: tuple(spec.shape) for name, spec in taken.items()} == {"probabilities": (None, 16, 16, 2)}


def test_every_weight_is_stored_once(exported: tuple[Any, Path]) -> None:
    network, folder = exported
    stored = sum(path.stat().st_size for path in (folder / "variables").glob("*.data-*"))
    assert 4 * network.count_params() <= stored < 6 * network.count_params()


def test_exporting_overwrites_nothing(exported: tuple[Any, Path]) -> None:
    with pytest.raises(InvalidConfiguration, match="not empty"):
        artefact.export_network(*exported)


def test_exporting_needs_the_tensorflow_backend(
    exported: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(InvalidConfiguration, match="jax"):
        artefact.export_network(exported[0], tmp_path / "segmenter")
    assert not (tmp_path / "segmenter").exists()


def test_reading_imports_neither_keras_nor_an_engine(version: Path) -> None:
    program = (
        f"import sys; from pathlib import Path; from model import artefact; artefact.read(Path({str(version)!r}));"
        "assert not {'keras', 'tensorflow', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_segmenter_runs_in_the_quickest_precision_and_the_locator_in_f32_unless_asked(
    tiny_version: Artefact,
) -> None:
    quickest = engines.precisions("openvino")[-1]
    assert [network.precision for network in tiny_version.load_networks("openvino")] == ["f32", quickest]
    assert [network.precision for network in tiny_version.load_networks("openvino", quickest)] == [quickest] * 2
    assert [network.precision for network in tiny_version.load_networks("openvino", "f32")] == ["f32"] * 2
