"""README and documentation: every block runs and prints what its page says; the site builds, is whole, stays local."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from model.errors import CupDiscError
from model.images import decode
from model.registry import open_registry
from service.app import create_app
from service.problems import ANSWERS
from service.settings import Settings
from tests import documents
from tests.documents import Block
from tests.photographs import REPOSITORY
from training.config import SourceConfig
from training.sources.layouts import LAYOUTS

# a cloud, a container, or minutes of a machine at rest; decide on one more
NOT_RUN = {
    **{"docs/bulk.md": 4, "docs/deployment.md": 8, "docs/prepare.md": 1, "README.md": 1},
    **{"docs/protocols.md": 1, "docs/scaling.md": 1},
}
WIDEST = 94  # characters that a page of the site shows without scrolling
LANGUAGES = {"bash", "python", "json", "text", "toml", "yaml"}


def has_version() -> bool:
    try:
        return bool(open_registry(Settings().registry).resolve(Settings().version))
    except CupDiscError:
        return False


needs_version = pytest.mark.skipif(not has_version(), reason="no version is bundled yet")
RUNNABLE = [
    page for page in documents.pages() if any(one.language in ("bash", "python") for one in documents.blocks(page))
]


@needs_version
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_block_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path):
    with documents.desk(tmp_path) as desk:
        for block in documents.blocks(page):
            if block.run:
                desk.run(block)


def test_only_what_needs_a_cloud_or_a_container_is_not_run():
    left_out = [block for page in documents.pages() for block in documents.blocks(page) if not block.run]
    assert Counter(block.page for block in left_out) == {page: count for page, count in NOT_RUN.items() if count}
    for block in left_out:
        needs = re.search(r"\b(gcloud|kubectl|helm|docker|tritonclient|benchmarks\.scaling)\b|gs://", block.text)
        assert needs, f"{block.page}, line {block.line}: could be run"


def test_every_block_is_of_a_known_kind_and_not_too_wide():
    for page in documents.pages():
        for block in documents.blocks(page):
            if page.name != "README.md":
                assert max(map(len, block.text.splitlines())) <= WIDEST, f"{block.page}, line {block.line}"
            assert block.language in LANGUAGES, f"{block.page}, line {block.line}: {block.language}"


def test_no_merge_left_its_marks():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    marked = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)
    files = [REPOSITORY / name for name in tracked.stdout.split("\0") if name]
    assert [file.name for file in files if file.is_file() and marked.search(file.read_bytes())] == []


def test_every_source_that_a_page_shows_may_stand_in_a_preset():
    tables = [
        tomllib.loads(b.text) for page in documents.pages() for b in documents.blocks(page) if b.language == "toml"
    ]
    sources = [SourceConfig(**source) for table in tables for source in table.get("sources", ())]
    assert {"folder", "papila"} <= {source.layout for source in sources}


def test_a_wrong_page_is_noticed(tmp_path: Path):
    def block(language: str, text: str, title: str = "") -> Block:
        return Block("page.md", 1, language, title, text, True)

    with documents.desk(tmp_path) as desk:
        with pytest.raises(AssertionError, match="failed"):
            desk.run(block("bash", "false\ntrue\n"))
        with pytest.raises(AssertionError, match="ValueError"):
            desk.run(block("python", "raise ValueError\n"))
        desk.run(block("python", "print('one', 2.5)\n"))
        desk.run(block("text", "one …\n", "prints"))
        with pytest.raises(AssertionError, match="promises"):
            desk.run(block("text", "one 3\n", "prints"))
        desk.run(block("bash", 'echo \'{"a": [1, null], "timings_ms": 3}\'\n'))
        desk.run(block("json", '{"a": [1, null], "timings_ms": 9}\n'))
        desk.run(block("json", '{"a": ["…", null], "…": "and so on"}\n'))
        for wrong in (
            '{"a": [1, 0]}',
            '{"b": 1, "…": "…"}',
            '{"a": [1.5, null], "timings_ms": 9}',
            '{"timings_ms": 9}',
        ):
            with pytest.raises(AssertionError):
                desk.run(block("json", wrong))


def test_the_files_that_cloud_commands_name_are_there():
    for page in documents.pages():
        for block in documents.blocks(page):
            if not block.run:
                for name in re.findall(r"\bdocker/[\w./-]*", block.text):
                    assert (REPOSITORY / name).exists(), f"{block.page}, line {block.line}: {name}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, warnings being errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches for a page without being asked."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "link") and given.get("rel") != "canonical":
            self.addresses += [value for name in ("src", "href", "srcset") if (value := given.get(name))]


@needs_version
def test_no_page_of_the_site_asks_another_host(site: Path):
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        assert not [one for one in loaded.addresses if "//" in one], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text(encoding="utf-8")), style.name


@needs_version
def test_references_name_everything(site: Path):
    api = (site / "reference/api.html").read_text(encoding="utf-8")
    for path in create_app(Settings()).openapi()["paths"]:
        assert path in api
    for kind in ANSWERS:
        assert f'id="{kind.code}"' in api
    presets = (site / "reference/presets.html").read_text(encoding="utf-8")
    for name in LAYOUTS:
        assert f"<code>{name}</code>" in presets
    assert "ExpertsSegmentations/Contours/RET002OD_disc_exp1.txt" in presets
    settings = (site / "reference/configuration.html").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"CUPDISC_{name.upper()}" in settings
    commands = (site / "reference/command-line.html").read_text(encoding="utf-8")
    for name in ("serve", "segment", "versions", "train", "publish", "evaluate"):
        assert f">cupdisc {name}<" in commands or f">cupdisc-train {name}<" in commands
    card = (site / "model-card.html").read_text(encoding="utf-8")
    assert open_registry(Settings().registry).open(Settings().version).digest in card
    assert "made:" not in "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))


def test_every_setting_is_explained():
    folder = str(REPOSITORY / "docs")
    sys.path.insert(0, folder)
    try:
        import reference
    finally:
        sys.path.remove(folder)
    comments = reference.comments_of(Settings)
    assert all(comments[name] for name in Settings.model_fields), comments


@needs_version
def test_the_screenshots_can_be_taken_anew(tmp_path: Path):
    """In a process of its own: the page's tests may hold a browser of theirs."""
    if shutil.which("chromium") is None:
        if os.environ.get("CUPDISC_REQUIRE_BROWSER") == "1":
            pytest.fail("CUPDISC_REQUIRE_BROWSER=1, but there is no chromium")
        pytest.skip("no chromium is installed")
    pictures = REPOSITORY / "docs" / "pictures"
    command = [sys.executable, str(REPOSITORY / "docs" / "screenshots.py"), str(tmp_path)]
    taken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert taken.returncode == 0, taken.stderr
    kept, anew = (
        {path.name: decode(path.read_bytes()).pixels.shape for path in at.glob("*.png")} for at in (pictures, tmp_path)
    )
    assert anew == kept
    shown = (REPOSITORY / "docs" / "page.md").read_text(encoding="utf-8")
    assert all(f"pictures/{name}" in shown for name in kept)
