"""Rows 1 to 9: how the answers of an upstream end, or do not."""

import concurrent.futures
import time
from collections.abc import Iterator

import pytest

from machines import events
from tests.faults import expected, scene
from tests.faults.upstreamstage import SO_FAR, TOLD, USAGE, Staged, upstream
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, framed, sse, usage

STOPPED = framed(sse(chunk(finish="stop")))
BROKEN = expected.error(
    "upstream_disconnected", "The provider's stream ended before the answer was complete."
)
TRUNCATED = expected.error(
    "upstream_truncated",
    "The provider's stream ended without saying that the answer is complete.",
)


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream(PROXY_FINISH_GRACE_MS="300") as staged:
        yield staged


@pytest.fixture(scope="module")
def hasty() -> Iterator[Staged]:
    """Its first-chunk limit is shorter than its hold, and an empty stream is an error."""
    with upstream(
        PROXY_FIRST_CHUNK_TIMEOUT_MS="300",
        PROXY_EMPTY_UPSTREAM="error",
    ) as staged:
        yield staged


@pytest.fixture(scope="module")
def patient() -> Iterator[Staged]:
    """It sends the head early, and its limits come after it."""
    with upstream(
        PROXY_HEAD_HOLD_MS="100",
        PROXY_SSE_KEEPALIVE_MS="100",
        PROXY_STREAM_IDLE_TIMEOUT_MS="550",
        PROXY_FIRST_CHUNK_TIMEOUT_MS="550",
    ) as staged:
        yield staged


def test_row_01_a_finish_ends_the_answer_and_the_upstream_is_let_go(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD + STOPPED, "stall"])
    streamed = staged.stage.ask(prompt, stream=True)
    assert streamed.body == SO_FAR + expected.finish("stop") + expected.DONE
    assert streamed.whole
    (request,) = staged.source.requests_for(prompt)
    machinetime.until(request.left.is_set, scene.SECOND)
    staged.survived("completed", None, streamed)


def test_row_01_counts_that_are_wanted_are_waited_for_as_long_as_the_grace(
    staged: Staged,
) -> None:
    prompt = staged.source.prompt([TOLD + STOPPED, "stall"])
    with staged.stage.asked(prompt, stream=True, **USAGE) as asked:
        asked.until(b'"finish_reason":"stop"')
        told = time.monotonic()
        with machinetime.within(0.3 + scene.SECOND):
            answer = asked.answer()
    assert time.monotonic() - told > 0.1
    counted = {"asks_usage": True}
    assert answer.body == (
        expected.role(**counted)
        + expected.content("Hel", "lo", **counted)
        + expected.finish("stop", **counted)
        + expected.UNKNOWN
        + expected.usage(0, 0)
        + expected.DONE
    )
    (last,) = staged.survived("completed", None, answer)
    assert last.usage is None


def test_row_01_an_answer_that_is_not_streamed_is_whole_too(staged: Staged) -> None:
    answer = staged.whole([TOLD + STOPPED, "stall"])
    assert answer.status == 200
    assert answer.headers["x-turntape-usage"] == "unknown"
    staged.survived("completed", None, answer)


@pytest.mark.parametrize("end", ["reset", "close"])
def test_row_02_a_break_after_some_events_is_an_error_frame(
    staged: Staged, end: scripted.Step
) -> None:
    staged.breaks([TOLD, end], SO_FAR + BROKEN, "upstream_disconnected")


def test_row_02_a_body_shorter_than_its_length_is_a_break(staged: Staged) -> None:
    head = upstreams.head(200, "content-length: 1000")
    body = expected.role() + expected.content("Hello") + BROKEN
    staged.breaks([head + sse(chunk("Hello")), "close"], body, "upstream_disconnected")


def test_row_02_the_counts_so_far_are_in_the_log_and_not_on_the_wire(staged: Staged) -> None:
    counted = framed(sse(chunk("!", usage=usage(7, 3))))
    answer = staged.streamed([TOLD + counted, "reset"], **USAGE)
    assert answer.body.endswith(BROKEN)
    assert b"prompt_tokens" not in answer.raw
    (last,) = staged.survived("upstream_error", "upstream_disconnected", answer)
    assert last.usage == events.Usage(7, 3)


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 O", STREAM_HEAD])
def test_row_02_a_break_before_any_event_is_a_502(staged: Staged, begun: bytes) -> None:
    answers = staged.streamed([begun, "reset"]), staged.whole([begun, "reset"])
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
        assert answer.headers["retry-after"] == "1"
    staged.survived("upstream_error", "upstream_disconnected", *answers)


def test_row_02_a_new_connection_that_breaks_at_once_is_not_replaced(staged: Staged) -> None:
    staged.streamed([TOLD, "reset"])  # the connection that was kept is gone
    prompt = staged.source.prompt(["reset"], upstreams.PLAIN)
    answer = staged.stage.ask(prompt, stream=True)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert len(staged.source.requests_for(prompt)) == 1
    staged.survived("upstream_error", "upstream_disconnected", answer)


@pytest.mark.parametrize(
    "answer",
    [[TOLD, LAST], [upstreams.head() + sse(chunk("Hel"), chunk("lo")), "close"]],
    ids=["chunked", "to the close"],
)
def test_row_03_a_body_that_ends_without_a_finish_is_truncated(
    staged: Staged, answer: upstreams.Answer
) -> None:
    staged.breaks(answer, SO_FAR + TRUNCATED, "upstream_truncated")


