"""Pictures and numbers of the way of one photograph, the CC0 example, through the version that ships."""

import functools
import io
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import reference
from fastapi.testclient import TestClient
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from model import biomarkers, images
from model.biomarkers import Box, Measurements
from model.masks import Label
from model.segmentation import Segmentation
from model.segmenter import Segmenter

matplotlib.use("Agg")
EXAMPLE = Path(__file__).parents[1] / "examples" / "normal_left_eye.jpg"
INK = "#808891"  # legible on the light and on the dark page
DISC, CUP = "#00d46a", "#3090ff"


class Way:
    """Everything that happens to the photograph, in the order in which it happens."""

    def __init__(self) -> None:
        self.segmenter = Segmenter(reference.version())
        self.photograph = images.decode(EXAMPLE.read_bytes()).pixels
        works = self.segmenter._locate([self.photograph])  # its own steps: the figures show no second copy of them
        self.field = works[0].field
        self.segmenter._outline(works)
        self.roi, self.probabilities = works[0].roi, works[0].probabilities
        self.answer: Segmentation = self.segmenter.segment([self.photograph])[0]
        self.measured: Measurements = biomarkers.measure(self.answer.drawn)


@functools.cache
def way() -> Way:
    """Computed once for all pages."""
    return Way()


def make() -> dict[str, bytes]:
    """Name → PNG."""
    return {"region": _region(), "probabilities": _probabilities(), "ratio": _ratio(), "rim": _rim()}


def _region() -> bytes:
    """The photograph with its field of view and the region that the segmenter sees."""
    here = way()
    figure, (whole, cut) = _axes(2)
    whole.imshow(here.photograph, interpolation="antialiased")
    edge = cv2.resize(here.field.inside, here.photograph.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    whole.contour(edge, levels=[0.5], colors=["white"], linewidths=1, linestyles="dashed")
    roi = here.roi
    whole.add_patch(Rectangle((roi.left, roi.top), roi.side, roi.side, fill=False, edgecolor=DISC, linewidth=1.6))
    cut.imshow(roi.cut(here.photograph, 480), interpolation="antialiased")
    _titles(
        (whole, "the photograph: field of view (dashed),\nregion of interest (green)"), (cut, "the region of interest")
    )
    return _png(figure)


def _probabilities() -> bytes:
    """What the network says about each pixel of the region, and the masks that this gives."""
    here = way()
    figure, axes = _axes(3)
    for axis, channel, name in zip(axes, (0, 1), ("disc", "cup"), strict=False):
        axis.imshow(here.probabilities[..., channel], vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        axis.set_title(f"probability of {name}\n(white is 1)", color=INK, fontsize=9)
    axes[2].imshow(_around(here.photograph), interpolation="antialiased")
    _outlines(axes[2])
    axes[2].set_title("the masks, in the\nphotograph's own pixels", color=INK, fontsize=9)
    return _png(figure)


def _ratio() -> bytes:
    """Disc and cup with the two heights whose quotient is the vertical ratio."""
    here = way()
    figure, (axis,) = _axes(1)
    axis.imshow(_around(here.photograph), interpolation="antialiased")
    _outlines(axis)
    roi = here.roi
    for region, colour, side in ((here.measured.disc, DISC, -1), (here.measured.cup, CUP, 1)):
        box = region.box
        top, bottom = box.top - roi.top, box.top + box.height - roi.top
        disc = here.measured.disc.box
        x = (disc.left - 34 if side < 0 else disc.left + disc.width + 34) - roi.left
        axis.annotate("", (x, top), (x, bottom), arrowprops={"arrowstyle": "<->", "color": colour, "linewidth": 1.5})
        for y in (top, bottom):
            middle = region.centre.x - roi.left
            axis.plot([x, middle], [y, y], color=colour, linewidth=0.8, linestyle="dotted")
        horizontal = {"ha": "right" if side < 0 else "left", "va": "center", "color": "white", "fontsize": 9}
        name = "disc" if side < 0 else "cup"
        axis.text(x + 8 * side, (top + bottom) / 2, f"{name}\n{box.height} px", **horizontal)
    return _png(figure)


def _rim() -> bytes:
    """The sectors of the rim, and where it is thinnest in each."""
    here = way()
    figure, (axis,) = _axes(1)
    axis.imshow(_around(here.photograph), interpolation="antialiased")
    labels, disc = _around(here.answer.drawn), here.measured.disc
    x, y = disc.centre.x - here.roi.left, disc.centre.y - here.roi.top
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]] + 0.5
    degrees = np.degrees(np.arctan2(y - rows, columns - x))  # of a left eye: temporal is on the picture's right
    tint = np.zeros((*labels.shape, 4))
    for number, (first, last) in enumerate(biomarkers.SECTORS.values()):
        part = ((degrees - first) % 360 < last - first) & (labels == Label.RIM)
        tint[part] = (*matplotlib.colormaps["Set2"](number)[:3], 0.75)
    axis.imshow(tint)
    _outlines(axis)
    reach = 0.58 * max(disc.box.width, disc.box.height)
    for name, (first, last) in biomarkers.SECTORS.items():
        middle = np.radians((first + last) / 2)
        place = (x + reach * np.cos(middle), y - 1.05 * reach * np.sin(middle))
        axis.text(*place, name, ha="left" if np.cos(middle) > 0 else "right", va="center", color="white", fontsize=8)
    return _png(figure)


