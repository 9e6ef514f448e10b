"""README and documentation: every block runs and prints what its page says; the site builds, is whole, stays local."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.errors import CupDiscError
from model.images import decode
from model.registry import open_registry
from service.app import create_app
from service.problems import ANSWERS
from service.settings import Settings
from tests import documents
from tests.documents import Block
from tests.photographs import REPOSITORY

NOT_RUN = {"docs/deployment.md": 3}  # blocks that need a cloud account; every one more is an exception to decide on
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


def test_only_what_needs_a_cloud_account_is_not_run():
    left_out = [block for page in documents.pages() for block in documents.blocks(page) if not block.run]
    assert Counter(block.page for block in left_out) == {page: count for page, count in NOT_RUN.items() if count}
    for block in left_out:
        assert re.search(r"\b(gcloud|kubectl)\b", block.text), f"{block.page}, line {block.line}: could be run"


def test_every_block_is_of_a_known_kind_and_not_too_wide():
    for page in documents.pages():
        for block in documents.blocks(page):
            if page.name != "README.md":
                assert max(map(len, block.text.splitlines())) <= WIDEST, f"{block.page}, line {block.line}"
            assert block.language in LANGUAGES, f"{block.page}, line {block.line}: {block.language}"


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


# Every field that the manifests may have: a misspelt one would be ignored by the cluster, or refused there
PROBE = {"httpGet": {"path": str, "port": int}, "periodSeconds": int, "timeoutSeconds": int, "failureThreshold": int}
CONTAINER = {
    "name": str,
    "image": str,
    "command": [str],
    "ports": [{"containerPort": int}],
    "env": [{"name": str, "value": str}],
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "resources": {"requests": {"cpu": str, "memory": str}, "limits": {"cpu": str, "memory": str}},
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
    },
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}
VOLUME = {"name": str, "persistentVolumeClaim": {"claimName": str, "readOnly": bool}}
HEAD = {"apiVersion": str, "kind": str, "metadata": {"name": str}}
SCHEMAS: dict[tuple[str, str], dict[str, Any]] = {
    ("apps/v1", "Deployment"): HEAD
    | {
        "spec": {
            "replicas": int,
            "selector": {"matchLabels": {"app": str}},
            "template": {
                "metadata": {"labels": {"app": str}},
                "spec": {"containers": [CONTAINER], "volumes": [VOLUME]},
            },
        }
    },
    ("v1", "Service"): HEAD | {"spec": {"selector": {"app": str}, "ports": [{"port": int, "targetPort": int}]}},
    ("serving.knative.dev/v1", "Service"): HEAD
    | {
        "spec": {
            "template": {
                "metadata": {"annotations": {"autoscaling.knative.dev/maxScale": str}},
                "spec": {"containerConcurrency": int, "timeoutSeconds": int, "containers": [CONTAINER]},
            }
        }
    },
}


def misfits(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """Where a manifest is not of the schema."""
    if isinstance(schema, dict) and isinstance(value, dict):
        yield from (f"{where}.{key}: unknown" for key in value.keys() - schema.keys())
        for key in value.keys() & schema.keys():
            yield from misfits(value[key], schema[key], f"{where}.{key}")
    elif isinstance(schema, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from misfits(item, schema[0], f"{where}[{number}]")
    elif not isinstance(schema, type) or type(value) is not schema:
        yield f"{where}: {value!r}"


MANIFESTS = [block for page in documents.pages() for block in documents.blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", MANIFESTS, ids=lambda block: block.title)
def test_a_manifest_fits_its_schema_and_this_service(block: Block, monkeypatch: pytest.MonkeyPatch):
    paths = create_app(Settings(registry=str(REPOSITORY / "nowhere"))).openapi()["paths"]
    containers = []
    for manifest in yaml.safe_load_all(block.text):
        assert not list(misfits(manifest, SCHEMAS[manifest["apiVersion"], manifest["kind"]]))
        if "template" in manifest["spec"]:
            containers += manifest["spec"]["template"]["spec"]["containers"]
        else:
            assert manifest["spec"]["ports"][0]["targetPort"] == containers[0]["ports"][0]["containerPort"]
    (container,) = containers
    port = container["ports"][0]["containerPort"]
    assert container["command"] == ["cupdisc", "serve", "--host", "0.0.0.0", "--port", str(port)]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name in container:
            assert container[name]["httpGet"]["path"] in paths
            assert container[name]["httpGet"]["port"] == port
    for variable in container["env"]:
        assert variable["name"].removeprefix("CUPDISC_").lower() in Settings.model_fields
        monkeypatch.setenv(variable["name"], variable["value"])
    Settings()  # accepts the values


def test_the_files_that_cloud_commands_name_stand_on_their_page():
    for page in documents.pages():
        titles = {block.title for block in documents.blocks(page)}
        for block in documents.blocks(page):
            if not block.run:
                assert set(re.findall(r"[\w-]+\.yaml", block.text)) <= titles


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
