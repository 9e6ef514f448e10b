"""A label mask → the numbers that a segmentation has too. Works outside the event loop."""

from collections.abc import Callable

from fastapi import Response

from model import biomarkers
from model.biomarkers import Laterality
from model.errors import DiscNotFound
from model.images import Limits
from service import label_masks
from service.cost import Cost, cost_of, cost_of_outlines
from service.schemas import MeasurementAnswer
from service.uploads import Upload

JSON = "application/json"


def cost(upload: Upload) -> Cost:
    """What drawing or decoding will take; measuring takes about as long."""
    return cost_of_outlines(upload.data) if upload.media_type == JSON else cost_of(upload.data)


def answer(
    upload: Upload, limits: Limits, laterality: Laterality, between: Callable[[], None] = lambda: None
) -> Response:
    """Draw or decode, then measure. That takes up to 10 bytes of memory for each pixel of the picture.

    Args:
        between: called between the stages; what it raises ends the work.
    Raises:
        InvalidMask, DiscNotFound; PhotographError as `images.decode_labels`.
    """
    read = label_masks.from_json if upload.media_type == JSON else label_masks.from_png
    labelled = read(upload.data, limits)
    between()
    label_masks.check_border(labelled.labels)
    measured = biomarkers.measure(labelled.labels)
    if measured.disc is None:
        raise DiscNotFound("the mask has no disc, and so no numbers")
    between()
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
    return Response(body.model_dump_json(), headers={"Cache-Control": "no-store"}, media_type=JSON)
