"""axe-core finds no fault in any view, light or dark; what happens is told to screen readers."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.service.page.conftest import PHONE, file, give, give_and_wait, photograph

SETTLE = """async () => {
  do {  // two frames after a change, a transition that it began is known
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  } while (document.getAnimations().some((one) => one.playState === "running"));
}"""  # until colours have settled


def faults(page: Page) -> list[str]:
    page.evaluate(SETTLE)
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_no_fault(visit: Callable[..., Page], scheme: str, size: str) -> None:
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if size == "phone" else {}
    page = visit(color_scheme=scheme, **phone)
    assert faults(page) == []
    give_and_wait(page, photograph("a_OD.jpg", cup=50))
    page.click("#details summary")
    page.click(".keys summary")
    assert faults(page) == []
    page.click("#correct")
    page.focus("#canvas")
    page.keyboard.press("ArrowUp")
    page.click("#done")
    assert faults(page) == []
    page.click("#correct")
    assert faults(page) == []
    page.click("#done")
    give(page, photograph("a_OS.jpg"), photograph("none.jpg", disc=0, cup=0), file("wrong.jpg", b"no"))
    expect(page.locator("#tally")).to_have_text(re.compile("^4 done"))
    assert faults(page) == []
    for name in ("none.jpg", "wrong.jpg"):
        page.get_by_role("button", name=name, exact=True).click()
        assert faults(page) == []
        page.click("[data-go=all]")
    page.click("[data-go=pairs]")
    assert faults(page) == []


def test_the_answer_is_announced(page: Page) -> None:
    give(page, photograph("eye.jpg"))
    expect(page.get_by_role("status").filter(has_text="eye.jpg: vertical ratio 0.5")).to_be_attached()


def test_focus_stays_where_a_person_is_while_answers_arrive(page: Page) -> None:
    give_and_wait(page, photograph("one.jpg"))
    page.locator("#eye-left").check()
    expect(page.locator(".rim tbody th")).to_have_count(6)
    expect(page.locator("#eye-left")).to_be_focused()
