"""What a client asks of the API, how it reads the answers, and when it asks again. Sends nothing itself."""

import email.utils
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ValidationError

from model.biomarkers import Laterality
from model.errors import CupDiscError, InvalidConfiguration
from service import problems
from service.answers import MaskEncoding, Render
from service.problems import Problem
from service.schemas import Health, MeasurementAnswer, Outlines, SegmentationAnswer, VersionDetail, VersionList

Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=BaseModel)
Outcome = httpx2.Response | httpx2.TransportError  # of one attempt

ERRORS = {kind.code: kind for kind in problems.ANSWERS}
BUSY = (429, 502, 503, 504)  # from a service, or from what stands before it, that may answer otherwise in a moment
FINAL = (httpx2.ReadTimeout, httpx2.UnsupportedProtocol)  # failures that another attempt would only repeat
LONGEST_WAIT_S = 60.0  # a service that asks for more is not asked again


class ServiceUnreachable(CupDiscError):
    """Nothing answered, or the connection broke."""

    code = "service_unreachable"


class UnexpectedAnswer(CupDiscError):
    """What answered is no CupDisc service that this client knows, or it made a mistake."""

    code = "unexpected_answer"


class Choices(TypedDict, total=False):
    """What a segmentation's query can say."""

    version: str
    masks: MaskEncoding
    laterality: Laterality
    convention: str


@dataclass(frozen=True)
class Retries:
    """How often and how soon to ask again; the service's `Retry-After` goes before `backoff_s`."""

    times: int = 3
    backoff_s: float = 0.5  # before the second attempt, then twice as long each time; less up to a half, by lot

    def wait_s(self, attempt: int, outcome: Outcome) -> float | None:
        """Seconds until the next attempt, when this one was number `attempt`, from 0; None where it was the last."""
        if attempt >= self.times or isinstance(outcome, FINAL):
            return None
        if isinstance(outcome, httpx2.Response):
            if outcome.status_code not in BUSY:
                return None
            asked_s = _retry_after_s(outcome.headers.get("retry-after", ""))
            if asked_s is not None:
                return asked_s if asked_s <= LONGEST_WAIT_S else None
        return float(self.backoff_s * 2**attempt * random.uniform(0.5, 1))


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and how to read what comes back."""

    method: str
    path: str
    read: Callable[[httpx2.Response], Result]
    query: dict[str, str] | None = None
    media_type: str = "application/octet-stream"  # a photograph's: the service looks for itself
    content: bytes | None = None

    @property
    def request(self) -> dict[str, Any]:
        """Arguments of `httpx2.Client.request`."""
        headers = {"Content-Type": self.media_type} if self.content is not None else {}
        return {
            **{"method": self.method, "url": self.path, "params": self.query},
            **{"headers": headers, "content": self.content},
        }

    def result(self, outcome: Outcome) -> Result:
        """The answer.

        Raises:
            ServiceUnreachable, UnexpectedAnswer, and whatever the service raised, told by the problem's `code`.
        """
        if isinstance(outcome, httpx2.TransportError):
            raise ServiceUnreachable(str(outcome) or type(outcome).__name__) from outcome
        if outcome.is_success:
            return self.read(outcome)
        try:
            problem = Problem.model_validate_json(outcome.content)
        except ValidationError:
            raise UnexpectedAnswer(
                f"status {outcome.status_code} from {outcome.request.url.copy_with(query=None)}"
            ) from None
        if problem.code in ERRORS:
            raise ERRORS[problem.code](problem.detail)
        raise UnexpectedAnswer(f"status {problem.status}, {problem.code}: {problem.detail}")


def segment(photograph: bytes, choices: Choices) -> Call[SegmentationAnswer]:
    """Outlines and numbers."""
    read, wanted = _reading(SegmentationAnswer), choices.get("convention")

    def checked(response: httpx2.Response) -> SegmentationAnswer:
        answer = read(response)
        if wanted is not None and answer.version.convention != wanted:  # by a service from before there was a choice
            raise UnexpectedAnswer(f"{wanted} was asked for, and the service drew {answer.version.convention}")
        return answer

    return Call("POST", "v1/segmentations", checked, _query(choices), content=photograph)


def render(photograph: bytes, kind: Render, choices: Choices) -> Call[bytes]:
    """A picture or a report."""
    query = {**_query(choices), "render": kind}
    return Call("POST", "v1/segmentations", lambda response: response.content, query, content=photograph)


def measure(outlines: Outlines | bytes, laterality: Laterality) -> Call[MeasurementAnswer]:
    """The numbers of polygons, or of a label mask as PNG."""
    query: dict[str, str] = {"laterality": laterality}
    if isinstance(outlines, bytes):
        return Call("POST", "v1/measurements", _reading(MeasurementAnswer), query, "image/png", outlines)
    content = outlines.model_dump_json().encode()
    return Call("POST", "v1/measurements", _reading(MeasurementAnswer), query, "application/json", content)


def versions() -> Call[VersionList]:
    """What the service can answer with."""
    return Call("GET", "v1/versions", _reading(VersionList))


def version(name: str) -> Call[VersionDetail]:
    """Manifest and card of a version or alias."""
    return Call("GET", f"v1/versions/{quote(name, safe='')}", _reading(VersionDetail))


def ready() -> Call[Health]:
    """Whether segmentations will be answered."""
    return Call("GET", "health/ready", _reading(Health))


def base_url(text: str) -> httpx2.URL:
    """A service's address, with the prefix that it may be behind.

    Raises:
        InvalidConfiguration: no http address.
    """
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise InvalidConfiguration(f"{text} is no address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidConfiguration(f"{text} is no address of a service; it begins with http:// or https://")
    return url


def headers(key: str | None, others: Mapping[str, str] | None) -> dict[str, str]:
    """Sent with every request."""
    return {**(others or {}), **({"Authorization": f"Bearer {key}"} if key else {})}


def _query(choices: Choices) -> dict[str, str]:
    return {name: str(value) for name, value in choices.items()}


def _reading(kind: type[Answer]) -> Callable[[httpx2.Response], Answer]:
    def read(response: httpx2.Response) -> Answer:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(f"not the answer of a CupDisc service: {error.errors()[0]['msg']}") from None

    return read


def _retry_after_s(text: str) -> float | None:
    """RFC 9110, section 10.2.3: seconds, or a date; None for neither."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until.tzinfo else None
