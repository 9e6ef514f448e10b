"""Outlines are pulled into shape, the service measures them, and training reads what is saved."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from model import biomarkers
from model.images import decode
from tests.service.conftest import draw_eye
from tests.service.page.conftest import file, give, give_and_wait, photograph, saved
from training.sources.folder import read_source


@pytest.fixture
def correcting(page: Page) -> Page:
    """A drawn eye of ratio 0.5, its outlines open for correction."""
    give_and_wait(page, photograph("eye.png", "PNG", disc=60, cup=30))
    page.click("#correct")
    return page


def number(locator: Locator) -> float:
    expect(locator).to_have_text(re.compile(r"^\d\.\d\d$"))
    return float(locator.inner_text())


def press(page: Page, key: str, times: int) -> None:
    page.focus("#canvas")
    for _ in range(times):
        page.keyboard.press(key)
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def test_dragging_a_point_of_the_cup_changes_the_ratio(correcting: Page) -> None:
    box = correcting.locator("#canvas").bounding_box()
    assert box
    pixel = box["height"] / (1.75 * 120)  # on the screen; the view shows 1.75 disc diameters
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 - 30 * pixel
    correcting.mouse.move(x, y)
    correcting.mouse.down()
    correcting.mouse.move(x, y - 12 * pixel, steps=5)
    correcting.mouse.up()
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.6, abs=0.02)  # 12 of 120 rows more
    assert number(correcting.locator("#vertical")) == pytest.approx(0.5, abs=0.01)


def test_keys_move_a_point_and_undo_takes_it_back(correcting: Page) -> None:
    press(correcting, "ArrowUp", 6)
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.55, abs=0.015)
    press(correcting, "Control+z", 3)
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.525, abs=0.015)
    press(correcting, "Control+z", 3)
    expect(correcting.locator("#vertical-corrected")).to_have_text("–")
    press(correcting, "Control+Shift+Z", 6)
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.55, abs=0.015)


def test_a_whole_outline_moves_and_grows(correcting: Page) -> None:
    correcting.locator("[name=drag][value=move]").check()
    press(correcting, "ArrowRight", 5)
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.5, abs=0.015)
    correcting.locator("[name=drag][value=size]").check()
    press(correcting, "ArrowUp", 12)
    assert number(correcting.locator("#vertical-corrected")) == pytest.approx(0.7, abs=0.02)  # radius 30 + 12 of 60
    correcting.get_by_role("button", name="Start over").click()
    expect(correcting.locator("#vertical-corrected")).to_have_text("–")


def test_an_outline_that_crosses_itself_is_refused_in_words(correcting: Page) -> None:
    press(correcting, "Shift+ArrowDown", 14)  # the top point pulled far below the bottom
    expect(correcting.locator(".note.warn")).to_contain_text("This outline cannot be measured.")


def test_the_corrected_mask_is_read_as_training_data(correcting: Page, tmp_path: Path) -> None:
    press(correcting, "ArrowUp", 8)
    corrected = number(correcting.locator("#vertical-corrected"))
    correcting.click("#done")
    archive = saved(correcting, "#save-training")
    assert archive.name == "eye.corrected.zip"
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        opened.extractall(tmp_path)
    (example,) = read_source(tmp_path, "corrected")
    assert (example.id, example.view, example.cup_annotated) == ("eye", "crop", True)  # disc: 120 of 480 rows
    np.testing.assert_array_equal(example.read_photograph(), draw_eye(disc=60, cup=30))  # the file as it came
    ratios = biomarkers.measure(example.read_labels((480, 640))).ratios
    assert ratios
    assert round(ratios.vertical, 2) == corrected  # the very pixels that the service measured


def test_a_part_that_nobody_touched_stays_as_the_network_drew_it(correcting: Page, tmp_path: Path) -> None:
    press(correcting, "ArrowUp", 2)
    correcting.click("#done")
    network = decode(saved(correcting, "#save-mask").getvalue()).pixels.any(axis=2)  # disc or cup
    with zipfile.ZipFile(saved(correcting, "#save-training")) as opened:
        opened.extractall(tmp_path)
    (example,) = read_source(tmp_path, "corrected")
    np.testing.assert_array_equal(example.read_labels((480, 640)) > 0, network)


def test_several_corrected_photographs_are_saved_together(page: Page, tmp_path: Path) -> None:
    give_and_wait(page, photograph("eye.tif", "TIFF"), photograph("eye.jpg"), photograph("untouched.jpg"))
    for i in (0, 1):
        page.locator(".photographs .open").nth(i).click()
        page.click("#correct")
        press(page, "ArrowUp", 3)
        page.click("#done")
        page.click("[data-go=all]")
    expect(page.locator("td.state .mine")).to_have_count(2)
    with zipfile.ZipFile(saved(page, "#training")) as opened:
        opened.extractall(tmp_path)
    examples = read_source(tmp_path, "corrected")
    assert [(example.id, example.image.suffix) for example in examples] == [("eye", ".png"), ("eye-2", ".jpg")]
    np.testing.assert_array_equal(examples[0].read_photograph(), draw_eye())


def test_what_the_network_refused_can_be_outlined_by_hand(page: Page) -> None:
    give(page, photograph(disc=0, cup=0))
    page.get_by_role("button", name="Outline by hand").click()
    assert number(page.locator("#vertical-corrected")) == pytest.approx(0.5, abs=0.01)  # two plain ellipses
    expect(page.locator(".note")).to_contain_text("not as a finding")


def test_a_correction_is_measured_anew_when_the_eye_is_told(correcting: Page) -> None:
    press(correcting, "ArrowUp", 2)
    correcting.click("#done")
    expect(correcting.locator(".rim tbody th")).to_have_count(4)
    correcting.locator("#eye-left").check()
    expect(correcting.locator(".rim tbody th")).to_have_count(6)


def test_a_file_that_failed_has_nothing_to_correct(page: Page) -> None:
    give_and_wait(page, file("wrong.jpg", b"no photograph"))
    expect(page.locator("#correct")).to_have_count(0)
