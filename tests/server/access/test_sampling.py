"""Which access lines are written where not all are, and that sums can be made of those."""

import uuid
from typing import Any

import pytest

from server.access import sampling
from server.access.entry import Entry, Severity
from server.http.errors import ApiError
from tests.server.plain import BODY, ask, chat
from tests.support.client import httpclient
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams

RATE = 4
IDS = [f"req_{number}" for number in range(400)]


def ended(request_id: str = "req_1", **members: Any) -> Entry:
    return Entry(request_id, "GET", "/", "", 0.0, **{"status": 200, **members})


def rate_of(entry: Entry, severity: Severity = Severity.INFO, rate: int = RATE) -> int:
    return sampling.Sampler(rate).rate_of(entry, severity)


def left_out() -> str:
    """An id whose success has no line."""
    return next(each for each in IDS if rate_of(ended(each)) == sampling.LEFT_OUT)


@pytest.mark.parametrize("rate", [2, 10, 1000])
def test_the_lines_that_are_written_stand_for_all(rate: int) -> None:
    ids = [uuid.UUID(int=number << 64 | number).hex for number in range(20_000)]
    told = sum(rate_of(ended(each), rate=rate) for each in ids)
    # Of a fair choice the standard deviation is √(n · rate).
    assert abs(told - len(ids)) < 5 * (len(ids) * rate) ** 0.5


def test_the_choice_is_the_id_s_alone() -> None:
    first = [rate_of(ended(each)) for each in IDS]
    assert first == [rate_of(ended(each, route="/x", key="k", body_bytes=9)) for each in IDS]
    assert set(first) == {sampling.LEFT_OUT, RATE}


def test_by_default_each_line_is_written() -> None:
    assert {rate_of(ended(each), rate=1) for each in IDS} == {sampling.WHOLE}


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        (ended(left_out(), error=ApiError("bad_http", "no"), status=400), Severity.WARNING),
        (ended(left_out(), error=ApiError("internal_error", "no"), status=500), Severity.ERROR),
        (ended(left_out(), status=None), Severity.INFO),
        (ended(left_out()), Severity.WARNING),
    ],
    ids=["refused", "failed", "aborted", "slow"],
)
def test_what_did_not_go_well_is_whole(entry: Entry, severity: Severity) -> None:
    assert rate_of(entry, severity) == sampling.WHOLE


def test_on_a_server_successes_are_sampled_and_all_else_is_whole() -> None:
    ids = IDS[:40]
    with upstreams.stage([upstreams.PLAIN], PROXY_LOG_ACCESS_SAMPLE=str(RATE)) as stage:
        server = stage.server
        for each in ids:
            assert ask(server, "GET", "/v1/models", x_request_id=f"ok-{each}").status == 200
            chat(server, {"model": 1}, x_request_id=f"refused-{each}")
        failing = {**BODY, "model": "m"}
        failing["messages"] = [{"role": "user", "content": stage.upstream.prompt(["reset"])}]
        for each in ids[:4]:
            assert chat(server, failing, x_request_id=f"failed-{each}").status == 502
        leave(stage, left_out())
        scrape = ask(server, "GET", "/metrics").body.decode()
        machinetime.until(lambda: any(x.get("kind") == "client_gone" for x in server.lines))
        server.stop()
    expected = [f"ok-{each}" for each in ids if rate_of(ended(f"ok-{each}"))]
    assert 0 < len(expected) < len(ids)
    lines = [line for line in server.lines if line.get("component") == "access"]
    written = [line for line in lines if line.get("route") == "/v1/models"]
    assert [line["req_id"] for line in written] == expected
    assert {line["sample_rate"] for line in written} == {RATE}
    whole = [line for line in lines if line["kind"] in ("rejected", "upstream_error")]
    assert sum(line.get("count", 1) for line in whole) == len(ids) + 4
    assert all("sample_rate" not in line for line in whole)
    (gone,) = [line for line in lines if line["kind"] == "client_gone"]
    assert "sample_rate" not in gone
    (counted,) = [
        line
        for line in scrape.splitlines()
        if 'route="/v1/models"' in line and line.startswith("turntape_http_requests_total")
    ]
    assert float(counted.rpartition(" ")[2]) == len(ids)


def leave(stage: upstreams.Stage, request_id: str) -> None:
    """Begin an answer, and leave it, with an id whose success would have no line."""
    hello = upstreams.STREAM_HEAD + upstreams.framed(upstreams.sse(upstreams.chunk("Hello")))
    prompt = stage.upstream.prompt([hello, scripted.Gate()])
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True}
    own = {"x-request-id": request_id}
    with httpclient.begin(stage.server.url, "POST", "/chat/completions", body, own) as asked:
        asked.until(b"Hello")
        asked.leave()
