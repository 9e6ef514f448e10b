"""What a person takes home: overlay, mask, numbers, report, table."""

import csv
import io
import json

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from tests.service.page.conftest import file, give_and_wait, photograph, saved


def test_overlay_mask_and_numbers(page: Page) -> None:
    give_and_wait(page, photograph("An eye.jpg", disc=60, cup=30))
    overlay = saved(page, "#save-overlay")
    assert overlay.name == "An_eye.overlay.png"
    with Image.open(overlay) as picture:
        assert picture.size == (640, 480)
    with Image.open(saved(page, "#save-mask")) as mask:
        assert np.unique(np.asarray(mask)).tolist() == [0, 1, 2]
    answer = json.load(saved(page, "#save-json"))
    assert answer["gradable"]
    assert answer["image"] == {"width": 640, "height": 480, "format": "JPEG"}


def test_the_report_is_a_pdf(page: Page) -> None:
    give_and_wait(page, photograph("eye.jpg"))
    report = saved(page, "#save-pdf")
    assert report.name == "eye.report.pdf"
    assert report.getvalue().startswith(b"%PDF-")


def test_the_table_holds_every_photograph_and_no_formula(page: Page) -> None:
    give_and_wait(
        page, photograph("a,b.jpg", disc=60, cup=30), photograph("=1+1.jpg", disc=0, cup=0), file("x.jpg", b"no")
    )
    rows = list(csv.DictReader(io.TextIOWrapper(saved(page, "#csv"), encoding="utf-8", newline="")))
    assert [row["file"] for row in rows] == ["a,b.jpg", "'=1+1.jpg", "x.jpg"]
    assert [row["gradable"] for row in rows] == ["true", "false", ""]
    assert abs(float(rows[0]["vertical_ratio"]) - 0.5) < 0.01
    assert "disc_not_found" in rows[1]["reasons"].split()
    assert rows[1]["vertical_ratio"] == ""
    assert rows[2]["error"] == "unsupported_format"
