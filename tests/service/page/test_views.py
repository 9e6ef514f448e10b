"""Photographs come in, answers come out, and a person finds the way with mouse, keys or thumb."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.service.conftest import EYE, draw_eye, encode
from tests.service.page.conftest import PHONE, colour_at, file, give, give_and_wait, photograph

CHOICE = "Cups as drawn by"
LABELS = ("Above 97.5 %", "Within the range", "High for a small disc")
AS_FILES = """(bytes) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], "carried.jpg", { type: "image/jpeg" }));
  return carried;
}"""


def test_a_photograph_gets_its_ratio_its_interval_and_the_version_that_answered(page: Page) -> None:
    give_and_wait(page, photograph(disc=60, cup=30))
    expect(page.locator("#vertical")).to_have_text(re.compile(r"0\.(49|50|51)"))
    expect(page.locator(".verdict")).to_have_text("Gradable")
    expect(page.locator(".reading")).to_contain_text("Within the range of healthy eyes")
    expect(page.locator(".ratio")).to_contain_text("Research use, not a diagnosis")
    expect(page.locator(".ratio a")).to_have_attribute("href", "https://doi.org/10.1136/bjo.2003.028548")
    page.click("#details summary")
    expect(page.locator("#details")).to_contain_text("disc-cup 2026.2.1")
    expect(page.locator("#details .digest")).to_have_text(re.compile("[0-9a-f]{64}"))
    expect(page.locator("#details")).to_contain_text("640 × 480, JPEG")


def test_a_large_cup_is_called_suspect(page: Page) -> None:
    give_and_wait(page, photograph(disc=60, cup=50))
    expect(page.locator(".reading")).to_contain_text("suspect")


def test_the_example_is_a_click_away(page: Page) -> None:
    page.click("#sample")
    expect(page.locator("#file")).to_have_text("normal_left_eye.jpg")
    expect(page.locator("#vertical, .refused").first).to_be_visible()
    expect(page.locator("#eye-left")).to_be_checked()  # read from the name


def test_a_photograph_without_a_disc_gets_reasons_in_words_and_no_ratio(page: Page) -> None:
    give_and_wait(page, photograph(disc=0, cup=0))
    expect(page.locator(".refused")).to_contain_text("No optic disc was found.")
    expect(page.locator("#vertical")).to_have_count(0)


@pytest.mark.parametrize(
    ("content", "sentence", "code"),
    [
        (b"%PDF-1.7 no photograph", "This file is not a photograph that can be read.", "unsupported_format"),
        (EYE[: len(EYE) // 2], "The file is damaged or incomplete.", "unreadable_photograph"),
        (encode(draw_eye()[:40, :40], "PNG"), "The photograph is too small to outline a disc.", "too_few_pixels"),
        (b"", "The file is empty.", "empty_photograph"),
    ],
)
def test_an_error_is_a_sentence_with_what_to_do(page: Page, content: bytes, sentence: str, code: str) -> None:
    give_and_wait(page, file("wrong.jpg", content))
    failure = page.get_by_role("alert").filter(has_text=sentence)
    expect(failure).to_contain_text(code)
    expect(failure.locator("p").first).not_to_be_empty()
    failure.get_by_role("button", name="Remove").click()
    expect(page.locator("#start")).to_be_visible()


def test_a_service_that_cannot_be_reached_can_be_tried_again(page: Page) -> None:
    page.route("**/v1/segmentations*", lambda route: route.abort())
    give_and_wait(page, photograph())
    expect(page.locator(".failure")).to_contain_text("The service cannot be reached.")
    page.unroute("**/v1/segmentations*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#vertical")).to_be_visible()


def test_progress_is_shown_while_the_service_works(page: Page) -> None:
    held: list[Any] = []
    page.route("**/v1/segmentations*", lambda route: held.append(route))
    give(page, photograph())
    expect(page.locator("#working")).to_be_visible()
    expect(page.locator("#working-bar")).to_be_visible()
    page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.locator("#vertical")).to_be_visible()
    expect(page.locator("#working")).to_be_hidden()


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_photograph_can_be_pasted_or_dropped(page: Page, how: str) -> None:
    carried = page.evaluate_handle(AS_FILES, list(EYE))
    page.evaluate(
        """([how, carried]) => document.dispatchEvent(how === "paste"
          ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true })
          : new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }))""",
        [how, carried],
    )
    expect(page.locator("#file")).to_have_text("carried.jpg")
    expect(page.locator("#vertical")).to_be_visible()


def test_several_photographs_make_a_table_that_sorts(page: Page) -> None:
    eyes = [photograph(f"{cup}.jpg", disc=60, cup=cup) for cup in (30, 45, 20)]
    give_and_wait(page, *eyes, file("wrong.jpg", b"no photograph"))
    names = page.locator(".photographs .open")
    expect(names).to_have_text(["30.jpg", "45.jpg", "20.jpg", "wrong.jpg"])
    page.get_by_role("button", name="Vertical ratio").click()
    expect(names).to_have_text(["20.jpg", "30.jpg", "45.jpg", "wrong.jpg"])
    expect(page.get_by_role("columnheader", name="Vertical ratio")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Vertical ratio").click()
    expect(names).to_have_text(["45.jpg", "30.jpg", "20.jpg", "wrong.jpg"])  # unknown stays last
    assert sum(colour_at(page, 0.5, 0.5, ".thumbnail")) > 300  # the cup's yellow
    names.first.click()
    expect(page.locator("#file")).to_have_text("45.jpg")
    page.click("#previous")
    expect(page.locator("#file")).to_have_text("30.jpg")  # as they were added
    expect(page.locator("#previous")).to_be_disabled()


def test_right_and_left_eye_of_one_name_are_paired(page: Page) -> None:
    give_and_wait(page, photograph("Doe_OD.jpg", disc=60, cup=30), photograph("Doe_OS.jpg", disc=60, cup=48))
    page.click("[data-go=pairs]")
    # 0.30 as drawn; the edge of a disc of 60 pixels is known to a pixel
    expect(page.locator(".asymmetry")).to_have_text(re.compile(r"0\.(28|29|30|31|32)"))
    expect(page.locator(".pair .reading")).to_contain_text("suspect")
    page.locator(".pair .open").first.click()
    expect(page.locator("#file")).to_have_text("Doe_OD.jpg")


def test_any_two_photographs_can_be_paired_by_hand(page: Page) -> None:
    give_and_wait(page, photograph("one.jpg", cup=30), photograph("two.jpg", cup=42))
    page.click("[data-go=pairs]")
    expect(page.locator(".pair")).to_have_count(0)
    page.select_option("#pair-right", label="one.jpg")
    page.select_option("#pair-left", label="two.jpg")
    expect(page.locator(".asymmetry")).to_have_text(re.compile(r"0\.(1[6-9]|2[0-4])"))


@pytest.mark.parametrize(
    ("name", "eye"),
    [("a_OD.jpg", "right"), ("IMG-L.png", "left"), ("normal_left_eye.jpg", "left"), ("r1_Im001.jpg", "unknown"),
     ("orlando.jpg", "unknown"), ("rightEye.jpg", "right"), ("OD and OS.jpg", "unknown")],
)  # fmt: skip
def test_the_eye_is_read_from_the_name_only_where_it_is_told(page: Page, name: str, eye: str) -> None:
    found = page.evaluate("async (name) => (await import('/page/words.js')).eyeInName(name)", name)
    assert found == eye


def test_the_rims_sectors_are_named_once_the_eye_is_told(page: Page) -> None:
    give_and_wait(page, photograph())
    sectors = page.locator(".rim tbody th")
    expect(sectors).to_have_text(["Picture right", "Superior", "Picture left", "Inferior"], use_inner_text=True)
    page.locator("#eye-right").check()
    expect(sectors).to_have_count(6)
    expect(page.locator(".rim")).to_contain_text("Inferotemporal")
    widths = page.locator(".rim tbody td").all_inner_texts()
    assert all(0.2 < float(width) < 0.3 for width in widths)  # (60 - 30) / 120 everywhere


def test_cups_are_drawn_as_by_whoever_is_chosen(page: Page) -> None:
    give_and_wait(page, *(photograph(name, disc=60, cup=30) for name in ("first.jpg", "second.jpg")))
    page.locator(".photographs .open").first.click()
    chosen = page.get_by_label(CHOICE)
    expect(chosen).to_have_value("narrow")
    usual = re.compile(r"0\.(49|50|51)")
    expect(page.locator("#vertical")).to_have_text(usual)
    chosen.select_option("wide")
    expect(page.locator("#vertical")).not_to_have_text(usual)
    wide = page.locator("#vertical").inner_text()
    assert float(wide) > 0.7
    page.click("#next")
    expect(page.locator("#vertical")).to_have_text(wide)
    expect(page.get_by_label(CHOICE)).to_have_value("wide")
    with page.expect_download() as download:
        page.locator("#save-json").click()
    assert '"convention": "wide"' in Path(download.value.path()).read_text()
    page.get_by_label(CHOICE).select_option("narrow")
    expect(page.locator("#vertical")).to_have_text(usual)


def test_the_choice_stays_under_the_fingers_and_nothing_is_saved_of_two_minds(page: Page) -> None:
    give_and_wait(page, photograph(disc=60, cup=30))
    page.route("**/v1/segmentations?*wide*", lambda route: None)  # no answer
    page.get_by_label(CHOICE).focus()
    page.get_by_label(CHOICE).select_option("wide")
    expect(page.get_by_label(CHOICE)).to_have_value("wide")
    expect(page.get_by_label(CHOICE)).to_be_focused()
    for button in ("#correct", "#save-json", "#save-overlay"):
        expect(page.locator(button)).to_be_disabled()


def test_a_version_that_goes_by_looks_can_be_gone_back_to(page: Page) -> None:
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    def by_looks(route: Route) -> None:
        body = route.fetch().json()
        route.fulfill(json={**body, "convention": None})

    page.route("**/v1/versions/*", by_looks)
    page.reload()
    give_and_wait(page, photograph(disc=60, cup=30))
    choice = page.get_by_label(CHOICE)
    expect(choice).to_have_value("")
    choice.select_option("wide")
    expect(page.locator("#save-json")).to_be_enabled()
    choice.select_option("nobody in particular")
    expect(page.locator("#save-json")).to_be_enabled()
    assert ["convention=wide" in url for url in asked if "v1/segmentations" in url] == [False, True, False]


def test_names_that_come_late_can_still_be_chosen(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/versions/*", lambda route: held.append(route))  # Playwright cannot mark a built-in method
    page.reload()
    give_and_wait(page, photograph(disc=60, cup=30))
    expect(page.get_by_label(CHOICE)).to_have_count(0)
    held[0].continue_()
    expect(page.get_by_label(CHOICE)).to_have_value("narrow")


def test_a_choice_that_a_new_version_does_not_know_is_given_up(page: Page) -> None:
    unknown = {"code": "convention_not_found", "status": 404, "detail": "no"}
    page.route("**/v1/segmentations?*wide*", lambda route: route.fulfill(status=404, json=unknown))
    give_and_wait(page, photograph(disc=60, cup=30))
    page.get_by_label(CHOICE).select_option("wide")
    expect(page.locator("#banner")).to_contain_text("cannot draw these experts")
    expect(page.get_by_label(CHOICE)).to_have_value("narrow")
    expect(page.locator("#save-json")).to_be_enabled()
    expect(page.locator("#vertical")).to_have_text(re.compile(r"0\.(49|50|51)"))


def test_zoom_shows_the_disc_and_the_whole(page: Page) -> None:
    give_and_wait(page, photograph())
    expect(page.locator("#map")).to_be_visible()  # it begins with the disc
    assert colour_at(page, 0.5, 0.5)[1] > 180  # the cup
    page.click("[data-zoom=whole]")
    expect(page.locator("#map")).to_be_hidden()
    page.focus("#canvas")
    page.keyboard.press("1")
    expect(page.locator("#map")).to_be_visible()
    page.keyboard.press("0")
    expect(page.locator("#map")).to_be_hidden()
    for _ in range(3):
        page.keyboard.press("+")
    expect(page.locator("#map")).to_be_visible()


def test_dragging_and_arrow_keys_pan(page: Page) -> None:
    give_and_wait(page, photograph())
    before = colour_at(page, 0.5, 0.5)
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 200, steps=4)
    page.mouse.up()
    assert colour_at(page, 0.5, 0.5) != before
    page.focus("#canvas")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    assert abs(colour_at(page, 0.5, 0.5)[1] - before[1]) > 20  # past the disc on the other side


def test_layers_can_be_hidden_and_the_green_channel_shown(page: Page) -> None:
    give_and_wait(page, photograph())
    page.click("[data-zoom=disc]")

    def bluest() -> int:  # on a line from the cup to the rim: outlines are blue, an eye is not
        return max(colour_at(page, 0.5, 0.5 + share / 1000)[2] for share in range(130, 156, 2))

    assert bluest() > 220
    page.locator("#show-cup").uncheck()
    assert bluest() < 200
    page.locator("#red-free").check()
    page.wait_for_timeout(300)
    red, green, blue = colour_at(page, 0.5, 0.5)
    assert red == green == blue


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP", "PNG"])
def test_every_format_is_shown(page: Page, kind: str) -> None:
    give_and_wait(page, photograph(f"eye.{kind.lower()}", kind))
    expect(page.locator("#map")).to_be_visible()
    page.wait_for_timeout(200)
    assert colour_at(page, 0.5, 0.5)[0] > 200


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    seen: list[str] = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
        if seen[-1] == "choose":
            break
    assert seen[-1] == "choose"
    give_and_wait(page, photograph())
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "correct":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#canvas")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=scheme)
    fits = "document.documentElement.scrollWidth <= 390"
    assert page.evaluate(fits)
    expect(page.get_by_role("button", name="Take a photograph")).to_be_visible()
    name = "a_very_long_name_of_a_photograph_as_cameras_give_them_20261123_OD.jpg"
    give_and_wait(page, photograph(name))
    assert page.evaluate(fits)
    page.tap("#correct")
    assert page.evaluate(fits)
    page.tap("#done")
    give(page, photograph("b_OS.jpg"))
    expect(page.locator("#tally")).to_have_text(re.compile("^2 done"))
    assert page.evaluate(fits)
    page.tap("[data-go=pairs]")
    assert page.evaluate(fits)


def test_the_colours_follow_the_system_until_they_are_chosen(visit: Callable[..., Page]) -> None:
    page = visit(color_scheme="dark")
    background = "getComputedStyle(document.body.parentElement).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(background) != dark
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
