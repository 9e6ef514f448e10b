"""Who and what is on the photographs of each public source, as its authors tell it; for the model card."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Population:
    """People and cameras, in a few words each."""

    people: str
    camera: str


NOT_TOLD = Population("not told", "not told")

POPULATIONS = {  # by the name of the source or of its layout; the papers are those of the citations
    "rim-one-dl": Population(
        "three hospitals in Spain (Tenerife, Madrid, Zaragoza); healthy eyes and glaucoma", "several; crops of the disc"
    ),
    "rim-one-r3": Population(
        "one hospital in Spain (Tenerife); healthy eyes, glaucoma and suspects", "Kowa WX 3D, stereo, 34°"
    ),
    "drishti-gs1": Population(
        "Aravind eye hospital, Madurai, India; 40 to 80 years; healthy eyes and glaucoma", "not told; 30°, disc-centred"
    ),
    "refuge": Population(
        "China; healthy eyes and glaucoma", "Zeiss Visucam 500 (training part), Canon CR-2 (validation and test parts)"
    ),
    "refuge-crops": Population("China; healthy eyes and glaucoma", "Zeiss Visucam 500; crops of the disc"),
    "refuge-full": Population("China; two eyes", "Zeiss Visucam 500 and Canon CR-2, one each"),
    "idrid": Population("an eye clinic in Nanded, India; people with diabetes", "Kowa VX-10α, 50°"),
    "drions-db": Population(
        "one hospital in Spain (Zaragoza); mean age 53; chronic glaucoma and ocular hypertension",
        "analogue, slides digitised; disc-centred",
    ),
    "origa": Population("Malay adults in Singapore; healthy eyes and glaucoma", "not told"),
    "papila": Population(
        "one hospital in Spain (Murcia); both eyes of 244 people: healthy, glaucoma and suspects",
        "Topcon TRC-NW400, 30°",
    ),
    "g1020": Population("a private practice in Kaiserslautern, Germany; healthy eyes and glaucoma", "not told; 45°"),
    "unlabelled": Population(
        "HRF: healthy eyes and glaucoma; DRIVE: a Dutch screening of people with diabetes; REFUGE test: China",
        "HRF: Canon CR-1; DRIVE: Canon CR5, 45°; REFUGE test: Canon CR-2",
    ),
}


def population(name: str, layout: str) -> Population:
    """Of a source, by its name, else by its layout; `NOT_TOLD` for one's own."""
    return POPULATIONS.get(name, POPULATIONS.get(layout, NOT_TOLD))