def test_row_04_a_client_that_leaves_mid_stream_lets_go_of_the_upstream(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD, "stall"])
    with staged.stage.asked(prompt, stream=True) as leaving:
        leaving.until(expected.content("lo")[-30:])
        request = staged.source.request_for(prompt)
        assert not request.left.is_set()
    machinetime.until(request.left.is_set, scene.SECOND)
    (last,) = staged.survived("client_gone", None, leaving, cause="left")
    assert (last.frames, len(staged.source.requests_for(prompt))) == (3, 1)


@pytest.mark.parametrize("begun", [b"", STREAM_HEAD], ids=["no head", "head"])
@pytest.mark.parametrize("stream", [True, False])
def test_row_05_a_client_that_leaves_before_the_head_lets_go_of_the_upstream(
    staged: Staged, begun: bytes, stream: bool
) -> None:
    prompt = staged.source.prompt([begun, "stall"])
    with staged.stage.asked(prompt, stream=stream) as leaving:
        request = staged.source.request_for(prompt)
    machinetime.until(request.left.is_set, scene.SECOND)
    (last,) = staged.survived("client_gone", None, leaving, cause="left")
    assert (last.frames, len(staged.source.requests_for(prompt))) == (0, 1)


@pytest.mark.parametrize("begun", [b"", STREAM_HEAD], ids=["no head", "head"])
def test_row_07_no_output_in_time_is_a_504(hasty: Staged, begun: bytes) -> None:
    prompts = [hasty.source.prompt([begun, "stall"]) for _ in range(2)]
    answers = [hasty.stage.ask(prompts[0], stream=True), hasty.stage.ask(prompts[1])]
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (504, "request_timeout")
        assert answer.headers["x-should-retry"] == "false"
    for prompt in prompts:
        machinetime.until(hasty.source.request_for(prompt).left.is_set, scene.SECOND)
    hasty.survived("timeout", "request_timeout", *answers)


def test_row_07_no_output_after_the_head_is_an_error_frame(patient: Staged) -> None:
    answer = patient.streamed([STREAM_HEAD, "stall"])
    frame = expected.error("request_timeout", "The model sent no output within the time limit.")
    assert answer.status == 200
    assert answer.body.replace(expected.KEEPALIVE, b"") == frame
    patient.survived("timeout", "request_timeout", answer)


def test_row_08_a_stall_keeps_the_text_and_no_heartbeat_delays_its_end(patient: Staged) -> None:
    heartbeats_for_seconds: list[scripted.Step] = [0.1, framed(b": keepalive\n\n")] * 100
    answer = patient.streamed([TOLD, *heartbeats_for_seconds, "close"])
    frame = expected.error(
        "idle_timeout", "The model stopped sending output before its answer was complete."
    )
    heartbeats = answer.body.count(expected.KEEPALIVE)
    assert heartbeats >= 3
    assert answer.body == SO_FAR + heartbeats * expected.KEEPALIVE + frame
    patient.survived("timeout", "idle_timeout", answer)


def test_row_08_a_stall_of_an_answer_not_streamed_is_a_504(patient: Staged) -> None:
    answer = patient.whole([TOLD, "stall"])
    assert (answer.status, answer.error["code"]) == (504, "idle_timeout")
    patient.survived("timeout", "idle_timeout", answer)


NOTHING = {"nothing": b"", "comments": framed(b": hi\n\n: there\n\n"), "sentinel": framed(DONE)}


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
def test_row_09_a_stream_without_an_event_is_empty(staged: Staged, body: bytes) -> None:
    streamed = staged.streamed([STREAM_HEAD + body, LAST])
    assert (streamed.status, streamed.raw, streamed.whole) == (200, b"", True)
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    whole = staged.whole([STREAM_HEAD + body, LAST])
    assert (whole.status, whole.error["code"]) == (502, "empty_upstream")
    staged.survived("empty", None, streamed)
    staged.survived("empty", "empty_upstream", whole)


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
def test_row_09_it_is_an_error_where_the_server_is_set_so(hasty: Staged, body: bytes) -> None:
    answer = hasty.streamed([STREAM_HEAD + body, LAST])
    assert (answer.status, answer.error["code"]) == (502, "empty_upstream")
    hasty.survived("empty", "empty_upstream", answer)


@pytest.mark.long
def test_row_04_a_thousand_clients_that_leave_leave_nothing() -> None:
    with upstream(PROXY_SSE_MAX_CONCURRENCY="64", PROXY_LOG_FSYNC="none") as staged:
        prompt = staged.source.prompt([TOLD, "stall"])

        def leave(_: int) -> None:
            with staged.stage.asked(prompt, stream=True) as leaving:
                leaving.until(b"Hel")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(leave, range(1000)))
        staged.stage.released()
        kinds = [(each["kind"], each["cause"]) for each in gone(staged)]
        assert kinds == [("client_gone", "left")] * 1000
        holding = [staged.stage.asked(prompt, stream=True) for _ in range(64)]
        assert {asked.head.status for asked in holding} == {200}
        refused = staged.stage.ask(prompt, stream=True)
        assert (refused.status, refused.error["code"]) == (429, "concurrency_exceeded")
        for asked in holding:
            asked.leave()
        staged.survived("client_gone", None, holding[0], cause="left")
        assert len(gone(staged)) == 1064


def gone(staged: Staged) -> list[scene.Json]:
    """The terminal records of streams whose clients left, a record a stream."""
    ends = staged.stage.server.terminals()
    assert len({end["stream"] for end in ends}) == len(ends)
    return [end for end in ends if end["kind"] == "client_gone"]
