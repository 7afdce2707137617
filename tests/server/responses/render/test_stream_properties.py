"""Whatever happens to a Responses stream, the rules of the API hold for its events."""

import json
from typing import Any

import msgspec
import openai
from hypothesis import example, given, strategies as st
from openai.lib.streaming.responses._responses import ResponseStreamState

from engine.log.content import mask
from machines import events, outputs
from machines.outputs import Content, Head, Reasoning, Refusal, ToolCall
from machines.stream import machine as stream
from server.api.reply import Reply
from server.responses.render import stream as responsestream
from tests.server.responses import opening
from tests.support.client import responseswire
from tests.support.machines import stories
from tests.support.providers import responsescript as script


@given(st.text())
def test_any_text_arrives_as_it_was(text: str) -> None:
    rendering = responsestream.ResponseEvents(opening.opened(model=text))
    said = (Head(), Content(text), Reasoning(text), Refusal(text))
    told = responseswire.events(b"".join(rendering.render(output) for output in said))
    deltas = [event["delta"] for event in told if event["type"].endswith(".delta")]
    assert deltas == [text, text, text]
    assert told[0]["response"]["model"] == text


@given(
    st.lists(
        st.lists(st.text(), min_size=1)
        | st.sampled_from([Reasoning("x"), Refusal("y"), ToolCall(0, "call_a", "f", "{")]),
        min_size=1,
    )
)
@example([["a"], Reasoning("x"), ["%", "%d"], Refusal("y"), ["b"]])
def test_texts_at_once_are_the_frames_of_each(said: list[list[str] | outputs.AnyOutput]) -> None:
    each, at_once = (
        responsestream.ResponseEvents(opening.opened(completion_id="resp_%d")) for _ in "ab"
    )
    calls = 0
    for one in said:
        if isinstance(one, list):
            frames = b"".join(each.render(Content(text)) for text in one)
            assert at_once.contents(0, one) == frames
        elif not isinstance(one, ToolCall):
            assert at_once.render(one) == each.render(one)
        else:
            call = msgspec.structs.replace(one, index=calls)
            calls += 1
            assert at_once.render(call) == each.render(call)
    assert at_once.frames == each.frames
    assert at_once.answer.output.objects() == each.answer.output.objects()


def told_of(story: stories.Story) -> bytes:
    """The bytes of a stream."""
    rendering = Reply(responsestream.ResponseEvents(story.opened))
    steps = stories.steps(stream.Stream(story.opened), story.events)
    return b"".join(
        rendering.render(output, opening.NOW) for _, step in steps for output in step.outputs
    )


@given(opening.drawn() | opening.drawn(until_ended=True))
def test_whatever_happens_the_events_are_in_order_and_of_the_sdks_types(
    story: stories.Story,
) -> None:
    """Invariant: one sequence, items within their bounds, one end, known to the SDK."""
    body = told_of(story)
    if body.startswith(b"{"):
        assert set(json.loads(body)) == {"error"}
        return
    told = responseswire.events(body)
    if told[-1:] == [{"done": True}]:
        told = responseswire.whole(body)
        folded = responseswire.fold(told)
        output = folded.response["output"]
        assert [item["id"] for item in output] == [item["id"] for item in folded.deltas]
        if folded.response["status"] in ("completed", "incomplete"):
            assert output == folded.deltas == [folded.done[n] for n in range(len(output))]
    else:  # its client has left, or its end is not in the story
        assert not any(event["type"] in responseswire.TERMINAL for event in told)
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
    responseswire.check_types(told)


@given(opening.drawn(until_ended=True))
def test_the_sdk_adds_the_stream_up_to_the_response(story: stories.Story) -> None:
    body = told_of(story)
    if not body.endswith(script.DONE):
        return
    state: Any = ResponseStreamState(input_tools=[], text_format=openai.omit)
    told = responseswire.whole(body)
    for event in told:
        if event["type"] != "error":
            state.handle_event(responseswire.typed(event))
    if told[-1]["type"] == "response.completed":
        whole = state._completed_response.to_dict()
        assert [item["id"] for item in whole["output"]] == [
            item["id"] for item in told[-1]["response"]["output"]
        ]


@given(opening.drawn())
def test_a_masked_log_is_rendered_too(story: stories.Story) -> None:
    """Invariant: as many events of the same types, whatever was masked."""
    body = {
        "input": "hi",
        "tools": [{"type": "function", "name": "a"}],
        "text": {"verbosity": "low"},
    }
    story = story._replace(
        opened=msgspec.structs.replace(story.opened, request=opening.requested(**body))
    )
    masked_opened = mask.mask_event(story.opened)
    assert isinstance(masked_opened, events.Opened)
    plain = Reply(responsestream.ResponseEvents(story.opened))
    masked = Reply(responsestream.ResponseEvents(masked_opened))
    again = stream.Stream(masked_opened)
    for event, step in stories.steps(stream.Stream(story.opened), story.events):
        replayed = again.step(stories.masked(event), step.decision)
        for output, other in zip(step.outputs, replayed.outputs, strict=True):
            plain.render(output, opening.NOW)
            masked.render(other, opening.NOW)
    assert (masked.status, masked.chunked) == (plain.status, plain.chunked)
