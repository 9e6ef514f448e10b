"""`Accept` decides between JSON and PNG, as RFC 9110 says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.negotiation import choose
from service.problems import NotAcceptable

OFFERED = ("application/json", "image/png")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], "application/json"),
        ([""], "application/json"),
        (["*/*"], "application/json"),
        (["image/png"], "image/png"),
        (["IMAGE/PNG"], "image/png"),
        (["image/*"], "image/png"),
        (["application/json, image/png"], "application/json"),
        (["application/json;q=0.5, image/png;q=0.8"], "image/png"),
        (["application/json;q=0.5", "image/png"], "image/png"),
        (["text/html, */*;q=0.1"], "application/json"),
        (["application/json;q=0, */*"], "image/png"),
        (["image/png;q=0.2, image/*;q=0.9, application/*;q=0.5"], "application/json"),
        (["image/png;level=1;q=0.9, application/json;q=0.3"], "image/png"),
        (["application/json;q=nan, image/png;q=0.1"], "image/png"),
        (["application/json;q=2"], "application/json"),
        ([";;;,,/,q=1"], "application/json"),
        (["image/png; q=1.0"], "image/png"),
    ],
)
def test_choice(accept: list[str], expected: str) -> None:
    assert choose(accept, OFFERED) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "*/*;q=0", "application/json;q=0, image/png;q=0"])
def test_nothing_fits(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json or image/png"):
        choose([accept], OFFERED)


@given(st.lists(st.text(alphabet='aj/*;,=q.019 \t"\0\xff', max_size=40), max_size=3))
def test_any_header_gives_an_offer_or_a_refusal(accept: list[str]) -> None:
    with contextlib.suppress(NotAcceptable):
        assert choose(accept, OFFERED) in OFFERED