def sectors() -> str:
    """The sectors' limits, and the rim's width in each for the example."""
    widths = biomarkers.rim_widths(way().answer.drawn, "left")
    rows = []
    for sector, (first, last) in zip(widths, biomarkers.SECTORS.values(), strict=True):
        numbers = (sector.width, sector.smallest, sector.width_in_disc_diameters, sector.smallest_in_disc_diameters)
        rows.append((sector.name, f"{first}° to {last}°", *(f"{n:.1f}" if n > 1 else f"{n:.3f}" for n in numbers)))
    head = ("sector", "angles", "mean, px", "smallest, px", "mean, disc diameters", "smallest, disc diameters")
    return reference.table(head, rows) + "\n\nThe widths are those of the example, a left eye."


def _outlines(axis: Axes) -> None:
    labels = _around(way().answer.drawn)
    axis.contour(labels >= Label.RIM, levels=[0.5], colors=[DISC], linewidths=1.4)
    axis.contour(labels == Label.CUP, levels=[0.5], colors=[CUP], linewidths=1.4)


def _around(image: np.ndarray) -> np.ndarray:
    """The region of interest, in native pixels."""
    return way().roi.cut(image, way().roi.side)


def _axes(count: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(3.2 * count + 0.2, 3.95 if count > 1 else 3.3), dpi=110, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def _titles(*titles: tuple[Axes, str]) -> None:
    for axis, text in titles:
        axis.set_title(text, color=INK, fontsize=9)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True, bbox_inches="tight", pad_inches=0.02)
    return file.getvalue()


@functools.cache
def answer() -> str:
    """The service's own answer for the example, without the masks."""
    with TestClient(reference.service()) as client:
        body = client.post("/v1/segmentations", params={"masks": "none"}, files={"image": EXAMPLE.read_bytes()}).json()
    return f"```json\n{reference.compact(body)}\n```"


def numbers() -> str:
    """How the three ratios of the example come about."""
    measured = way().measured
    disc, cup, ratios = measured.disc, measured.cup, measured.ratios
    rows = [
        ("vertical", _quotient(cup.box, disc.box, "height"), f"{ratios.vertical:.4f}"),
        ("horizontal", _quotient(cup.box, disc.box, "width"), f"{ratios.horizontal:.4f}"),
        ("area", f"{cup.area} ÷ {disc.area} pixels", f"{ratios.area:.4f}"),
    ]
    text = f"The example, by version {reference.version().manifest.version}:\n\n"
    return text + reference.table(("ratio", "cup ÷ disc", "gives"), rows)


def _quotient(cup: Box, disc: Box, side: str) -> str:
    return f"{getattr(cup, side)} ÷ {getattr(disc, side)} pixels"
