"""The response that is not streamed: the API's own shape, and what the stream adds up to."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import event as note, example, given, strategies as st
from openai.types.responses import Response

from machines import events, outputs, tooloptions
from machines.events import Usage
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Keepalive,
    Reasoning,
    ReasoningDone,
    Refusal,
    Rejected,
    Role,
    ToolArguments,
    ToolBlock,
    ToolCall,
    ToolCounts,
    UsageTotals,
)
from machines.stream import machine as stream
from server import renderers
from server.api.reply import Reply
from server.responses.render import fold as responsefold, stream as responsestream
from tests.server.responses.opening import NOW, drawn, opened
from tests.support.client import responseswire
from tests.support.machines import stories
from tests.support.providers import responsescript as script

END = (UsageTotals(Usage(11, 5)), Done())


def render(*said: outputs.AnyOutput, **options: Any) -> tuple[bytes, Reply]:
    folded = Reply(responsefold.ResponseBody(opened(streaming=False, **options)))
    return b"".join(folded.render(output, NOW) for output in said), folded


def check(body: bytes, status: str, *output: script.Event, **members: Any) -> None:
    """The body is that response, which the SDK takes."""
    whole = {"completed_at": script.CREATED, "usage": script.usage(11, 5), **members}
    assert json.loads(body) == script.response(status, list(output), **whole)
    Response.model_validate_json(body, strict=True)


def test_an_answer_looks_like_the_apis_own() -> None:
    body, folded = render(
        Head(), Role(), Content("Hello "), Content("wörld!"), Finish("stop"), *END
    )
    check(body, "completed", script.said(0, "Hello wörld!"))
    assert (folded.status, folded.frames, folded.chunked) == (200, 1, False)
    assert folded.headers == [("content-type", "application/json")]


def test_thinking_calls_and_text_are_items_in_the_order_they_came() -> None:
    body, _ = render(
        Head(),
        Role(),
        Reasoning("hm"),
        ReasoningDone("secret"),
        Content("Look."),
        ToolCall(0, "call_a", "f", '{"x":'),
        ToolCall(1, "call_b", "g", ""),
        ToolArguments(0, '"é"}'),
        ToolArguments(1, "{}"),
        Finish("tool_calls"),
        *END,
    )
    check(
        body,
        "completed",
        script.thought(0, "hm"),
        script.said(1, "Look."),
        script.called(2, "call_a", "f", '{"x":"é"}'),
        script.called(3, "call_b", "g", "{}"),
    )


def test_encrypted_content_is_there_for_those_who_ask() -> None:
    request = msgspec.Raw(b'{"include":["reasoning.encrypted_content"]}')
    body, _ = render(
        Head(),
        Role(),
        Reasoning("hm", kind="text"),
        ReasoningDone("secret"),
        Content("Hi"),
        Finish("stop"),
        *END,
        request=request,
    )
    check(
        body,
        "completed",
        script.thought(0, content=["hm"], encrypted_content="secret"),
        script.said(1, "Hi"),
    )


def test_a_refusal_is_an_answer() -> None:
    body, _ = render(Head(), Role(), Refusal("I can't."), Finish("content_filter"), *END)
    check(body, "completed", script.said(0, "I can't.", kind="refusal"))


def test_a_refusal_with_a_call_that_the_filter_ended_is_incomplete() -> None:
    """Nobody knows how many calls were to come: it must not look whole."""
    call = ToolCall(0, "call_1", "add", '{"a":1}')
    body, _ = render(Head(), Role(), Refusal("I can't."), call, Finish("content_filter"), *END)
    found = json.loads(body)
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": "content_filter"}
    assert [item["type"] for item in found["output"]] == ["message", "function_call"]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_what_is_cut_is_incomplete(finish: str, reason: str) -> None:
    body, _ = render(Head(), Role(), Content("Hel"), Finish(finish), *END)
    check(
        body,
        "incomplete",
        script.said(0, "Hel", "incomplete"),
        incomplete_details={"reason": reason},
    )


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    body, _ = render(Head(), Role(), Finish("stop"), *END)
    check(body, "completed", script.said(0, ""))


def test_nothing_is_sent_before_the_answer_is_whole() -> None:
    body, folded = render(
        Head(), Role(), Content("x"), Keepalive(), CancelTurn(), Finish("stop"), END[0]
    )
    assert body == b""
    assert (folded.status, folded.frames) == (0, 0)


def test_counts_that_are_estimated_have_a_header() -> None:
    estimate = UsageTotals(Usage(2, 3), "estimated")
    body, folded = render(Head(), Role(), Content("Hi"), Finish("stop"), estimate, Done())
    check(body, "completed", script.said(0, "Hi"), usage=script.usage(2, 3))
    assert ("x-turntape-usage", "estimated") in folded.headers


def test_counts_that_are_unknown_are_zeros_and_a_header() -> None:
    body, folded = render(Head(), Role(), Content("Hi"), Finish("stop"), UsageTotals(None), Done())
    check(body, "completed", script.said(0, "Hi"), usage=script.usage(0, 0))
    assert ("x-turntape-usage", "unknown") in folded.headers


def test_calls_are_counted_in_headers() -> None:
    body, folded = render(
        Head(), Role(), ToolCall(0, "call_a", "f", "{}"), ToolCounts(1, True), Finish("stop"), *END
    )
    check(body, "completed", script.called(0, "call_a", "f", "{}"))
    assert folded.headers[1:] == [
        ("x-codex-tool-call-count", "1"),
        ("x-codex-tool-call-truncated", "true"),
    ]


def test_calls_are_text_too_for_clients_that_read_them_there() -> None:
    body, _ = render(
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", "{}"),
        ToolBlock("f", "{}"),
        Finish("tool_calls"),
        *END,
        tools=tooloptions.ToolOptions(output_mode="obsidian-xml"),
    )
    block = "<use_tool>\n  <name>f</name>\n</use_tool>"
    check(body, "completed", script.called(0, "call_a", "f", "{}"), script.said(1, block))


def test_a_failure_is_the_whole_answer_whatever_was_said_before() -> None:
    failure = Failure("upstream_disconnected", "The provider's stream ended.")
    body, folded = render(
        Head(), Role(), ToolCall(0, "call_a", "f", "{}"), ToolCounts(1, False), Rejected(failure)
    )
    assert json.loads(body) == {
        "error": {
            "message": "The provider's stream ended.",
            "type": "server_error",
            "param": None,
            "code": "upstream_disconnected",
        }
    }
    assert (folded.status, folded.frames, folded.chunked) == (502, 1, False)
    assert folded.headers == [("content-type", "application/json"), ("retry-after", "1")]


def test_each_request_has_its_renderer() -> None:
    streaming = renderers.renderer(opened())
    assert isinstance(streaming, responsestream.ResponseEvents)
    assert isinstance(renderers.renderer(opened(streaming=False)), responsefold.ResponseBody)


@given(st.lists(st.lists(st.text(), min_size=1) | st.just(Reasoning("x")), min_size=1))
def test_texts_at_once_are_those_of_each(said: list[list[str] | Reasoning]) -> None:
    each, at_once = (responsefold.ResponseBody(opened()) for _ in range(2))
    for one in said:
        if isinstance(one, Reasoning):
            assert at_once.render(one) == each.render(one) == b""
            continue
        assert at_once.contents(0, one) == b""
        for text in one:
            each.render(Content(text))
    bodies = [
        b"".join(folded.render(output) for output in (Finish("stop"), *END))
        for folded in (each, at_once)
    ]
    assert bodies[0] == bodies[1]


def answer(first: events.Opened, happened: tuple[events.StreamInput, ...]) -> bytes:
    """The body a client gets."""
    renderer = renderers.reply(first)
    steps = stories.steps(stream.Stream(first), happened)
    return b"".join(renderer.render(output, NOW) for _, step in steps for output in step.outputs)


INCLUDES = st.sampled_from([b"null", b'{"include":["reasoning.encrypted_content"]}'])


@given(drawn(until_ended=True), INCLUDES)
@example(
    stories.Story(
        opened(),
        (
            events.ToolCallDelta(0, "call_a", "f", "{}"),
            events.ToolCallDelta(1, "call_b", "g", "{}"),
            events.ToolCallDelta(0, None, None, " "),
            events.TurnFinished("tool_calls"),
            events.TimerFired("finish_grace"),
        ),
    ),
    b"null",
)
def test_the_stream_adds_up_to_the_body(story: stories.Story, request: bytes) -> None:
    """Invariant: whatever happens, a client that folds the stream has the non-stream answer."""
    first = msgspec.structs.replace(story.opened, request=msgspec.Raw(request))
    streamed = answer(first, story.events)
    body = answer(msgspec.structs.replace(first, streaming=False), story.events)
    if streamed.startswith(b"{"):
        note("failed before the head")
        assert body == streamed
        return
    told = responseswire.events(streamed)
    if told[-1:] != [{"done": True}]:
        note("left")
        assert body == b""
        return
    folded = responseswire.fold(responseswire.whole(streamed))
    if folded.response["status"] == "failed":
        note("failed in the middle")
        assert json.loads(body)["error"]["message"] == folded.response["error"]["message"]
        return
    note("whole")
    whole = json.loads(body)
    assert whole == folded.response
    assert whole["output"] == folded.deltas
    assert whole["output"] == [folded.done[index] for index in range(len(folded.done))]
    Response.model_validate_json(body, strict=True)
