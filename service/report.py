"""One photograph's answer as a page of PDF, to be kept with the notes of a study. Pure functions."""

import io
from datetime import datetime

import cv2
import numpy as np
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm as reportlab_mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from service import rendering
from service.schemas import Reason, SegmentationAnswer

REASONS: dict[Reason, str] = {
    "disc_not_found": "No optic disc was found.",
    "too_blurred": "The photograph is too blurred around the disc.",
    "outside_training_distribution": "The photograph is unlike those that the networks learned from.",
    "cup_uncertain": "The cup's edge cannot be told with confidence.",
}
EYES = {"right": "Right eye", "left": "Left eye", "unknown": "Eye not told"}
NOTES = (
    "The ratios are cup over disc: of heights (vertical), of widths (horizontal) and of areas. The true vertical ratio",
    "lies in the interval for the share of photographs that it names. The rim's width is measured along rays from the",
    "disc's centre; a disc diameter is that of the circle of its area. Sectors of a known eye: Garway-Heath 2000.",
)
UNKNOWN = "-"
TERMS = "For research and education. Not a diagnosis, not a medical device."

INK, GREY, LINE, WARNING = (HexColor(colour) for colour in ("#14211d", "#5b6b66", "#c9d3cf", "#9a4a00"))
DISC_INK, CUP_INK = HexColor("#00a35c"), HexColor("#1668c7")  # darker than on the photograph: the page is white
mm: float = reportlab_mm
LEFT, RIGHT, TOP, BOTTOM = 18 * mm, A4[0] - 18 * mm, A4[1] - 18 * mm, 16 * mm
SIDE: float = (RIGHT - LEFT - 6 * mm) / 2  # of each picture
PICTURE_PIXELS = 1000  # along the longer side
CLOSE_UP = 1.8  # sides of the disc's box


def pdf(photograph: np.ndarray, label_mask: np.ndarray, answer: SegmentationAnswer, made: datetime) -> bytes:
    """The page.

    Args:
        photograph: (H, W, 3) uint8 RGB; of it only the pictures on the page are kept, no file name and no EXIF.
        label_mask: (H, W) uint8 of `Label`, as it may be shown.
        made: UTC; printed on the page.
    """
    file = io.BytesIO()
    page = Canvas(file, A4, pageCompression=0, lang="en")
    page.setTitle("Optic disc and cup")
    page.setAuthor("")
    page.setSubject("")
    page.setCreator("CupDisc")
    y = _heading(page, answer, made)
    y = _verdict(page, y, answer)
    y = _pictures(page, y, photograph, label_mask, answer)
    _rim(page, LEFT, y, answer)
    _regions(page, LEFT + SIDE + 6 * mm, y, answer)
    _footing(page, answer)
    page.showPage()
    page.save()
    return file.getvalue()


def _heading(page: Canvas, answer: SegmentationAnswer, made: datetime) -> float:
    _text(page, LEFT, TOP, "Optic disc and cup", 20, bold=True)
    _text(page, RIGHT, TOP, f"{EYES[answer.laterality]}", 12, align="right")
    _text(page, LEFT, TOP - 6 * mm, "CupDisc, from one colour fundus photograph", 9, GREY)
    _text(page, RIGHT, TOP - 6 * mm, f"made {made:%Y-%m-%d %H:%M} UTC", 9, GREY, align="right")
    return _rule(page, TOP - 9 * mm)


def _verdict(page: Canvas, y: float, answer: SegmentationAnswer) -> float:
    ratios = answer.cup_to_disc_ratio
    if ratios is None:
        _text(page, LEFT, y - 9 * mm, "Not gradable: no ratio", 16, WARNING, bold=True)
        for row, reason in enumerate(answer.reasons):
            _text(page, LEFT, y - (15 + 5 * row) * mm, REASONS[reason], 10)
        return y - 27 * mm
    _text(page, LEFT, y - 6 * mm, "Vertical cup-to-disc ratio", 9, GREY)
    _text(page, LEFT, y - 18 * mm, f"{ratios.vertical:.2f}", 34, bold=True)
    if interval := ratios.vertical_interval:
        x = LEFT + 28 * mm
        _text(page, x, y - 13.5 * mm, f"{interval.low:.2f} to {interval.high:.2f}", 12)
        _text(page, x, y - 18 * mm, f"{interval.coverage:.0%} interval", 9, GREY)
    for x, name, value in ((100, "Horizontal", ratios.horizontal), (130, "Area", ratios.area)):
        _text(page, x * mm, y - 6 * mm, name, 9, GREY)
        _text(page, x * mm, y - 18 * mm, f"{value:.2f}", 20)
    _text(page, RIGHT, y - 6 * mm, "Verdict", 9, GREY, align="right")
    _text(page, RIGHT, y - 18 * mm, "Gradable", 14, align="right")
    return y - 27 * mm


