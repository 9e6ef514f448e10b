"""The shapes of what the API takes and answers, with their units. Unknown is `null`, never -1 or NaN."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field

from model.biomarkers import Laterality

Coarse = Annotated[float, AfterValidator(lambda value: round(value, 2))]  # pixels, degrees, milliseconds
Fine = Annotated[float, AfterValidator(lambda value: round(value, 4))]  # numbers without a unit
# told, not checked: a last bit above 1 must never turn an answer into an error
Fraction = Annotated[Fine, Field(json_schema_extra={"minimum": 0, "maximum": 1})]


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class VersionUsed(_Answer):
    """The trained version that answered, and what ran it."""

    name: str
    version: str
    sha256: str = Field(description="Of the version's `manifest.json`, which holds the digest of every other file.")
    engine: Literal["openvino", "tensorflow"]
    precision: Literal["f32", "bf16"] = Field(
        description="Of the segmenter. In `bf16` its first convolutions, and by default the locator, compute in `f32`."
    )
    convention: str | None = Field(
        None,
        description="Whose annotation was drawn, by the name of the source, or group of sources, whose experts annotate"
        " so; `null` where the version goes by the photograph's looks.",
    )


class ImageSize(_Answer):
    """What the numbers refer to, in pixels."""

    width: int
    height: int


class ImageRead(ImageSize):
    """The photograph as decoded, in pixels: upright, after its EXIF orientation."""

    format: str = Field(description="Found in the bytes; what the client declared does not count.")


class PngMask(_Answer):
    """A PNG of one channel and one bit, black or white, of the photograph's size."""

    encoding: Literal["png"] = "png"
    data: str = Field(description="Base64.")


class RleMask(_Answer):
    """COCO's run-length encoding, as `pycocotools.mask.decode` reads it."""

    encoding: Literal["rle"] = "rle"
    size: tuple[int, int] = Field(description="Height and width of the photograph.")
    counts: str = Field(description="Compressed run lengths.")


class PolygonMask(_Answer):
    """Closed outlines, [column, row] of the region's outermost pixels; filled, edge included, they give the mask."""

    encoding: Literal["polygon"] = "polygon"
    rings: list[list[tuple[int, int]]]


Mask = Annotated[PngMask | RleMask | PolygonMask, Field(discriminator="encoding")]


class Box(_Answer):
    """The smallest upright rectangle around the region, in whole pixels."""

    left: int
    top: int
    width: int
    height: int


class Point(_Answer):
    """Pixels from the photograph's top left corner; the centre of the first pixel is (0.5, 0.5)."""

    x: Coarse
    y: Coarse


class Ellipse(_Answer):
    """Least-squares ellipse: full axes in pixels; `angle_deg` turns the axis `width` clockwise from horizontal."""

    x: Coarse
    y: Coarse
    width: Coarse
    height: Coarse
    angle_deg: Coarse


class Region(_Answer):
    """Optic disc (cup included) or optic cup, as measured."""

    box: Box
    centre: Point
    area: int = Field(description="Pixels.")
    ellipse: Ellipse | None = Field(description="`null` where the outline is too short to fit one.")


class Structure(Region):
    """Optic disc (cup included) or optic cup, as the network outlined it."""

    mask: Mask | None = Field(None, exclude_if=lambda mask: mask is None, description="Absent with `masks=none`.")
    confidence: Fraction


class Interval(_Answer):
    """The true ratio lies between `low` and `high` for the share `coverage` of photographs."""

    low: Fraction
    high: Fraction
    coverage: Fraction


class Ratios(_Answer):
    """Cup over disc: of heights, widths and areas. No unit."""

    vertical: Fraction
    horizontal: Fraction
    area: Fraction
    vertical_interval: Interval | None = Field(
        description="`null` where the version has no calibration, and for outlines that are not the network's."
    )


GarwayHeathSector = Literal["temporal", "superotemporal", "superonasal", "nasal", "inferonasal", "inferotemporal"]
Quadrant = Literal["right", "superior", "left", "inferior"]


class RimSector(_Answer):
    """The rim's width along the rays from the disc's centre that lie in one sector.

    A disc diameter is that of the circle of the disc's area.
    """

    name: GarwayHeathSector | Quadrant
    width: Coarse = Field(description="The mean, in pixels.")
    smallest: Coarse = Field(description="In pixels.")
    width_in_disc_diameters: Fine
    smallest_in_disc_diameters: Fine


class Rim(_Answer):
    """The rim's width all around.

    With `laterality` the six sectors of Garway-Heath et al. 2000, in degrees from the temporal side upwards: temporal
    -45 to 45, superotemporal to 85, superonasal to 125, nasal to 235, inferonasal to 275, inferotemporal to 315.
    Without it the four quadrants of the picture, and nothing is called nasal or temporal.
    """

    sectors: list[RimSector]


class Quality(_Answer):
    """What the verdict `gradable` rests on."""

    distance_from_training: Fine = Field(description="1 is a typical training photograph; larger is more foreign.")
    sharpness: Fine | None = Field(description="Around the disc; 1 is the training photographs' median.")


class Timings(_Answer):
    """Milliseconds; waiting for earlier photographs is not in them."""

    decode: Coarse
    locate: Coarse
    segment: Coarse
    measure: Coarse
    encode: Coarse


Reason = Literal["disc_not_found", "too_blurred", "outside_training_distribution", "cup_uncertain"]


