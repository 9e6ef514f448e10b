"""`cupdisc doctor` finds what is broken, names it, and says so with its exit code."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from model import engines
from service import doctor
from service.doctor import Check, examine
from service.settings import Settings
from tests.photographs import EXAMPLE, REPOSITORY
from tests.service.test_app import NEWEST, OLDER, damage
from tests.service.test_cli import run


def examined(registry: Path, **settings: str) -> dict[str, Check]:
    return {check.name: check for check in examine(Settings(registry=str(registry), **settings))}  # type: ignore[arg-type]


def test_a_good_installation(published: Path) -> None:
    checks = examined(published)
    assert all(check.state == "good" for check in checks.values())
    assert [*checks][:4] == ["installation", "web page", "openvino", "tensorflow"]
    assert f"production is {NEWEST}" in checks["registry"].found
    assert {f"version {NEWEST}", f"version {OLDER}"} < set(checks)
    assert "1411 x 1411 pixels by openvino" in checks["speed"].found


def test_a_corrupt_version_is_named_by_its_file(registry: Path) -> None:
    damage(registry, OLDER, "card.md")
    checks = examined(registry)
    assert checks[f"version {OLDER}"].state == "broken"
    assert "card.md" in checks[f"version {OLDER}"].found
    assert checks["speed"].state == "good"
    damage(registry, NEWEST)
    assert "speed" not in examined(registry)  # the version that would be served does not run


@pytest.mark.parametrize(
    ("location", "version"), [("/nowhere", "production"), ("gs://bucket", "production"), (None, "x")]
)
def test_a_registry_without_the_version_is_broken(published: Path, location: str | None, version: str) -> None:
    checks = examined(Path(location) if location == "/nowhere" else location or published, version=version)  # type: ignore[arg-type]
    assert checks["registry"].state == "broken"
    assert "speed" not in checks


def test_an_engine_that_is_not_there(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda engine: engine == "openvino")
    assert examined(published)["tensorflow"].state == "absent"
    asked = examined(published, engine="tensorflow")
    assert asked["tensorflow"].state == "broken"
    assert "not installed" in asked["speed"].found


def test_a_precision_that_the_engine_has_not(published: Path) -> None:
    checks = examined(published, engine="tensorflow", precision="bf16")
    assert checks["tensorflow"].state == checks["speed"].state == "broken"


def test_missing_files_and_packages_are_named(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SAMPLES", (Path("/nowhere/sample.jpg"),))
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["numpy>=2", "abacus>=1", 'x; extra == "y"'])
    checks = examined(published)
    assert "sample.jpg" in checks["web page"].found
    assert checks["installation"].found == "not installed: abacus"
    assert checks["speed"].state == "broken"


def test_the_command_says_so_with_its_exit_code(registry: Path) -> None:
    good = run("doctor", "--registry", registry)
    assert good.returncode == 0
    assert "ready to work" in good.stdout
    damage(registry, NEWEST)
    bad = run("doctor", "--registry", registry)
    assert bad.returncode == 1
    assert "segmenter/saved_model.pb" in bad.stdout
    assert "Traceback" not in bad.stderr


def test_the_package_carries_the_example_photograph(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as package:
        assert package.read("service/page/sample.jpg") == EXAMPLE.read_bytes()
        assert {"service/page/index.html", "service/examples.json"} < set(package.namelist())
        assert not any(name.startswith(("tests/", "docs/", "examples/")) for name in package.namelist())
