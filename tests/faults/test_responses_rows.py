"""Rows of the fault matrix on `/v1/responses`, in front of an upstream: its bytes, its ends."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from machines import events
from tests.faults import scene, watched
from tests.faults.responsesstage import BEGUN, MEMBERS, Asked, Stage, broken, completed
from tests.faults.upstreamstage import FINISHED, TOLD, Staged, upstream
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers import responsescript as script, scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, counted, framed, sse

STOPPED = framed(sse(chunk(finish="stop")))
DISCONNECTED = "The provider's stream ended before the answer was complete."
TRUNCATED = "The provider's stream ended without saying that the answer is complete."
STOPPING = "The server is stopping."


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream(stage=Stage, PROXY_FINISH_GRACE_MS="300") as staged:
        yield staged


@pytest.fixture(scope="module")
def patient() -> Iterator[Staged]:
    """It sends the head early, and its limits come after it."""
    with upstream(
        stage=Stage,
        PROXY_HEAD_HOLD_MS="100",
        PROXY_SSE_KEEPALIVE_MS="100",
        PROXY_STREAM_IDLE_TIMEOUT_MS="550",
        PROXY_FIRST_CHUNK_TIMEOUT_MS="550",
    ) as staged:
        yield staged


def test_row_01_a_finish_ends_the_answer_and_the_upstream_is_let_go(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD + STOPPED, "stall"])
    streamed, whole = staged.stage.ask(prompt, stream=True), staged.stage.ask(prompt)
    assert (streamed.body, streamed.whole) == (completed("Hel", "lo"), True)
    assert (whole.status, whole.headers["x-turntape-usage"]) == (200, "unknown")
    for request in staged.source.requests_for(prompt):
        machinetime.until(request.left.is_set, scene.SECOND)
    staged.survived("completed", None, streamed, whole)


@pytest.mark.parametrize("end", ["reset", "close"])
def test_row_02_a_break_after_some_events_is_a_failed_response(
    staged: Staged, end: scripted.Step
) -> None:
    body = broken("upstream_disconnected", DISCONNECTED, "Hel", "lo")
    staged.breaks([TOLD, end], body, "upstream_disconnected")


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 O", STREAM_HEAD])
def test_row_02_a_break_before_any_event_is_a_502(staged: Staged, begun: bytes) -> None:
    answers = staged.streamed([begun, "reset"]), staged.whole([begun, "reset"])
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    staged.survived("upstream_error", "upstream_disconnected", *answers)


def test_row_03_a_body_that_ends_without_a_finish_is_truncated(staged: Staged) -> None:
    body = broken("upstream_truncated", TRUNCATED, "Hel", "lo")
    staged.breaks([TOLD, LAST], body, "upstream_truncated")


def test_row_04_a_client_that_leaves_mid_stream_lets_go_of_the_upstream(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD, "stall"])
    with staged.stage.asked(prompt, stream=True) as leaving:
        leaving.until(b'"delta":"lo"')
        request = staged.source.request_for(prompt)
        assert not request.left.is_set()
    machinetime.until(request.left.is_set, scene.SECOND)
    (last,) = staged.survived("client_gone", None, leaving, cause="left")
    assert last.frames == 6


@pytest.mark.parametrize("stream", [True, False])
def test_row_05_a_client_that_leaves_before_the_head_lets_go_of_the_upstream(
    staged: Staged, stream: bool
) -> None:
    prompt = staged.source.prompt([STREAM_HEAD, "stall"])
    with staged.stage.asked(prompt, stream=stream) as leaving:
        request = staged.source.request_for(prompt)
    machinetime.until(request.left.is_set, scene.SECOND)
    (last,) = staged.survived("client_gone", None, leaving, cause="left")
    assert (last.frames, len(staged.source.requests_for(prompt))) == (0, 1)


def test_row_06_a_client_that_stops_reading_costs_its_own_stream() -> None:
    limits = {"write_stall": 0.5, "over_limit_stall": 0.5}
    flood = scripted.Repeated(framed(sse(chunk("x" * 65_536))), 4096)
    with upstream(stage=Stage, http_limits=limits, PROXY_SSE_MAX_CONCURRENCY="2") as staged:
        prompt = staged.source.prompt([STREAM_HEAD, flood])
        before = staged.stage.server.resident()
        with staged.stage.asked(prompt, stream=True, receive_buffer=4096) as stalled:
            stalled.until(b"xxx")
            other = staged.streamed([TOLD + FINISHED])
            assert other.body == completed("Hel", "lo")
            machinetime.until(staged.source.request_for(prompt).left.is_set)
        assert staged.stage.server.resident() - before < 48 << 20
        staged.survived("client_gone", None, stalled, cause="write_stall")


@pytest.mark.long
def test_row_07_no_output_in_time_is_a_504() -> None:
    with upstream(stage=Stage, PROXY_FIRST_CHUNK_TIMEOUT_MS="300") as hasty:
        prompt = hasty.source.prompt([STREAM_HEAD, "stall"])
        answers = hasty.stage.ask(prompt, stream=True), hasty.stage.ask(prompt)
        for answer in answers:
            assert (answer.status, answer.error["code"]) == (504, "request_timeout")
        hasty.survived("timeout", "request_timeout", *answers)


def test_row_07_no_output_after_the_head_is_a_failed_response(patient: Staged) -> None:
    answer = patient.streamed([STREAM_HEAD, "stall"])
    message = "The model sent no output within the time limit."
    heartbeats = answer.raw.count(b"event: response.in_progress") - 1
    assert heartbeats >= 2
    assert answer.body == broken("request_timeout", message, heartbeats=heartbeats)
    patient.survived("timeout", "request_timeout", answer)


def test_row_08_a_stall_keeps_the_text_and_no_heartbeat_delays_its_end(patient: Staged) -> None:
    heartbeats_for_seconds: list[scripted.Step] = [0.1, framed(b": keepalive\n\n")] * 100
    answer = patient.streamed([TOLD, *heartbeats_for_seconds, "close"])
    message = "The model stopped sending output before its answer was complete."
    heartbeats = answer.raw.count(b"event: response.in_progress") - 1
    assert heartbeats >= 3
    assert answer.body == broken("idle_timeout", message, "Hel", "lo", heartbeats=heartbeats)
    patient.survived("timeout", "idle_timeout", answer)


NOTHING = {"nothing": b"", "comments": framed(b": hi\n\n"), "sentinel": framed(DONE)}


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
def test_row_09_a_stream_without_an_event_is_a_502(staged: Staged, body: bytes) -> None:
    """Not an empty stream, as elsewhere: every client of this API waits for a last event."""
    sent = [STREAM_HEAD + body, LAST]
    answers = staged.streamed(sent), staged.whole(sent)
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (502, "empty_upstream")
    staged.survived("empty", "empty_upstream", *answers)


def test_row_10_a_429_keeps_its_retry_after(staged: Staged) -> None:
    busy = upstreams.response(429, {"error": {"message": "Too many."}}, "retry-after: 7")
    answers = staged.streamed(busy), staged.whole(busy)
    for answer in answers:
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    staged.survived("upstream_error", "rate_limit_exceeded", *answers)


def test_row_14_an_error_as_the_first_event_is_an_http_error(staged: Staged) -> None:
    error = {"error": {"message": "Too many.", "type": "rate_limit_error", "code": None}}
    prompt = staged.source.prompt([STREAM_HEAD + framed(sse(error)), "stall"])
    answers = staged.stage.ask(prompt, stream=True), staged.stage.ask(prompt)
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.error["message"] == "Too many."
    staged.survived("upstream_error", "rate_limit_exceeded", *answers)


def test_row_15_an_error_after_content_is_told_with_its_message(staged: Staged) -> None:
    error = sse({"error": {"message": "Out of memory.", "code": "oom"}})
    late = framed(sse(chunk("late", finish="stop")) + DONE)
    body = broken("oom", "Out of memory.", "Hel", "lo")
    staged.breaks([TOLD + framed(error) + late, "stall"], body, "oom")


def test_row_16_an_event_that_is_not_json_ends_the_stream(staged: Staged) -> None:
    message = "The provider sent an event that is not JSON."
    body = broken("upstream_decode_error", message, "Hel", "lo")
    staged.breaks([TOLD + framed(sse("{Zanzibar")), "stall"], body, "upstream_decode_error")


def test_row_17_an_upstream_that_dies_ends_every_stream_on_it() -> None:
    with upstream(stage=Stage, PROXY_SSE_MAX_CONCURRENCY="5") as dying:
        prompt = dying.source.prompt([TOLD, "stall"])
        streams = [dying.stage.asked(prompt, stream=True) for _ in range(5)]
        for asked in streams:
            asked.until(b'"delta":"lo"')
        port = dying.source.server.port
        dying.source.run(dying.source.server.close())
        with machinetime.within(scene.SECOND):
            answers = [asked.answer() for asked in streams]
        dying.source.run(dying.source.server.open(port))
        for answer in answers:
            assert answer.body == broken("upstream_disconnected", DISCONNECTED, "Hel", "lo")
        dying.survived("upstream_error", "upstream_disconnected", *answers)


def fragment(index: int, call_id: str | None, name: str | None, arguments: str) -> scene.Json:
    """A chunk with a piece of a call."""
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": call_id, "type": "function", "function": function}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    return chunk(choices=[choice])


CUT_CALLS = framed(sse(fragment(0, "c1", "a", "{}"), fragment(1, "c2", "b", '{"x":')))
"""A whole call, and the beginning of another."""

TOLD_CALLS = (
    *script.call(0, "c1", "a", "{}"),
    *script.call(1, "c2", "b", '{"x":')[:2],
)
"""What a client has heard of them."""


def cut_items() -> list[scene.Json]:
    """What a response that ends there has of them."""
    return [
        script.called(0, "c1", "a", "{}"),
        script.called(1, "c2", "b", '{"x":', "incomplete"),
    ]


def test_row_24_a_stream_that_dies_in_arguments_says_that_the_call_is_not_whole(
    staged: Staged,
) -> None:
    failed = script.failed("upstream_disconnected", DISCONNECTED, cut_items(), **MEMBERS)
    body = script.stream(*BEGUN, *TOLD_CALLS, *failed)
    staged.breaks([STREAM_HEAD + CUT_CALLS, "reset"], body, "upstream_disconnected")


def test_row_24_one_that_says_length_in_arguments_is_incomplete(staged: Staged) -> None:
    ended = framed(sse(chunk(finish="length"), counted(7, 2), "[DONE]"))
    sent = [STREAM_HEAD + CUT_CALLS + ended, LAST]
    streamed, whole = staged.streamed(sent), staged.whole(sent)
    items = cut_items()
    end = script.ended(
        "incomplete",
        items,
        reason="max_output_tokens",
        usage=script.usage(7, 2),
        completed_at=1,
        **MEMBERS,
    )
    cut = [script.arguments_done(items[1]), script.ends_of(1, items[1], items[1])[1]]
    assert streamed.body == script.stream(*BEGUN, *TOLD_CALLS, *cut, end)
    assert json.loads(whole.body) == end["response"]
    staged.survived("completed", None, streamed, whole)


def test_row_33_heartbeats_are_events_before_the_answer_and_nowhere_else(
    patient: Staged,
) -> None:
    ended = framed(sse(chunk("Hel"), chunk("lo"), chunk(finish="stop"), counted(7, 2)) + DONE)
    answer = patient.streamed([STREAM_HEAD, 0.4, ended, LAST])
    heartbeats = answer.raw.count(b"event: response.in_progress") - 1
    assert heartbeats >= 2
    counts = script.usage(7, 2)
    assert answer.body == completed("Hel", "lo", usage=counts, heartbeats=heartbeats)
    patient.survived("completed", None, answer)


def test_row_36_more_streams_than_permits_are_refused_at_once(staged: Staged) -> None:
    gate = scripted.Gate()
    prompt = staged.source.prompt([TOLD, gate, FINISHED, "close"])
    with staged.stage.asked(prompt, stream=True) as held:
        held.until(b'"delta":"lo"')
        for _ in range(3):
            refused = staged.stage.ask(prompt, stream=True)
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert refused.error["code"] == "concurrency_exceeded"
            staged.stage.recorded("rejected", "concurrency_exceeded", refused)
        gate.open()
        answer = held.answer()
    assert answer.body == completed("Hel", "lo")
    staged.survived("completed", None, answer)


def test_row_38_a_drain_lets_streams_finish() -> None:
    with upstream(stage=Stage) as staged:
        gate = scripted.Gate()
        prompt = staged.source.prompt([TOLD, gate, FINISHED])
        with staged.stage.asked(prompt, stream=True) as live:
            live.until(b'"delta":"lo"')
            drain(staged.stage.server)
            gate.open()
            answer = live.answer()
        assert answer.body == completed("Hel", "lo")
        assert staged.stage.server.process.wait(timeout=httpclient.WAIT_S) == 0
        staged.stage.recorded("completed", None, answer)


def test_row_38_the_deadline_of_a_drain_fails_responses() -> None:
    with upstream(stage=Stage, PROXY_DRAIN_TIMEOUT_MS="200") as staged:
        prompt = staged.source.prompt([TOLD, "stall"])
        with staged.stage.asked(prompt, stream=True) as live:
            live.until(b'"delta":"lo"')
            drain(staged.stage.server)
            answer = live.answer()
        assert answer.body == broken("server_shutdown", STOPPING, "Hel", "lo")
        assert staged.stage.server.process.wait(timeout=httpclient.WAIT_S) == 0
        staged.stage.recorded("shutdown", "server_shutdown", answer)


def drain(server: watched.ObservedServe) -> None:
    """Have a server stop, and wait until it says that it does."""
    server.process.send_signal(signal.SIGTERM)
    machinetime.until(lambda: any(line.get("state") == "draining" for line in server.lines))


def test_row_38_the_next_start_closes_what_a_killed_server_left_open(tmp_path: Path) -> None:
    with upstreams.Hosted() as source:
        told = source.prompt([TOLD, "stall"])
        arguments = ("--worker", "upstream")
        with (
            scene.started(*arguments, data_dir=tmp_path, PROXY_UPSTREAM_URL=source.url) as server,
            Asked(server, told, stream=True) as live,
        ):
            live.until(b'"delta":"lo"')
            server.stop(signal.SIGKILL)
        with scene.started(*arguments, data_dir=tmp_path, PROXY_UPSTREAM_URL=source.url) as server:
            server.wait_ready()
            assert server.stop() == 0
        story = serverlog.story(server, live.request_id)
        (end,) = [event for event in story if isinstance(event, events.Terminal)]
        assert (end.kind, end.emission_trigger, end.status) == ("shutdown", "recovery", 200)
        assert server.replay().returncode == 0


def test_a_masked_log_of_every_end_replays() -> None:
    with upstream(stage=Stage, PROXY_EVENT_LOG="masked") as staged:
        ended = framed(sse(chunk(finish="tool_calls"), counted(7, 2), "[DONE]"))
        tools = {"tools": [{"type": "function", "name": "a", "description": "Zanzibar"}]}
        answers = [
            staged.streamed([TOLD + FINISHED], instructions="Zanzibar", metadata={"Z": "Zanzi"}),
            staged.streamed([STREAM_HEAD + CUT_CALLS + ended, LAST], **tools),
            staged.whole([STREAM_HEAD + CUT_CALLS + ended, LAST], **tools),
            staged.streamed([TOLD, "reset"]),
        ]
        assert [answer.status for answer in answers] == [200] * 4
        staged.stage.released()
        logged = "".join(str(record) for record in staged.stage.server.records())
        assert "Zanzi" not in logged
        assert "Hel" not in logged
        ends = [serverlog.terminal(staged.stage.server, each.request_id) for each in answers]
        assert [end.kind for end in ends] == ["completed"] * 3 + ["upstream_error"]


def test_what_has_failed_is_found_as_it_was_told(staged: Staged) -> None:
    answer = staged.streamed([TOLD, "reset"])
    (created, *_) = answer.raw.split(b"\n\n")
    response_id = json.loads(created.partition(b"data: ")[2])["response"]["id"]
    status, kept = staged.stage.server.get(f"/v1/responses/{response_id}")
    assert (status, kept["status"]) == (200, "failed")
    assert kept["error"]["message"] == DISCONNECTED
