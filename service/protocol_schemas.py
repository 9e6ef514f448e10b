"""The shapes of what the standard protocols take and answer."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from model.biomarkers import Laterality
from service.answers import MaskEncoding

Network = Literal["locator", "segmenter"]


class ProtocolError(BaseModel):
    """An error as both protocols tell it, and its stable `code` beside."""

    error: str = Field(description="Begins with the code.", examples=["model_not_found: no model x; there is disc-cup"])
    code: str = Field(examples=["model_not_found"])


class Parameters(BaseModel):
    """What a request can ask for; others are left alone."""

    model_config = ConfigDict(frozen=True, strict=True)

    masks: MaskEncoding = Field("none", description="How `answer` carries the masks.")
    laterality: Laterality = Field("unknown", description="Which eye it is, of all photographs of the request.")
    convention: str | None = Field(None, description="As that of `/v1/segmentations`.")
    network: Network = Field("segmenter", description="For `image`: which network is to see it.")
    binary_data_output: bool = Field(False, description="Every output as a binary tensor after the JSON.")


class InputParameters(BaseModel):
    """Of one input."""

    model_config = ConfigDict(frozen=True, strict=True)

    binary_data_size: int | None = Field(None, ge=0, description="Bytes of this tensor after the JSON.")


class OutputParameters(BaseModel):
    """Of one output."""

    model_config = ConfigDict(frozen=True, strict=True)

    binary_data: bool | None = Field(None, description="This output as a binary tensor after the JSON.")


class InputTensor(BaseModel):
    """`photograph`, encoded files; or `image`, prepared regions."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    datatype: str
    shape: list[Annotated[int, Field(ge=0)]]
    parameters: InputParameters = Field(default_factory=lambda: InputParameters.model_validate({}))
    data: list[Any] | None = Field(None, description="Absent where the tensor is binary. A photograph is in base64.")


class WantedOutput(BaseModel):
    """One output that the answer shall have."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    parameters: OutputParameters = Field(default_factory=lambda: OutputParameters.model_validate({}))


class InferenceRequest(BaseModel):
    """A request of the Open Inference Protocol."""

    model_config = ConfigDict(frozen=True, strict=True)

    id: str | None = Field(None, max_length=1000)
    parameters: Parameters = Field(default_factory=lambda: Parameters.model_validate({}))
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] | None = Field(None, description="Without it, all of them.")


class OutputTensor(BaseModel):
    """One output."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | None = Field(None, description="`binary_data_size`, where it follows the JSON.")
    data: list[Any] | None = Field(None, description="Absent where the tensor is binary.")


class InferenceAnswer(BaseModel):
    """An answer of the Open Inference Protocol."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """A tensor's name, kind and shape; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and answers. Send one of the inputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """Segmentations will be answered."""

    ready: bool


class ModelReady(Ready):
    """This model or version can be asked."""

    name: str


Signature = Literal["serving_default", "locator", "segmenter"]


class PredictRequest(BaseModel):
    """Rows as `instances`, or columns as `inputs`."""

    model_config = ConfigDict(frozen=True, strict=True)

    signature_name: Signature = Field(
        "serving_default",
        description="`serving_default` takes photographs; `locator` and `segmenter` take what those networks see.",
    )
    instances: list[Any] | None = Field(
        None, description='A photograph each: {"b64": "…"}, or {"photograph": {"b64": "…"}}; or a prepared region.'
    )
    inputs: Any = Field(None, description='The same as one list, or as {"photograph": […]} or {"image": […]}.')


class Status(BaseModel):
    """`OK`."""

    error_code: str
    error_message: str


class VersionState(BaseModel):
    """One version."""

    version: str
    state: Literal["AVAILABLE"]
    status: Status


class ModelStatus(BaseModel):
    """The versions that can be asked; `ready` is for clients of KServe's first protocol."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    ready: bool
    model_version_status: list[VersionState]


def documented() -> dict[str, Any]:
    """Those that no route names by itself, for OpenAPI."""
    models = [(kind, "validation") for kind in (ProtocolError, InferenceRequest, PredictRequest)]
    _, told = models_json_schema(
        [*models, (InferenceAnswer, "serialization")],  # type: ignore[list-item]
        ref_template="#/components/schemas/{model}",
    )
    found: dict[str, Any] = told["$defs"]
    return found
