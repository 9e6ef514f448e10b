"""The short versions of `make fuzz` and `make soak`, and whether they would notice."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import growth
from benchmarks.mutants import mutants, originals
from model.errors import PhotographError
from model.images import decode
from tests.photographs import REPOSITORY

TESTS = REPOSITORY / "tests"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=560, check=False)


def test_generated_requests_and_damaged_photographs_do_no_harm(tmp_path: Path) -> None:
    """About a minute of them on two cores."""
    amount = ("--requests", "900", "--photographs", "1200", "--longest", "30", "--out", tmp_path)
    done = run("benchmarks.fuzz", *amount)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = tmp_path.glob("*-fuzz.md")
    told = report.read_text(encoding="utf-8")
    assert "| damaged photographs | 1200 |" in told
    assert "to be measured | 220 |" in told
    counted = re.search(r"generated requests, all checks of Schemathesis \| (\d+)", told)
    last = re.search(r"(\d+) generated", told.partition("Test cases:")[2].replace(",", ""))  # of two runs
    assert counted
    assert last
    assert 900 <= int(last[1]) < int(counted[1])


def test_growth_is_from_the_second_quarter_to_the_last() -> None:
    assert growth([0.0, 0.0, 100.0, 100.0, 400.0, 400.0, 133.0, 133.0]) == 33.0


def test_a_minute_of_soaking_loses_no_answer(tmp_path: Path) -> None:
    # not 80 % of what it can do, as `make soak`: beside this, the other half of the tests runs on the same two cores
    terms = ("--minutes", "1", "--load", "0.4", "--swap-every", "8", "--most-growth", "0.1")
    done = run("benchmarks.soak", *terms, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = tmp_path.glob("*-soak.md")
    assert re.search(r"\| answered by \| \d+ × [\d.]+, \d+ × [\d.]+ \|", report.read_text(encoding="utf-8"))


def test_damage_can_be_done_again_and_is_damage() -> None:
    first, again = list(mutants(50)), list(mutants(50))
    assert first == again
    assert {one.format for one in first} == {"JPEG", "PNG", "TIFF", "BMP", "WEBP"}
    assert len({one.data for one in first}) == 50
    whole = {data for _, data in originals()}
    assert not any(one.data in whole for one in first)
    for data in whole:
        assert decode(data).pixels.shape == (400, 400, 3)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_photographs_are_decoded_or_refused_and_nothing_else(seed: int) -> None:
    refused = 0
    for one in mutants(60, seed):
        try:
            decode(one.data)
        except PhotographError:
            refused += 1
    assert 0 < refused < 60


def test_the_tests_that_the_page_on_security_names_exist() -> None:
    page = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| API\d+ .*$", page, re.MULTILINE)
    assert [row.split()[1] for row in rows] == [f"API{number}" for number in range(1, 11)]
    for row in rows:
        named = re.findall(r"`(test_\w+\.py): (test_\w+)`", row)
        assert named, row
        for file, test in named:
            (path,) = TESTS.rglob(file)
            assert f"def {test}(" in path.read_text(encoding="utf-8"), f"{file}: {test}"
