"""The bytes of a Responses stream, against the API's own events and the SDK's own types."""

import json
from typing import Any

import msgspec
import pytest

from machines import tooloptions
from machines.events import Usage
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Keepalive,
    Members,
    Reasoning,
    ReasoningDone,
    Refusal,
    Rejected,
    Role,
    ToolBufferAborted,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    UsageTotals,
)
from server.responses.render import stream as responsestream
from tests.server.responses.opening import (
    BEGUN,
    COUNTED,
    END,
    NOW,
    check,
    opened,
    render,
    requested,
)
from tests.support.client import responseswire
from tests.support.providers import responsescript as script


def tokens(*texts: str) -> Members:
    """What an upstream says of each token of an output that comes next."""
    content = [{"token": text, "logprob": -0.1, "top_logprobs": []} for text in texts]
    members = msgspec.json.encode({"logprobs": {"content": content}})
    return Members("choice", msgspec.Raw(members), followed=True)


@pytest.mark.parametrize(
    "before", [Reasoning("Hm."), ToolCall(0, "c1", "f", "{}")], ids=["thinking", "call"]
)
def test_tokens_of_something_else_are_not_those_of_the_text(before: Any) -> None:
    body, _ = render(*BEGUN, tokens("other"), before, tokens("Hi"), Content("Hi"), *END)
    assert b"other" not in body
    told = [each for each in responseswire.events(body) if each.get("logprobs")]
    assert [token["token"] for each in told for token in each["logprobs"]] == ["Hi", "Hi"]


def test_the_first_bytes_are_the_apis_own() -> None:
    body, _ = render(*BEGUN, Content('He"l\n'))
    created, _, item, part, delta = body.decode().removesuffix("\n\n").split("\n\n")
    assert created.startswith(
        'event: response.created\ndata: {"type":"response.created","sequence_number":0,'
        '"response":{"id":"resp_1","object":"response","created_at":1795293345,'
        '"status":"in_progress",'
    )
    assert item == (
        "event: response.output_item.added\n"
        'data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,'
        '"item":{"id":"msg_10000","type":"message","status":"in_progress","role":"assistant",'
        '"content":[]}}'
    )
    assert part == (
        "event: response.content_part.added\n"
        'data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_10000",'
        '"output_index":0,"content_index":0,'
        '"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}'
    )
    assert delta == (
        "event: response.output_text.delta\n"
        'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_10000",'
        r'"output_index":0,"content_index":0,"delta":"He\"l\n","logprobs":[]}'
    )


def test_text() -> None:
    body, rendering = render(*BEGUN, Content("Hel"), Content("lo "), Content("wörld!"), *END)
    check(
        body,
        *script.begun(),
        *script.message(0, "Hel", "lo ", "wörld!"),
        script.ended("completed", [script.said(0, "Hello wörld!")]),
    )
    assert (rendering.status, rendering.frames, rendering.chunked) == (200, 12, True)


def test_a_summary_of_the_thinking_before_the_text() -> None:
    body, _ = render(
        *BEGUN,
        Reasoning("think "),
        Reasoning("more"),
        ReasoningDone("e"),
        Content("Hi"),
        *END,
    )
    thought = script.thought(0, "think more")
    opening, end = script.ends_of(0, script.thought(0), thought)
    check(
        body,
        *script.begun(),
        opening,
        *script.parted(0, 0, "summary_text", "think ", "more"),
        end,
        *script.message(1, "Hi"),
        script.ended("completed", [thought, script.said(1, "Hi")]),
    )


def test_the_thinking_itself() -> None:
    body, _ = render(*BEGUN, Reasoning("hm", kind="text"), ReasoningDone(""), Content("Hi"), *END)
    thought = script.thought(0, content=["hm"])
    opening, end = script.ends_of(0, script.thought(0, content=[]), thought)
    check(
        body,
        *script.begun(),
        opening,
        *script.parted(0, 0, "reasoning_text", "hm"),
        end,
        *script.message(1, "Hi"),
        script.ended("completed", [thought, script.said(1, "Hi")]),
    )


