"""Every layout that a preset can name: its reader, what can be chosen in it, and the terms it comes under."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from training.sources import (
    drions_db,
    drishti_gs1,
    folder,
    g1020,
    idrid,
    origa,
    papila,
    refuge,
    rim_one_dl,
    rim_one_r3,
)
from training.sources.example import Example

TRAINING_OR_TEST = ("all", "training", "test")


@dataclass(frozen=True)
class Layout:
    """How a data set lies on the disk.

    `options` are keyword arguments of `read` with their possible values; the first is what it takes by itself.
    """

    read: Callable[..., list[Example]]
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    terms: str = ""
    citation: str = ""


LAYOUTS = {
    "folder": Layout(folder.read_source),
    "rim-one-dl": Layout(
        rim_one_dl.read_source,
        {"part": TRAINING_OR_TEST, "partition": ("randomly", "by_hospital")},
        "research and education only; no redistribution",
        "Fumero Batista et al. 2020, RIM-ONE DL, doi 10.5566/ias.2346",
    ),
    "rim-one-r3": Layout(
        rim_one_r3.read_source,
        {"expert": ("average", "1", "2")},
        "research only; no redistribution without the authors' consent",
        "Fumero et al. 2015, Interactive Tool and Database for Optic Disc and Cup Segmentation of Stereo and Monocular "
        "Retinal Fundus Images (RIM-ONE r3), WSCG",
    ),
    "drishti-gs1": Layout(
        drishti_gs1.read_source,
        {"part": TRAINING_OR_TEST, "experts": ("2", "3", "4", "soft")},
        "research use",
        "Sivaswamy et al. 2014, Drishti-GS, ISBI",
    ),
    "drions-db": Layout(
        drions_db.read_source,
        {"expert": ("1", "2")},
        "research only",
        "Carmona et al. 2008, Identification of the Optic Nerve Head with Genetic Algorithms (DRIONS-DB), "
        "doi 10.1016/j.artmed.2008.04.005",
    ),
    "refuge": Layout(
        refuge.read_source,
        {"part": ("all", "training", "validation", "test")},
        "terms of the REFUGE challenge",
        "Orlando et al. 2020, REFUGE, arXiv:1910.03667",
    ),
    "origa": Layout(
        origa.read_source,
        {},
        "for research, on request from its authors",
        "Zhang et al. 2010, ORIGA-light, IEEE EMBC, doi 10.1109/IEMBS.2010.5626137",
    ),
    "papila": Layout(
        papila.read_source,
        {"expert": ("1", "2")},
        "CC BY 4.0",
        "Kovalyk et al. 2022, PAPILA, doi 10.1038/s41597-022-01388-1",
    ),
    "idrid": Layout(
        idrid.read_source,
        {"part": TRAINING_OR_TEST},
        "CC BY 4.0",
        "Porwal et al. 2018, IDRiD, doi 10.3390/data3030025",
    ),
    "g1020": Layout(
        g1020.read_source,
        {},
        "published for research; we found no licence",
        "Bajwa et al. 2020, G1020, IJCNN, arXiv:2006.09158",
    ),
}


def wrong_choices(layout: str, options: dict[str, str]) -> list[str]:
    """What is wrong with a layout's name and with what is chosen in it, one text each, the key first."""
    if layout not in LAYOUTS:
        return [f"layout: must be one of {', '.join(LAYOUTS)}, is {layout!r}"]
    known = LAYOUTS[layout].options
    return [f"options.{key}: {layout} has no such option" for key in options if key not in known] + [
        f"options.{key}: must be one of {', '.join(known[key])}, is {value!r}"
        for key, value in options.items()
        if key in known and value not in known[key]
    ]


def read_layout(
    layout: str, path: Path, name: str, options: dict[str, str], ellipses: Path | None = None
) -> list[Example]:
    """The examples of one source.

    Args:
        layout: one of `LAYOUTS`.
        path: the data set's folder.
        name: of the source, in reports.
        options: as `Layout.options`.
        ellipses: as in `folder.read_source`; for that layout only.
    Raises:
        InvalidSource: lists every file that is missing or odd.
    """
    if layout == "folder":
        return folder.read_source(path, name, ellipses)
    return LAYOUTS[layout].read(path, name, **options)