def _pictures(
    page: Canvas, y: float, photograph: np.ndarray, label_mask: np.ndarray, answer: SegmentationAnswer
) -> float:
    height, width = photograph.shape[:2]
    views = [(slice(0, height), slice(0, width), "The photograph")]
    if answer.disc:
        box = answer.disc.box
        half = CLOSE_UP * max(box.width, box.height) / 2
        x, down = box.left + box.width / 2, box.top + box.height / 2
        rows = slice(max(0, int(down - half)), int(np.ceil(down + half)))
        columns = slice(max(0, int(x - half)), int(np.ceil(x + half)))
        views.append((rows, columns, "The disc"))
    shown = label_mask if answer.gradable else np.zeros_like(label_mask)  # as in the overlay
    for place, (rows, columns, name) in enumerate(views):
        left = LEFT + place * (SIDE + 6 * mm)
        _text(page, left, y - 4 * mm, name, 9, GREY)
        picture = _picture(photograph[rows, columns], shown[rows, columns])
        page.drawImage(
            ImageReader(io.BytesIO(picture)), left, y - 6 * mm - SIDE, SIDE, SIDE, preserveAspectRatio=True, anchor="nw"
        )
    if answer.gradable:
        _text(page, RIGHT, y - 4 * mm, "cup", 9, CUP_INK, bold=True, align="right")
        _text(page, RIGHT - 9 * mm, y - 4 * mm, "disc", 9, DISC_INK, bold=True, align="right")
    return y - SIDE - 16 * mm


def _picture(photograph: np.ndarray, label_mask: np.ndarray) -> bytes:
    """A JPEG of the size that the page shows, outlines as thin as there."""
    scale = PICTURE_PIXELS / max(photograph.shape[:2])
    size = [max(1, round(side * scale)) for side in photograph.shape[1::-1]]
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    labels = np.zeros(size[::-1], np.uint8)
    for label in (1, 2):  # a picture only: nothing is measured in it
        share = cv2.resize((label_mask >= label).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        labels += (share >= 0.5).astype(np.uint8)
    drawn = rendering.outlined(cv2.resize(photograph, size, interpolation=smooth), labels)
    return cv2.imencode(".jpg", drawn, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tobytes()


def _rim(page: Canvas, x: float, y: float, answer: SegmentationAnswer) -> None:
    names = {"left": "Left in the picture", "right": "Right in the picture"}
    _text(page, x, y, "Rim width, in disc diameters", 11, bold=True)
    if answer.rim is None:
        _text(page, x, y - 6 * mm, "Unknown without a ratio.", 9, GREY)
        return
    rows: list[tuple[str, ...]] = [("", "mean", "smallest")]
    for one in answer.rim.sectors:
        widths = (one.width_in_disc_diameters, one.smallest_in_disc_diameters)
        rows.append((names.get(one.name, one.name.capitalize()), *(f"{width:.2f}" for width in widths)))
    _table(page, x, y - 6 * mm, rows)


def _regions(page: Canvas, x: float, y: float, answer: SegmentationAnswer) -> None:
    _text(page, x, y, "Disc and cup, in pixels", 11, bold=True)
    if answer.disc is None:
        _text(page, x, y - 6 * mm, "Unknown: no disc was found.", 9, GREY)
        return
    found = (answer.disc, answer.cup)
    rows: list[tuple[str, ...]] = [
        ("", "disc", "cup"),
        ("Height", *(str(one.box.height) if one else UNKNOWN for one in found)),
        ("Width", *(str(one.box.width) if one else UNKNOWN for one in found)),
        ("Area", *(str(one.area) if one else UNKNOWN for one in found)),
        ("Confidence, 0 to 1", *(f"{one.confidence:.2f}" if one else UNKNOWN for one in found)),
        ("Distance from training, 1 is typical", f"{answer.quality.distance_from_training:.1f}"),
        ("Photograph", f"{answer.image.width} x {answer.image.height}"),
    ]
    _table(page, x, y - 6 * mm, rows)


def _footing(page: Canvas, answer: SegmentationAnswer) -> None:
    used = answer.version
    for row, line in enumerate(reversed(NOTES)):
        _text(page, LEFT, BOTTOM + (20 + 4.5 * row) * mm, line, 8.5, GREY)
    _rule(page, BOTTOM + 16 * mm)
    _text(page, LEFT, BOTTOM + 10 * mm, TERMS, 10, bold=True)
    whose = f", cups as drawn by {used.convention[:40]}" if used.convention else ""
    _text(page, LEFT, BOTTOM + 5 * mm, f"{used.name} {used.version}{whose}, {used.engine} {used.precision}", 8, GREY)
    _text(page, LEFT, BOTTOM + 1 * mm, f"sha256 {used.sha256}", 8, GREY)


def _table(page: Canvas, x: float, y: float, rows: list[tuple[str, ...]]) -> None:
    """The first column to the left, numbers to the right, the first row as heading."""
    for number, (name, *cells) in enumerate(rows):
        down = y - number * 5 * mm
        _text(page, x, down, name, 9)
        for column, cell in enumerate(cells):
            right = x + SIDE - (len(cells) - 1 - column) * 18 * mm
            _text(page, right, down, cell, 9, INK if number else GREY, align="right")


def _rule(page: Canvas, y: float) -> float:
    page.setStrokeColor(LINE)
    page.setLineWidth(0.6)
    page.line(LEFT, y, RIGHT, y)
    return y


def _text(
    page: Canvas,
    x: float,
    y: float,
    text: str,
    size: float,
    colour: HexColor = INK,
    bold: bool = False,
    align: str = "left",
) -> None:
    page.setFont("Helvetica-Bold" if bold else "Helvetica", size)
    page.setFillColor(colour)
    (page.drawRightString if align == "right" else page.drawString)(x, y, text)
