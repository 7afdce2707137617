"""Ended requests become counts, and nothing that a stranger makes up becomes a series."""

import random
from typing import Any, get_args

import msgspec

from engine.distribution import Distribution
from machines import events, vocabulary
from server import router
from server.access.entry import Entry, StreamEnd
from server.http.errors import ApiError
from server.metrics import families
from server.metrics.families import Family
from server.metrics.requests import RequestMetrics

CHAT = "/v1/chat/completions"
ROUTES = tuple(route.path for route in router.ROUTES)

OPENED = events.Opened(
    request_id="r",
    completion_id="chatcmpl-1",
    created=0,
    model="known",
    target="known",
    worker="scripted",
)
COMPLETED = events.Terminal(
    kind="completed",
    emission_trigger="turn_finished",
    status=200,
    finish_reasons=("stop",),
    finish_words=(None,),
)


def metrics() -> RequestMetrics:
    return RequestMetrics(ROUTES, lambda: ("known",))


def entry(**fields: Any) -> Entry:
    known = {"route": CHAT, "status": 200, "ended": 1.5, **fields}
    return Entry("r", known.pop("method", "POST"), CHAT, "192.0.2.1", 1.0, **known)


def ended(model: str = "known", **terminal: Any) -> Entry:
    """A request that a stream answered."""
    opened = msgspec.structs.replace(OPENED, model=model)
    return entry(stream=StreamEnd("s", opened, msgspec.structs.replace(COMPLETED, **terminal)))


def values(read: RequestMetrics, family: Family) -> dict[tuple[str, ...], Any]:
    """What a metric has now, without what it never counted."""
    (found,) = (reading.values for reading in read.read() if reading.family is family)
    return {key: value for key, value in found if value}


def test_a_refusal_is_a_request_and_somebodys_fault() -> None:
    counted = metrics()
    refused = entry(error=ApiError("invalid_json", "no"), status=400)
    counted.request_ended(refused, 1)
    assert values(counted, families.REQUESTS) == {(CHAT, "POST", "4xx", "invalid_json"): 1}
    assert values(counted, families.ERRORS) == {("invalid_json", "client"): 1}
    assert values(counted, families.STREAMS) == {}


def test_refusals_that_share_a_line_are_all_counted() -> None:
    counted = metrics()
    counted.request_ended(entry(error=ApiError("invalid_api_key", "no"), status=401), 40)
    assert values(counted, families.ERRORS) == {("invalid_api_key", "client"): 40}
    (seen,) = values(counted, families.REQUEST_DURATION).values()
    assert sum(seen.counts) == 40


def test_whose_fault_a_failed_answer_is_follows_from_its_own_status_and_worker() -> None:
    counted = metrics()
    failed = msgspec.structs.replace(COMPLETED, kind="upstream_error", code="content_blocked")
    counted.request_ended(entry(stream=StreamEnd("s", OPENED, failed, 400)), 1)
    assert values(counted, families.ERRORS) == {("other", "client"): 1}
    counted = metrics()
    counted.request_ended(
        entry(
            status=None, stream=StreamEnd("s", OPENED, msgspec.structs.replace(failed, status=0))
        ),
        1,
    )
    assert values(counted, families.ERRORS) == {("other", "provider"): 1}
    counted = metrics()
    lost = msgspec.structs.replace(failed, code="worker_unauthorized")
    taken = events.FallbackTaken("m", "upstream", "worker_busy")
    counted.request_ended(entry(stream=StreamEnd("s", OPENED, lost), stood_in=taken), 1)
    assert values(counted, families.ERRORS) == {("worker_unauthorized", "provider"): 1}


def test_a_client_that_left_before_its_answer_is_a_499() -> None:
    counted = metrics()
    counted.request_ended(entry(status=None), 1)
    assert values(counted, families.REQUESTS) == {(CHAT, "POST", "4xx", ""): 1}


def test_every_end_of_a_stream_is_counted_by_its_kind() -> None:
    counted = metrics()
    for number, kind in enumerate(get_args(vocabulary.TerminalKind), 1):
        for _ in range(number):
            counted.request_ended(ended(kind=kind), 1)
    kinds = enumerate(get_args(vocabulary.TerminalKind), 1)
    assert values(counted, families.STREAMS) == {
        (CHAT, "known", kind): number for number, kind in kinds
    }


def test_a_failure_behind_the_head_is_an_error_with_its_own_code() -> None:
    counted = metrics()
    counted.request_ended(ended(kind="upstream_error", code="upstream_truncated"), 1)
    assert values(counted, families.REQUESTS) == {(CHAT, "POST", "2xx", "upstream_truncated"): 1}
    assert values(counted, families.ERRORS) == {("upstream_truncated", "provider"): 1}


