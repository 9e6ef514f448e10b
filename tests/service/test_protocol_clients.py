"""The clients that people have, from PyPI and unchanged, in an environment of their own (`make protocol-clients`)."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.photographs import REPOSITORY
from tests.service.conftest import EYE, SIZE
from tests.service.running import Running, running

PYTHON = REPOSITORY / ".clients" / "bin" / "python"
CLIENTS = Path(__file__).parent / "clients"
ABSENT = not PYTHON.with_name("ready").is_file()

pytestmark = pytest.mark.skipif(
    ABSENT and not os.environ.get("CUPDISC_REQUIRE_CLIENTS"), reason="no clients: make protocol-clients"
)


@pytest.fixture(scope="module")
def service(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), registry=published) as started:
        yield started


def told_by(client: str, service: Running, folder: Path) -> dict[str, Any]:
    photograph = folder / "eye.jpg"
    photograph.write_bytes(EYE)
    command = [str(PYTHON), str(CLIENTS / client), service.url, str(photograph), str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tritonclient(service: Running, tmp_path: Path) -> None:
    told = told_by("with_triton.py", service, tmp_path)
    for binary in (True, False):
        assert told.pop(f"ratios, binary {binary}") == pytest.approx([0.5, 0.5], abs=0.02)
    assert told == {
        **{"live": True, "ready": True, "model_ready": True, "absent_ready": False, "server": "cupdisc"},
        **{"inputs": ["photograph", "image"], "version": "2026.2.1", "png": [True, True]},
        **{f"gradable, binary {binary}": [True, True] for binary in (True, False)},
        "probabilities": [3, SIZE, SIZE, 2],
        "error": ["404", "model_not_found: no model retina; there is disc-cup"],
    }


def test_kserve(service: Running, tmp_path: Path) -> None:
    told = told_by("with_kserve.py", service, tmp_path)
    assert (told.pop("binary"), told.pop("first")) == pytest.approx((0.5, 0.5), abs=0.02)
    assert "invalid_inference: send 1 to 8 in one request, '400 Bad Request'" in told.pop("error")
    assert told == {
        **{"live": True, "ready": True, "model_ready": True, "first_ready": True, "in JSON": True},
        "probabilities": [1, SIZE, SIZE, 2],
    }