def test_text_on_either_side_of_thinking_is_two_messages() -> None:
    body, _ = render(*BEGUN, Content("One."), Reasoning("hm"), Content("T"), Content("wo."), *END)
    thought = script.thought(1, "hm")
    opening, end = script.ends_of(1, script.thought(1), thought)
    check(
        body,
        *script.begun(),
        *script.message(0, "One."),
        *(opening, *script.parted(1, 0, "summary_text", "hm"), end),
        *script.message(2, "T", "wo."),
        script.ended("completed", [script.said(0, "One."), thought, script.said(2, "Two.")]),
    )


def test_thinking_whose_end_nobody_tells_ends_where_something_else_begins() -> None:
    body, _ = render(*BEGUN, Reasoning("hm"), ToolCall(0, "call_a", "f", "{}"), *END)
    types = [event["type"] for event in responseswire.whole(body)]
    ended = types.index("response.output_item.done")
    assert types[ended + 1] == "response.output_item.added"


@pytest.mark.parametrize("asks", [True, False])
def test_encrypted_content_is_sent_to_those_who_ask(asks: bool) -> None:
    include = ["reasoning.encrypted_content"] if asks else []
    rendering = responsestream.ResponseEvents(opened(request=requested(include=include)))
    told = (*BEGUN, Reasoning("hm"), ReasoningDone("rs_x:secret"), Content("Hi"), *END)
    body = b"".join(rendering.render(output, NOW) for output in told)
    begun = {"encrypted_content": None} if asks else {}
    known: dict[str, Any] = {"encrypted_content": "rs_x:secret"} if asks else {}
    thought = script.thought(0, "hm", **known)
    opening, end = script.ends_of(0, script.thought(0, **begun), thought)
    check(
        body,
        *script.begun(),
        opening,
        *script.parted(0, 0, "summary_text", "hm"),
        end,
        *script.message(1, "Hi"),
        script.ended("completed", [thought, script.said(1, "Hi")]),
    )
    kept = json.loads(bytes(rendering.answer.output.kept()[0]))
    assert kept == script.thought(0, "hm", encrypted_content="rs_x:secret")


@pytest.mark.parametrize("reason", ["stop", "content_filter"])
def test_a_refusal_is_an_answer(reason: str) -> None:
    body, _ = render(*BEGUN, Refusal("I can't "), Refusal("help."), Finish(reason), *COUNTED)
    check(
        body,
        *script.begun(),
        *script.message(0, "I can't ", "help.", kind="refusal"),
        script.ended("completed", [script.said(0, "I can't help.", kind="refusal")]),
    )


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_what_is_cut_is_incomplete(finish: str, reason: str) -> None:
    body, _ = render(*BEGUN, Content("Hel"), Finish(finish), *COUNTED)
    check(
        body,
        *script.begun(),
        *script.message(0, "Hel", status="incomplete"),
        script.ended("incomplete", [script.said(0, "Hel", "incomplete")], reason=reason),
    )


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    body, _ = render(*BEGUN, *END)
    check(
        body, *script.begun(), *script.message(0), script.ended("completed", [script.said(0, "")])
    )


def test_a_failure_after_the_head_is_told_twice_and_then_the_sentinel() -> None:
    failure = Failure("worker_exited", "The worker's process ended.")
    body, rendering = render(*BEGUN, Content("Hel"), failure)
    check(
        body,
        *script.begun(),
        *script.begun_message(0, "Hel"),
        *script.failed(
            "worker_exited",
            "The worker's process ended.",
            [script.said(0, "Hel", "incomplete")],
        ),
    )
    assert (rendering.status, rendering.frames, rendering.chunked) == (200, 8, True)


def test_a_failure_after_nothing_but_the_head_has_no_output() -> None:
    failure = Failure("rate_limit_exceeded", "Slow down.", 429, retry_after=7.0)
    body, _ = render(Head(), failure)
    check(
        body,
        *script.begun(),
        *script.failed("rate_limit_exceeded", "Slow down.", [], "rate_limit_error"),
    )


def test_a_failure_before_the_head_is_an_answer_of_its_own() -> None:
    failure = Failure("context_length_exceeded", "Too long.", 400, "input")
    body, rendering = render(Rejected(failure))
    assert json.loads(body) == {
        "error": {
            "message": "Too long.",
            "type": "invalid_request_error",
            "param": "input",
            "code": "context_length_exceeded",
        }
    }
    assert (rendering.status, rendering.frames, rendering.chunked) == (400, 0, False)
    assert rendering.headers == [("content-type", "application/json")]


