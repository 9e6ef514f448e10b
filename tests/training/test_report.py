"""Tests of `training.report` and `training.plots`."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.training.results import result, several
from training.plots import bland_altman
from training.report import write_report
from training.summary import summarise

ERRORS = [0.01 * n - 0.05 for n in range(12)]
RESULTS = [
    *several("clinic", ERRORS, interval_low=0.3, interval_high=0.7),
    *several("<b>own</b>", ERRORS[:3]),
    result("clinic", "bad", gradable=False, reasons="too_blurred"),
    result("discs", "only", cup=None),
]
NEW = [{"source": "clinic", "covered": 4, "photographs": 9}]


class Page(HTMLParser):
    """What a page loads, and how many of each element it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    calibration = {"coverage": 0.9, "on_new_sources": NEW}
    write_report(path, "disc-cup 2026.1.1", RESULTS, summarise(RESULTS, "held out"), calibration)
    return path.read_text(encoding="utf-8")


def test_the_report_needs_nothing_else(text: str):
    page = Page(text)
    assert all(address.startswith(("#", "data:")) for address in page.loaded)
    assert "@import" not in text
    assert "url(http" not in text
    assert page.count["svg"] == 5


def test_without_pictures_it_holds_no_photograph(text: str):
    assert "img" not in Page(text).count
    assert "data:image" not in text


def test_every_source_and_refusal_stands_in_it(text: str):
    assert "<td>clinic/bad</td><td>too_blurred</td>" in text
    assert re.search(r"clinic<br>held out, n = 13", text)
    assert "clinic, as a new source: 4 of 9" in text


def test_every_error_of_the_ratio_has_an_interval_below_it(text: str):
    rows = re.findall(r"<tr><td>vCDR ([^<]+)</td><td>[\d.+-]+(<small>[\d.+-]+ to [\d.+-]+</small>)?", text)
    assert [name for name, interval in rows if not interval] == []
    assert {"abs. error, median", "abs. error, 95th percentile", "mean abs. error, surest half"} <= {n for n, _ in rows}


def test_a_source_s_name_is_text_not_markup(text: str):
    assert "<b>own</b>" not in text
    assert "&lt;b&gt;own&lt;/b&gt;" in text


def test_the_same_results_give_the_same_bytes():
    assert bland_altman(RESULTS) == bland_altman(RESULTS)


def test_pictures_come_with_their_terms(tmp_path: Path):
    discs = [result("discs", "only", cup=None, pixels=None)]
    pictures = [("AAAA", "discs/only: disc 0.1")]
    write_report(tmp_path / "r.html", "t", discs, summarise(discs, "held out"), {}, (), pictures, ["discs (none)"])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'src="data:image/jpeg;base64,AAAA"' in text
    assert "discs (none)" in text


def test_results_of_an_older_table_give_a_report_too(tmp_path: Path):
    old = [result("clinic", "1", pixels=None, disc_hausdorff95=None, cup_hausdorff95=None, disc_diameter=None)]
    write_report(tmp_path / "r.html", "t", old, summarise(old, "left out"), {})
    assert "Probabilities of pixels" not in (tmp_path / "r.html").read_text(encoding="utf-8")
