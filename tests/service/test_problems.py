"""Every error has one answer, and every answer is an RFC 9457 problem."""

import json
from http import HTTPStatus

import pytest

import model.errors
import service.problems
from model.errors import CupDiscError
from service.problems import ANSWERS, MEDIA_TYPE, Problem, problem, responses


def all_errors() -> list[type[CupDiscError]]:
    found = [*vars(model.errors).values(), *vars(service.problems).values()]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, CupDiscError)]


def test_every_error_has_an_answer() -> None:
    assert set(ANSWERS) == set(all_errors()) - {CupDiscError}


def test_codes_are_unique_and_plain() -> None:
    codes = [kind.code for kind in ANSWERS]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_what_a_client_can_cause_is_not_our_fault() -> None:
    ours = {kind.code for kind, (status, _) in ANSWERS.items() if status >= 500}
    assert ours == {
        *("version_error", "corrupt_version", "unknown_schema", "no_version_live"),
        *("engine_unavailable", "invalid_configuration", "issuer_unreachable", "stopping"),
        *("overloaded", "deadline_exceeded"),
        *("incomplete_version", "untrusted_version", "probe_failed", "no_room"),
        *("storage_error", "storage_unavailable", "storage_denied", "bucket_not_found"),
    }


def test_a_problem_is_what_rfc_9457_says() -> None:
    answer = problem(413, "too_many_bytes", "too much")
    assert answer.status_code == 413
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert json.loads(bytes(answer.body)) == {
        "type": "about:blank",
        "title": HTTPStatus(413).phrase,
        "status": 413,
        "detail": "too much",
        "code": "too_many_bytes",
    }


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_example_is_a_problem(kind: type[CupDiscError]) -> None:
    status, answer = next(iter(responses(kind).items()))
    example = answer["content"][MEDIA_TYPE]["examples"][kind.code]
    assert example["summary"]
    body = Problem.model_validate(example["value"])
    assert (body.status, body.code) == (status, kind.code)
