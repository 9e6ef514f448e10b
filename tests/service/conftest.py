"""A version whose networks are set by hand: they call bright pixels disc and very bright ones cup.

So the eye drawn below has an answer that can be computed on paper, and a real SavedModel runs in the real engine.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from model import artefact, conventions, normalisation, retina
from model.artefact import Artefact, Manifest, NetworkEntry
from model.conventions import Convention, Conventions
from model.local_registry import LocalRegistry
from model.normalisation import Distribution
from service.app import create_app
from service.settings import Settings
from tests.versions import manifest

SIZE = 64  # of both networks' inputs
RED, ORANGE, YELLOW = (120, 50, 30), (200, 130, 90), (250, 220, 180)  # retina, rim, cup


def draw_eye(width: int = 640, height: int = 480, disc: float = 60, cup: float = 30) -> np.ndarray:
    """(H, W, 3) uint8: a round red field of view, and in its middle a disc of the given radii."""
    rows, columns = np.ogrid[:height, :width]
    radius = np.hypot(rows + 0.5 - height / 2, columns + 0.5 - width / 2)
    photograph = np.zeros((height, width, 3), np.uint8)
    photograph[radius < min(width, height) / 2 - 4] = RED
    photograph[radius < disc] = ORANGE
    photograph[radius < cup] = YELLOW
    return photograph


def draw_graded_eye(width: int = 640, height: int = 480, disc: float = 60) -> np.ndarray:
    """As `draw_eye`, its disc ever brighter towards the middle: where the cup ends depends on who looks."""
    photograph = draw_eye(width, height, disc, cup=0)
    rows, columns = np.ogrid[:height, :width]
    radius = np.hypot(rows + 0.5 - height / 2, columns + 0.5 - width / 2)
    bright = np.clip(250 - 140 * radius / disc, 0, 255)
    photograph[..., 1] = np.where(radius < disc, bright, photograph[..., 1])
    return photograph


def encode(photograph: np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}), **options)
    return file.getvalue()


EYE = encode(draw_eye())


# the published versions draw as "narrow" does; biases of `_network`
NARROW, WIDE = ((np.array([-4.0, -10.0 * cup], np.float32),) for cup in (2.1, 0.6))
CONVENTIONS = Conventions(NARROW, {"narrow": Convention(NARROW, 0.5, 0.5), "wide": Convention(WIDE, 0.5, 0.5)})


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the versions 2026.1.1 and 2026.2.1, the latter in production. Not to be changed: copy it."""
    staged, registry = tmp_path_factory.mktemp("staged"), tmp_path_factory.mktemp("registry")
    for network, outputs in (("locator", ("disc",)), ("segmenter", ("disc", "cup"))):
        artefact.export_network(_network(network, outputs), staged / network)
    (staged / "card.md").write_text("# drawn eyes\n", encoding="utf-8")
    conventions.write(CONVENTIONS, staged)
    for version in ("2026.1.1", "2026.2.1"):
        artefact.write(staged, _manifest(version))
        LocalRegistry(registry).publish(staged, alias="production")
    return registry


@pytest.fixture
def registry(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(published, tmp_path / "registry")


@pytest.fixture
def start(published: Path) -> Iterator[Callable[..., TestClient]]:
    """Start a service in this process; arguments are settings. Errors of ours are raised, not turned into a 500."""
    clients = []

    def start(**settings: Any) -> TestClient:
        clients.append(TestClient(create_app(Settings(**{"registry": str(published), **settings}))))
        return clients[-1].__enter__()

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(published: Path) -> Iterator[TestClient]:
    """The service with its default settings."""
    with TestClient(create_app(Settings(registry=str(published)))) as client:
        yield client


WIDER_CUP = {"locator": {"disc": 1.5}, "segmenter": {"disc": 0.4, "cup": 1.5}}
BLIND = {"locator": {"disc": 1.5}, "segmenter": {"disc": -9.0, "cup": 9.0}}  # to it, everything is disc


def stage_by_hand(folder: Path, version: str, thresholds: dict[str, dict[str, float]]) -> Artefact:
    """A version that can be published, with networks of one's own thresholds."""
    for network, outputs in (("locator", ("disc",)), ("segmenter", ("disc", "cup"))):
        artefact.export_network(_network(network, outputs, thresholds), folder / network)
    return artefact.write(folder, _manifest(version))


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2026.3.1, staged: it draws a wider cup than the published ones where the disc is graded."""
    return stage_by_hand(tmp_path_factory.mktemp("second"), "2026.3.1", WIDER_CUP).folder


@pytest.fixture(scope="session")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2026.4.1, staged: whole, but wrong on every photograph."""
    return stage_by_hand(tmp_path_factory.mktemp("blind"), "2026.4.1", BLIND).folder


def _network(name: str, outputs: tuple[str, ...], chosen: dict[str, dict[str, float]] | None = None) -> Any:
    import keras

    usual = {"locator": {"disc": 1.5}, "segmenter": {"disc": 0.4, "cup": 2.1}}
    thresholds = (chosen or usual)[name]  # of the normalised green
    layer = keras.layers.Conv2D(len(outputs), 1, activation="sigmoid")
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layer])
    kernel = np.zeros((1, 1, 3, len(outputs)), np.float32)
    kernel[0, 0, 1] = 10.0
    layer.set_weights([kernel, np.array([-10.0 * thresholds[output] for output in outputs], np.float32)])
    return model


def _manifest(version: str) -> Manifest:
    """The drawn eye is the typical training photograph."""
    eye = draw_eye()
    field = retina.field_of_view(eye)
    whole, region = field.frame(), retina.roi(320, 240, 120, 2.0)
    features = normalisation.features(whole.cut(eye, SIZE), field.cut(whole, SIZE))
    distribution = Distribution(
        mean=(100.0, 100.0, 100.0),
        deviation=(40.0, 40.0, 40.0),
        feature_mean=tuple(features.tolist()),
        feature_precision=tuple(tuple(row) for row in (50 * np.eye(features.size)).tolist()),
        sharpness=normalisation.sharpness(region.cut(eye, SIZE), field.cut(region, SIZE)),
    )
    return manifest(
        version,
        locator=NetworkEntry({}, SIZE, ("disc",), 4),
        segmenter=NetworkEntry({}, SIZE, ("disc", "cup"), 8),
        normalisation=distribution.as_dict(),
    )