def test_the_figures_of_a_terminal_record_are_counted() -> None:
    counted = metrics()
    figures: dict[str, Any] = {
        "usage": events.Usage(100, 20, 60, 5, 7),
        "frames": 9,
        "body_bytes": 700,
        "ttft_us": 15_000,
        "duration_us": 3_000_000,
        "first_content_us": 30_000,
        "longest_gap_us": 1_000_000,
        "longest_gap_owner": "client",
        "parked_us": 2_000_000,
        "heartbeats": 2,
        "tool_calls": 3,
        "tool_calls_withheld": 1,
        "tool_calls_dropped": 2,
        "tool_buffers_started": 5,
        "tool_buffers_flushed": 3,
        "tool_buffers_aborted": {"nested": 1, "made up": 1},
        "finish_reasons": ("stop", "length", None),
        "finish_words": ("end_turn", "MAX_TOKENS", None),
    }
    counted.request_ended(ended(**figures), 1)
    assert values(counted, families.TOKENS) == {
        ("known", "input", "counted"): 100,
        ("known", "output", "counted"): 20,
        ("known", "cached", "counted"): 60,
        ("known", "reasoning", "counted"): 5,
        ("known", "uncategorized", "counted"): 7,
    }
    assert values(counted, families.USAGE) == {("counted",): 1}
    assert values(counted, families.FRAMES) == {(CHAT,): 9}
    assert values(counted, families.BODY_BYTES) == {(CHAT,): 700}
    assert values(counted, families.FINISH_REASONS) == {
        ("stop", "end_turn"): 1,
        ("length", "max_tokens"): 1,
        ("none", ""): 1,
    }
    assert values(counted, families.TOOL_BUFFERS_STARTED) == {(): 5}
    assert values(counted, families.TOOL_BUFFERS_FLUSHED) == {(): 3}
    assert values(counted, families.TOOL_BUFFERS_ABORTED) == {("nested",): 1, ("other",): 1}
    assert values(counted, families.TOOL_CALLS_WITHHELD) == {(): 1}
    assert values(counted, families.TOOL_CALLS_DROPPED) == {(): 2}
    assert only(values(counted, families.TOOL_CALLS)) == (3.0, 3)
    assert only(values(counted, families.FIRST_TOKEN)) == (0.015, 1)
    assert only(values(counted, families.STREAM_DURATION)) == (3.0, 9)
    assert only(values(counted, families.FIRST_CONTENT)) == (0.03, 2)
    gaps = values(counted, families.LONGEST_GAP)
    assert {owner: seen.sum for (_, owner), seen in gaps.items()} == {"client": 1.0, "parked": 2.0}
    assert values(counted, families.HEARTBEATS) == {(CHAT,): 2}


def only(seen: dict[tuple[str, ...], Distribution]) -> tuple[float, int]:
    """The one observation of a histogram: its value, and the number of its bucket."""
    (distribution,) = seen.values()
    return distribution.sum, distribution.counts.index(1)


def test_counts_that_nobody_said_are_unknown() -> None:
    counted = metrics()
    counted.request_ended(ended(), 1)
    counted.request_ended(ended(usage=events.Usage(1, 1), usage_source="estimated"), 1)
    assert values(counted, families.USAGE) == {("unknown",): 1, ("estimated",): 1}
    assert values(counted, families.FIRST_TOKEN) == {}
    assert values(counted, families.FIRST_CONTENT) == {}
    assert set(values(counted, families.LONGEST_GAP)) == {(CHAT, "worker")}


def test_a_response_in_the_background_is_one_request_and_one_stream() -> None:
    counted = metrics()
    asked = entry(route="/v1/responses")
    counted.request_ended(asked, 1)
    failed = msgspec.structs.replace(COMPLETED, kind="timeout", code="idle_timeout", status=504)
    end = StreamEnd("s", OPENED, failed)
    counted.background_ended(msgspec.structs.replace(asked, stream=end, status=504))
    assert values(counted, families.REQUESTS) == {("/v1/responses", "POST", "2xx", ""): 1}
    assert values(counted, families.STREAMS) == {("/v1/responses", "known", "timeout"): 1}
    assert values(counted, families.ERRORS) == {("idle_timeout", "provider"): 1}


def series(read: RequestMetrics) -> int:
    """How many sets of labels there are."""
    return sum(len(list(reading.values)) for reading in read.read())


def test_ten_thousand_made_up_names_make_no_series() -> None:
    counted = metrics()
    rng = random.Random(0)
    first = 0
    for number in range(10_000):
        word = f'{rng.randbytes(8).hex()}\n"{number}'
        error = ApiError(word, word, status=rng.randrange(100, 1000))
        counted.request_ended(entry(route=word, method=word, error=error, status=error.status), 1)
        aborted = {word: 1}
        hostile = ended(
            word,
            kind="upstream_error",
            code=word,
            finish_reasons=(word,),
            finish_words=(word,),
            tool_buffers_aborted=aborted,
            usage=events.Usage(1, 1),
            ttft_us=1,
        )
        counted.request_ended(hostile, 1)
        if number == 100:
            first = series(counted)
    assert series(counted) == first
    assert values(counted, families.STREAMS) == {(CHAT, "other", "upstream_error"): 10_000}
    counts = values(counted, families.ERRORS)
    assert counts == {("other", "provider"): 20_000}
    requests = values(counted, families.REQUESTS)
    assert {(route, method) for route, method, _, _ in requests} == {
        ("other", "other"),
        (CHAT, "POST"),
    }
