"""A page of a service that asks for a key: it asks for it too, once, and keeps it for this tab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from service.keys import digest, new_key
from service.settings import Settings
from tests.service.listening import listening
from tests.service.page.conftest import give_and_wait, photograph
from tests.service.test_keys import key_file

KEY = new_key()


@pytest.fixture(scope="module")
def locked(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the service listens."""
    keys = key_file(tmp_path_factory.mktemp("keys"), {"name": "clinic", "sha256": digest(KEY)})
    with listening(Settings(registry=str(published), keys=keys)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(browser: Browser, locked: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(locked)
    yield page
    context.close()


def test_the_page_asks_for_a_key_and_works_with_it(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("asks for a key")
    page.get_by_label("Key", exact=True).fill(new_key())
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("not known")
    page.get_by_label("Key", exact=True).fill(f" {KEY} ")
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#version code")).to_be_visible()
    give_and_wait(page, photograph("eye.jpg"))
    page.reload()
    expect(page.locator("#version code")).to_be_visible()
    expect(dialog).to_have_count(0)


def test_one_may_look_around_without(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Not now").click()
    expect(dialog).to_have_count(0)
    page.keyboard.press("Tab")
    expect(page.locator("h1")).to_be_visible()
