"""Figures: what is counted, under which labels, and that no client can make labels."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.observability import MOST_CALLERS, Metrics
from service.settings import Settings
from tests.photographs import REPOSITORY
from tests.service.conftest import EYE, draw_eye, encode

JPEG = {"content-type": "image/jpeg"}
DASHBOARD = REPOSITORY / "docker" / "grafana" / "dashboards" / "cupdisc.json"


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Name and sorted labels → value."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(client: TestClient) -> dict[tuple[str, ...], float]:
    return samples(client.get("/metrics").text)


def test_a_photograph_is_counted_and_its_ratio_is_in_its_bucket(start: Callable[..., TestClient]) -> None:
    client = start()
    answer = client.post("/v1/segmentations", content=EYE, headers=JPEG).json()
    blank = encode(draw_eye(cup=0), "PNG")
    refused = client.post("/v1/segmentations", content=blank, headers={"content-type": "image/png"}).json()
    found = shown(client)
    version = f"version={answer['version']['version']}"
    assert found["cupdisc_requests_total", "method=POST", "route=/v1/segmentations", "status=200"] == 2
    assert found["cupdisc_answers_total", "gradable=true", version] == 1
    assert found["cupdisc_answers_total", "gradable=false", version] == 1
    assert found["cupdisc_not_gradable_total", f"reason={refused['reasons'][0]}", version] == 1
    assert found["cupdisc_vertical_ratio_count", version] == 1
    ratio = answer["cup_to_disc_ratio"]["vertical"]
    assert found["cupdisc_vertical_ratio_sum", version] == pytest.approx(ratio, abs=1e-3)
    below = max(step for step in (0.05 * n for n in range(20)) if step < ratio)
    assert found["cupdisc_vertical_ratio_bucket", f"le={round(below, 2)}", version] == 0
    assert found["cupdisc_vertical_ratio_bucket", f"le={round(below + 0.05, 2)}", version] == 1
    assert found["cupdisc_distance_from_training_count", version] == 2
    for stage in ("decode", "locate", "segment", "measure", "encode"):
        assert found["cupdisc_stage_seconds_count", f"stage={stage}"] == 2
    assert found["cupdisc_batch_size_sum", "network=locator"] == 2
    assert found["cupdisc_live_version", "role=production", version] == 1
    assert any(key[0] == "cupdisc_version_events_total" and "event=loaded" in key for key in found)
    assert any(key[0] == "cupdisc_engine_info" and version in key for key in found)


def test_clients_cannot_make_labels(start: Callable[..., TestClient]) -> None:
    client = start()
    client.get("/metrics")
    before = set(shown(client))
    for number in range(20):
        client.get(f"/nowhere/{number}")
        client.get(f"/v1/versions/x{number}")
        client.request(f"METHOD{number}", "/health/live")
        client.post(f"/v1/segmentations?version=y{number}", content=EYE, headers=JPEG)
        client.get(f"/page/z{number}")
    new = {re.sub(r"status=\d+", "status", " ".join(key)) for key in set(shown(client)) - before}
    assert not any(re.search(r"[xyz]\d|METHOD\d|nowhere", key) for key in new)
    assert len({key for key in new if "cupdisc_requests_total" in key}) <= 6


def test_a_role_has_one_version_at_a_time() -> None:
    metrics = Metrics()
    metrics.live_version("1", "production")
    metrics.live_version("2", "production")
    metrics.live_version("1", "candidate")
    found = [key for key in samples(metrics.render().decode()) if key[0] == "cupdisc_live_version"]
    assert sorted(found) == [
        ("cupdisc_live_version", "role=candidate", "version=1"),
        ("cupdisc_live_version", "role=production", "version=2"),
    ]


def test_a_comparison_leaves_out_what_was_not_drawn() -> None:
    metrics = Metrics()
    metrics.comparison("1", "2", 0.9, None, None, "east")
    metrics.comparison("1", "2", 0.8, 0.7, -0.05, "east")
    found = samples(metrics.render().decode())
    pair = ("caller=east", "compared_with=2", "version=1")
    assert found[("cupdisc_shadow_disc_dice_count", *pair)] == 2
    assert found[("cupdisc_shadow_cup_dice_count", *pair)] == 1
    below = [
        found["cupdisc_shadow_vertical_ratio_difference_bucket", *pair[:2], f"le={le}", pair[2]] for le in (-0.1, -0.05)
    ]
    assert below == [0, 1]


def test_callers_beyond_the_first_few_share_a_label() -> None:
    metrics = Metrics()
    for number in range(MOST_CALLERS + 5):
        metrics.comparison("1", "2", 0.9, 0.9, 0.0, f"clinic-{number}")
    found = samples(metrics.render().decode())
    counts = {key[1]: count for key, count in found.items() if key[0] == "cupdisc_shadow_disc_dice_count"}
    assert len(counts) == MOST_CALLERS + 1
    assert (counts["caller=clinic-0"], counts["caller=others"]) == (1, 5)


def test_two_services_in_one_process_count_apart(start: Callable[..., TestClient]) -> None:
    first, second = start(), start()
    first.get("/v1/versions")
    key = ("cupdisc_requests_total", "method=GET", "route=/v1/versions", "status=200")
    assert key in shown(first)
    assert key not in shown(second)


@pytest.mark.parametrize("given", ["abc-1.2_3", "a" * 128, "105445aa7843bc8bf206b12000100000/1"])
def test_a_sane_request_id_comes_back(client: TestClient, given: str) -> None:
    for path in ("/health/live", "/nowhere", "/page/page.js"):
        assert client.get(path, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "Jane Doe", "a\tb", 'a"b', "a;b", "<a>"])
def test_another_one_is_replaced(client: TestClient, given: str) -> None:
    answered = [client.get("/nowhere", headers={"X-Request-ID": given}).headers["x-request-id"] for _ in range(2)]
    assert answered[0] != answered[1]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in answered)


def test_a_fault_of_ours_is_a_problem_with_id_and_headers_and_nothing_inside(published: Path) -> None:
    app = create_app(Settings(registry=str(published)))

    @app.get("/broken")
    async def broken(request: Request) -> None:
        raise ValueError("Jane Doe")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken", headers={"X-Request-ID": "abc"})
        assert answer.status_code == 500
        assert answer.json()["code"] == "internal_error"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == "abc"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "Jane" not in answer.text
        assert shown(client)["cupdisc_requests_total", "method=GET", "route=/broken", "status=500"] == 1


def expressions(part: Any) -> list[str]:
    """Every query of a dashboard."""
    if isinstance(part, dict):
        own = [part["expr"]] if "expr" in part else []
        return own + [one for value in part.values() for one in expressions(value)]
    return [one for value in part for one in expressions(value)] if isinstance(part, list) else []


SAMPLES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
IN_PARENTHESES = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"  # labels


def exported(text: str) -> dict[str, set[str]]:
    """Family → the names that its samples have, by its type."""
    families = text_string_to_metric_families(text)
    return {one.name: {one.name + suffix for suffix in SAMPLES[one.type]} for one in families}


def named(expression: str) -> set[str]:
    """The metrics of a query: what is neither a label, a text, a span nor a function."""
    bare = re.sub(rf"{IN_PARENTHESES}|\{{[^}}]*\}}|\[[^]]*\]", " ", expression)
    words = set(re.findall(r"(?<![\w.$])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare))
    return words - {"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless"}


def test_the_dashboard_shows_what_there_is(client: TestClient) -> None:
    client.post("/v1/segmentations", content=EYE, headers=JPEG)
    families = exported(client.get("/metrics").text)
    known = {name for names in families.values() for name in names}
    asked = expressions(json.loads(DASHBOARD.read_text(encoding="utf-8")))
    assert {expression: named(expression) - known for expression in asked if not named(expression) <= known} == {}
    assert all(named(expression) for expression in asked)
    shown_there = {name for expression in asked for name in named(expression)}
    ours = {family: names for family, names in families.items() if re.fullmatch(r"cupdisc_\w+(?<!_created)", family)}
    assert [family for family, names in ours.items() if not names & shown_there] == []


def test_quantiles_are_asked_of_buckets() -> None:
    quantiles = [one for one in expressions(json.loads(DASHBOARD.read_text(encoding="utf-8"))) if "quantile" in one]
    assert quantiles
    for expression in quantiles:
        assert all(name.endswith("_bucket") for name in named(expression)), expression
        assert re.search(r"by \(le\b", expression), expression


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("sum by (route) (rate(cupdisc_requests[5m]))", {"cupdisc_requests"}),  # a counter without its suffix
        ("sum(cupdisc_queue_length_total)", {"cupdisc_queue_length_total"}),  # a gauge with one
        ("histogram_quantile(0.5, rate(cupdisc_stage_seconds[5m]))", {"cupdisc_stage_seconds"}),
        ("cupdisc_stage_seconds_total / cupdisc_stage_seconds_count", {"cupdisc_stage_seconds_total"}),
        ("cupdisc_requests_count", {"cupdisc_requests_count"}),
        ('cupdsc_requests_total{route="/x"} / on (version) group_left up', {"cupdsc_requests_total", "up"}),
        ("sum without (le) (increase(cupdisc_stage_seconds_bucket[$__rate_interval])) > 1e3", set()),
        ("process_resident_memory_bytes + cupdisc_stage_seconds_sum", set()),
    ],
)
def test_a_query_of_what_is_not_exported_is_noticed(expression: str, unknown: set[str]) -> None:
    text = Metrics().render().decode()
    assert named(expression) - {name for names in exported(text).values() for name in names} == unknown
