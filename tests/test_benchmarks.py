"""`make bench` runs: every part, on a real service, in a minute; its figures are for a machine at rest."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.photographs import REPOSITORY


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
