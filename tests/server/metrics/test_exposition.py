"""A scrape can be read by what it was asked for, and says what was counted."""

from collections.abc import Callable, Iterable

import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from prometheus_client import core

from engine.distribution import Distribution
from server.metrics import exposition, families
from server.metrics.readings import Reading, one

READINGS = (
    one(families.STREAMS_OPEN, 3),
    Reading(families.ERRORS, [(('a"b\\c\nd', "client"), 2), (("ö", "server"), 1)]),
    Reading(families.TOOL_CALLS, [((), Distribution([1, 0, 2, 0, 0, 0, 0, 0, 4], sum=500.0))]),
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Parse = Callable[[str], Iterable[core.Metric]]


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        (
            None,
            "text/plain; version=0.0.4",
            prometheus_client.parser.text_string_to_metric_families,
        ),
        (
            "*/*",
            "text/plain; version=0.0.4",
            prometheus_client.parser.text_string_to_metric_families,
        ),
        (
            f"{OPENMETRICS};q=0.9,text/plain;q=0.5",
            OPENMETRICS,
            prometheus_client.openmetrics.parser.text_string_to_metric_families,
        ),
    ],
)
def test_each_format_says_the_same(accept: str | None, kind: str, parse: Parse) -> None:
    answer = exposition.expose(READINGS, accept)
    assert answer.content_type.startswith(kind)
    found = {metric.name: metric for metric in parse(answer.body.decode())}
    assert found["turntape_streams_open"].samples[0].value == 3
    errors = found["turntape_errors"].samples
    assert [(each.labels, each.value) for each in errors] == [
        ({"code": 'a"b\\c\nd', "fault": "client"}, 2),
        ({"code": "ö", "fault": "server"}, 1),
    ]
    calls = [
        (each.name.rpartition("_")[2], each.labels.get("le"), each.value)
        for each in found["turntape_stream_tool_calls"].samples
    ]
    cumulated = [("0.0", 1), ("1.0", 1), ("2.0", 3), ("4.0", 3), ("8.0", 3), ("16.0", 3)]
    assert calls == [
        *(("bucket", bound, count) for bound, count in [*cumulated, ("32.0", 3), ("64.0", 3)]),
        ("bucket", "+Inf", 7),
        ("count", None, 7),
        ("sum", None, 500.0),
    ]
    assert "process_cpu_seconds" in found


@pytest.mark.parametrize(
    "accept", ["text/plain; version=x", "application/openmetrics-text; version=abc"]
)
def test_a_version_that_is_no_number_is_answered(accept: str) -> None:
    """In which format is the library's business: its releases differ."""
    answer = exposition.expose(READINGS, accept)
    assert answer.content_type.startswith(("text/plain; version=", "application/openmetrics-text"))
    assert b"turntape_streams_open 3" in answer.body


def test_two_scrapes_are_no_trouble() -> None:
    first, second = (exposition.expose(READINGS, None) for _ in range(2))
    own = [each.body.partition(b"# HELP process")[0] for each in (first, second)]
    assert own[0] == own[1] != b""
