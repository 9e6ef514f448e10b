"""A label mask → the numbers that a segmentation has too. Works outside the event loop."""

from fastapi import Response

from model import biomarkers
from model.biomarkers import Laterality
from model.errors import DiscNotFound
from model.images import Limits
from service import label_masks
from service.schemas import MeasurementAnswer
from service.uploads import Upload


def answer(upload: Upload, limits: Limits, laterality: Laterality) -> Response:
    """Draw or decode, then measure.

    Raises:
        InvalidMask, DiscNotFound; PhotographError as `images.decode_labels`.
    """
    read = label_masks.from_json if upload.media_type == "application/json" else label_masks.from_png
    labelled = read(upload.data, limits)
    measured = biomarkers.measure(labelled.labels)
    if measured.disc is None:
        raise DiscNotFound("the mask has no disc, and so no numbers")
    height, width = labelled.labels.shape
    sectors = biomarkers.rim_widths(labelled.labels, laterality)
    ratios = measured.ratios if measured.cup else None
    body = MeasurementAnswer.model_validate(
        {
            "image": {"width": width, "height": height},
            "laterality": laterality,
            "disc": measured.disc,
            "cup": measured.cup,
            "cup_to_disc_ratio": ratios and {**vars(ratios), "vertical_interval": None},
            "rim": sectors and {"sectors": sectors},
            "cup_outside": labelled.cup_outside,
        }
    )
    return Response(body.model_dump_json(), headers={"Cache-Control": "no-store"}, media_type="application/json")