def test_a_failure_before_the_head_keeps_the_providers_pause() -> None:
    _, rendering = render(Rejected(Failure("rate_limit_exceeded", "Slow down.", 429, None, 7.0)))
    assert ("retry-after", "7") in rendering.headers


def test_counts_that_are_unknown_are_zeros_behind_a_comment() -> None:
    body, _ = render(*BEGUN, Content("Hi"), Finish("stop"), UsageTotals(None), Done())
    told = [
        *script.begun(),
        *script.message(0, "Hi"),
        script.ended("completed", [script.said(0, "Hi")], usage=script.usage(0, 0)),
    ]
    assert responseswire.whole(body) == script.numbered(*told)
    last = body.index(b"event: response.completed")
    assert body[:last].endswith(script.COUNTS_UNKNOWN)


def test_counts_that_are_estimated_are_told_behind_a_comment() -> None:
    estimate = UsageTotals(Usage(2, 3), "estimated")
    body, _ = render(*BEGUN, Content("Hi"), Finish("length"), estimate, Done())
    before, _, _ = body.partition(b"event: response.incomplete")
    assert before.endswith(b"\n\n: x-turntape-usage: estimated\n\n")
    assert responseswire.whole(body)[-1]["response"]["usage"] == script.usage(2, 3)


def test_every_count_is_told() -> None:
    body, _ = render(
        *BEGUN, Content("Hi"), Finish("stop"), UsageTotals(Usage(10, 5, 3, 1)), Done()
    )
    last = responseswire.whole(body)[-1]
    assert last["response"]["usage"] == script.usage(10, 5, 3, 1)


def test_a_heartbeat_is_an_event_wherever_it_comes() -> None:
    body, rendering = render(
        Head(), Keepalive(), Role(), Content("Hel"), Keepalive(), Content("lo"), *END
    )
    text = script.message(0, "Hel", "lo")
    check(
        body,
        *script.begun(),
        script.waiting(),
        *text[:3],
        script.waiting(),
        *text[3:],
        script.ended("completed", [script.said(0, "Hello")]),
    )
    assert rendering.frames == len(responseswire.events(body))


def test_the_request_is_repeated_in_every_event_with_the_response() -> None:
    echoed: dict[str, Any] = {
        "metadata": {"a": "b"},
        "temperature": 0.3,
        "instructions": "Be brief.",
    }
    body, _ = render(*BEGUN, Content("Hi"), *END, request=requested(**echoed), stored=True)
    echoed["store"] = True
    check(
        body,
        *script.begun(**echoed),
        *script.message(0, "Hi"),
        script.ended("completed", [script.said(0, "Hi")], **echoed),
    )


def test_what_a_client_does_not_see_has_no_bytes() -> None:
    silent = (
        Role(),
        CancelTurn(),
        ToolBufferStarted(),
        ToolBufferFlushed(),
        ToolBufferAborted("nested"),
    )
    body, rendering = render(*silent)
    assert (body, rendering.frames, rendering.status) == (b"", 0, 0)


def test_a_client_that_takes_no_comments_gets_none() -> None:
    silent = tooloptions.ToolOptions(sse_comments=False)
    body, _ = render(*BEGUN, Finish("stop"), UsageTotals(None), Done(), tools=silent)
    assert not any(line.startswith(b":") for line in body.splitlines())


def test_a_response_that_was_cancelled_is_told_so_to_those_who_follow_it() -> None:
    rendering = responsestream.ResponseEvents(opened())
    body = b"".join(rendering.render(output) for output in (*BEGUN, Content("Hel")))
    check(
        body + rendering.cancelled(),
        *script.begun(),
        *script.begun_message(0, "Hel"),
        {
            "type": "response.failed",
            "response": script.response("cancelled", [script.said(0, "Hel", "incomplete")]),
        },
    )


def test_a_streams_headers_keep_caches_and_proxies_from_holding_it() -> None:
    assert responsestream.ResponseEvents(opened()).headers() == [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ]
