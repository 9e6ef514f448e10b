"""`make bench` runs: every part, on a real service, in a minute; its figures are for a machine at rest. Peers could."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.photographs import REPOSITORY

PINS = REPOSITORY / "benchmarks" / "peers" / "requirements"


@pytest.mark.timeout(600)
def test_the_quick_run_writes_one_report_with_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-speed\.md", report.name)
    text = report.read_text(encoding="utf-8")
    for part in ("To the limit", "Four times too much", "In bad company", "Growth", "Cold start", "The networks alone"):
        assert f"## {part}\n" in text
    answered = re.findall(r"^\| (?:1|8) \| ([\d.]+) \| ([\d.]+) \| (\d+)% .* \| (\d+) \|$", text, re.MULTILINE)
    assert len(answered) == 2
    for limit, served, _, other in answered:
        assert float(limit) > 0
        assert float(served) > 0
        assert other == "0"
    assert "| neither answered nor refused | 0 |" in text


def imports_of(file: Path) -> set[str]:
    """The packages that a module imports when it is imported itself."""
    found = set()
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found.add(statement.module.partition(".")[0])
    return found


@pytest.mark.parametrize("peer", sorted(file.stem for file in PINS.glob("*.txt")))
def test_a_peer_has_what_the_products_own_code_imports(peer: str) -> None:
    """Beside another server runs `model`, and in the second table the answer's encoding too."""
    program = (
        "import sys, model.segmenter, service.answers;"
        "ours = [name for name in sys.modules if name.partition('.')[0] in ('model', 'service')];"
        "print(*(sys.modules[name].__file__ for name in ours))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    imported = {name for file in run.stdout.split() for name in imports_of(Path(file))}
    distributions = packages_distributions()
    needed = {each.lower() for name in imported for each in distributions.get(name, [])} - {"cupdisc"}
    assert {"numpy", "simplejpeg", "opencv-python-headless"} <= needed
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (PINS / f"{peer}.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name.replace("_", "-") for name in needed} <= pinned