class SegmentationAnswer(_Answer):
    """Lengths and areas are pixels of the photograph as sent, origin top left."""

    version: VersionUsed
    image: ImageRead
    laterality: Laterality = Field(description="As the request said; it names the rim's sectors.")
    gradable: bool = Field(description="Whether the ratio may be read. Where not, `reasons` says why.")
    reasons: list[Reason]
    disc: Structure | None = Field(description="`null` where no disc was found.")
    cup: Structure | None = Field(description="`null` where the photograph is not gradable.")
    cup_to_disc_ratio: Ratios | None = Field(description="`null` where the photograph is not gradable.")
    rim: Rim | None = Field(description="`null` where the photograph is not gradable.")
    quality: Quality
    timings_ms: Timings


Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Ring = Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=1), FailFast()]


class Outlines(BaseModel):
    """Disc and cup as closed rings of [column, row], as `masks=polygon` gives them; fractions are welcome.

    Whole numbers are the centres of pixels. A pixel belongs to the region whose outline its centre lies in or on. A
    ring inside another is a hole. The part of the cup outside the disc does not count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(strict=True, ge=1, description="Of the photograph, in pixels.")
    height: int = Field(strict=True, ge=1, description="Of the photograph, in pixels.")
    disc: Annotated[list[Ring], FailFast()]
    cup: Annotated[list[Ring], FailFast()] = Field(default=[], description="Without it there is no ratio.")


class MeasurementAnswer(_Answer):
    """The same numbers as in `SegmentationAnswer`, of outlines that the client sent."""

    image: ImageSize
    laterality: Laterality = Field(description="As the request said; it names the rim's sectors.")
    disc: Region
    cup: Region | None = Field(description="`null` where none was outlined.")
    cup_to_disc_ratio: Ratios | None = Field(
        description="`null` where no cup was outlined: that does not say that there is none."
    )
    rim: Rim | None = Field(description="`null` where no cup was outlined.")
    cup_outside: Fraction = Field(description="Share of the cup that lay outside the disc and did not count.")


class VersionSummary(_Answer):
    """One version of the registry whose files were checked."""

    name: str
    version: str
    sha256: str = Field(description="Of `manifest.json`.")
    created: str = Field(description="ISO 8601, UTC.")
    aliases: list[str]
    loaded: bool = Field(description="In memory; the others are loaded when first asked for.")


class Replica(_Answer):
    """One process of this service, and what it runs. Each follows the registry by itself."""

    name: str = Field(description="`CUPDISC_REPLICA`, the number of the process, or both.")
    default: str | None = Field(description="The version that it answers with where a request names none.")
    candidate: str | None = Field(description="Tried beside it.")
    loaded: list[str] = Field(description="Versions in its memory.")
    degraded: list[str] = Field(description="As `reasons` of `/health/ready`; empty where all is well.")


class VersionList(_Answer):
    """What this service can answer with, the newest first."""

    default: str | None = Field(description="Used where a request names no version; `null` where none could be loaded.")
    versions: list[VersionSummary]
    replica: str | None = Field(None, description="The one that gave this answer.")
    replicas: list[Replica] = Field(
        [], description="All processes that share this address on this machine; other machines tell for themselves."
    )


class VersionDetail(VersionSummary):
    """Everything about one version."""

    manifest: dict[str, Any] = Field(description="Networks, preprocessing, thresholds, sources, metrics, digests.")
    conventions: list[str] = Field(
        [], description="What `convention` of `/v1/segmentations` can say; empty where it learnt no annotation apart."
    )
    convention: str | None = Field(
        None, description="The one of them that is drawn where none is asked for; `null` where none is."
    )
    card: str | None = Field(description="The model card, Markdown: data, terms, results, limits, intended use.")


class VersionEvent(_Answer):
    """Something that happened to a version here."""

    time: str = Field(description="ISO 8601, UTC.")
    event: str = Field(description="`loaded`, `swapped`, `rolled_back`, `refused`, `unloaded` and others.")
    version: str
    detail: str


class Serving(_Answer):
    """What answers, what does not and why."""

    default: str | None = Field(description="Used where a request names no version.")
    candidate: str | None = Field(description="Tried beside it.")
    degraded: dict[str, str] = Field(description="As `reasons` of `/health/ready`, with words for the operator.")
    refused: dict[str, str] = Field(description="Version: why it is not served.")
    events: list[VersionEvent] = Field(description="The last ones, the oldest first.")


class NamedPhotograph(BaseModel):
    """A photograph on Cloud Storage, where the operator allows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(max_length=2048, description="gs://bucket/name of the photograph.", examples=["gs://bucket/a.jpg"])
    output: str | None = Field(
        None,
        max_length=2048,
        description="gs://bucket/name: write `name.disc.png`, `name.cup.png` and `name.json` too, and never overwrite.",
    )


class StoredAnswer(SegmentationAnswer):
    """The answer for a photograph on Cloud Storage whose `output` was named."""

    written: list[str] = Field(description="The objects that were written; the last one is this answer without masks.")


class Health(_Answer):
    """For orchestrators."""

    status: Literal["ok", "degraded"] = Field(
        default="ok",
        description="`degraded`: it answers, but perhaps not by the version that it should; `reasons` say why.",
    )
    reasons: list[str] = Field(
        default=[],
        exclude_if=lambda reasons: not reasons,
        description="Absent where `ok`. `storage_unavailable`: the registry cannot be read; what was there before"
        " serves. `version_refused`: the alias names a version that failed its checks; another one serves.",
    )
