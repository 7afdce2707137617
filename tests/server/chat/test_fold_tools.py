"""Tool calls in the non-stream body: as the API has them, and as the stream adds up to them."""

import json
from typing import Any

import msgspec
from hypothesis import given, strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from machines import events, outputs, tooloptions
from machines.events import Usage
from machines.outputs import (
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Reasoning,
    Rejected,
    Role,
    ToolArguments,
    ToolBlock,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
    UsageTotals,
)
from server import renderers
from server.api.reply import Reply
from server.chat import fold
from tests.server.folding import completion
from tests.support.client import chatwire
from tests.support.machines.playbook import opened

END = (UsageTotals(Usage(11, 5)), Done())
GET_TIME = "<use_tool>\n  <name>getCurrentTime</name>\n</use_tool>"


def render(*said: outputs.AnyOutput, n: int = 1, **tools: Any) -> tuple[dict[str, Any], Reply]:
    folded = Reply(
        fold.ChatBody(opened(streaming=False, n=n, tools=tooloptions.ToolOptions(**tools)))
    )
    body = b"".join(folded.render(output) for output in said)
    ChatCompletion.model_validate_json(body, strict=True)
    return json.loads(body), folded


def counted(folded: Reply) -> dict[str, str]:
    """The headers about calls."""
    return {name: value for name, value in folded.headers if name.startswith("x-codex-")}


def test_calls_look_like_the_apis_own() -> None:
    body, folded = render(
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", '{"x":'),
        ToolCall(1, "call_b", "g", ""),
        ToolArguments(0, '"é"}'),
        ToolArguments(1, "{}"),
        ToolCounts(2, False),
        Finish("tool_calls"),
        *END,
    )
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"x":"é"}'},
                    },
                    {
                        "id": "call_b",
                        "type": "function",
                        "function": {"name": "g", "arguments": "{}"},
                    },
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert counted(folded) == {
        "x-codex-tool-call-count": "2",
        "x-codex-tool-call-truncated": "false",
    }


def test_text_beside_a_call_stays() -> None:
    body, _ = render(
        Head(),
        Role(),
        Content("Let me "),
        Content("look."),
        Reasoning("hm"),
        ToolCall(0, "call_a", "f", "{}"),
        Finish("tool_calls"),
        *END,
    )
    message = body["choices"][0]["message"]
    assert message["content"] == "Let me look."
    assert message["reasoning_content"] == "hm"
    assert len(message["tool_calls"]) == 1


def test_an_answer_without_calls_says_nothing_of_them() -> None:
    body, folded = render(Head(), Role(), Finish("stop"), *END)
    message = body["choices"][0]["message"]
    assert message["content"] == ""
    assert message.keys().isdisjoint({"tool_calls", "function_call"})
    assert counted(folded) == {}


def test_a_legacy_call_is_a_function_call() -> None:
    body, _ = render(
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", '{"x":'),
        ToolArguments(0, "1}"),
        Finish("function_call"),
        *END,
        legacy=True,
    )
    message = body["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": '{"x":1}'}
    assert message["content"] is None
    assert "tool_calls" not in message


def test_a_legacy_answer_has_room_for_the_first_call_alone() -> None:
    body, _ = render(
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", ""),
        ToolCall(1, "call_b", "g", ""),
        ToolArguments(1, "[]"),
        ToolArguments(0, "{}"),
        Finish("function_call"),
        *END,
        legacy=True,
    )
    message = body["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": "{}"}


def test_text_and_blocks_are_content_in_order() -> None:
    body, _ = render(
        Head(),
        Role(),
        Content("One. "),
        ToolBufferStarted(),
        ToolBufferFlushed(),
        ToolCall(0, "call_a", "getCurrentTime", "{}"),
        ToolBlock("getCurrentTime", "{}"),
        Content(" Two. "),
        ToolCall(1, "call_b", "getCurrentTime", "{}"),
        ToolBlock("getCurrentTime", "{}"),
        Finish("tool_calls"),
        *END,
        output_mode="obsidian-xml",
        delimiter="|",
    )
    message = body["choices"][0]["message"]
    assert message["content"] == f"One. {GET_TIME} Two. |{GET_TIME}"
    assert [call["id"] for call in message["tool_calls"]] == ["call_a", "call_b"]


def test_the_counts_of_several_choices_add_up() -> None:
    body, folded = render(
        Head(),
        Role(0),
        Role(1),
        ToolCall(0, "call_b", "f", "{}", 1),
        ToolCall(0, "call_a", "f", "{}", 0),
        ToolCounts(1, True, 1),
        Finish("tool_calls", 1),
        ToolCounts(1, False, 0),
        Finish("tool_calls", 0),
        *END,
        n=2,
    )
    calls = [choice["message"]["tool_calls"] for choice in body["choices"]]
    assert [[call["id"] for call in each] for each in calls] == [["call_a"], ["call_b"]]
    assert counted(folded) == {
        "x-codex-tool-call-count": "2",
        "x-codex-tool-call-truncated": "true",
    }


def test_a_failure_takes_the_calls_with_it() -> None:
    folded = Reply(fold.ChatBody(opened(streaming=False)))
    failure = Failure("worker_exited", "The worker's process ended.")
    said = (
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", "{}"),
        ToolCounts(1, False),
        Rejected(failure),
    )
    body = b"".join(folded.render(output) for output in said)
    assert set(json.loads(body)) == {"error"}
    assert counted(folded) == {}


NAMES = st.sampled_from(["f", "readNote", "é<&>"])
TEXTS = st.text('a{}"\\<é漢😀\n', max_size=5)


@st.composite
def answers(draw: st.DrawFn) -> tuple[events.Opened, tuple[outputs.AnyOutput, ...]]:
    """A whole answer of up to two choices with calls, its parts in any order that may happen."""
    n = draw(st.integers(1, 2))
    legacy = draw(st.booleans())
    calls = [0] * n
    said: list[outputs.AnyOutput] = [Head(), *(Role(choice) for choice in range(n))]
    for _ in range(draw(st.integers(0, 12))):
        choice = draw(st.integers(0, n - 1))
        kind = draw(st.sampled_from(["text", "thinking", "call", "arguments", "block"]))
        if kind == "text":
            said.append(Content(draw(TEXTS), choice))
        elif kind == "thinking":
            said.append(Reasoning(draw(TEXTS.filter(bool)), choice))
        elif kind == "block":
            said.append(ToolBlock(draw(NAMES), draw(TEXTS), choice))
        elif kind == "arguments" and calls[choice]:
            index = draw(st.integers(0, calls[choice] - 1))
            said.append(ToolArguments(index, draw(TEXTS), choice))
        else:
            call_id = f"call_{choice}_{calls[choice]}"
            said.append(ToolCall(calls[choice], call_id, draw(NAMES), draw(TEXTS), choice))
            calls[choice] += 1
    for choice in range(n):
        said += [ToolCounts(calls[choice], draw(st.booleans()), choice)]
        said.append(Finish(_reason(legacy, calls[choice]), choice))
    options = tooloptions.ToolOptions(legacy=legacy, delimiter=draw(st.sampled_from(["", "\n"])))
    return opened(n=n, include_usage=True, tools=options), (*said, *END)


def _reason(legacy: bool, calls: int) -> str:
    if not calls:
        return "stop"
    return "function_call" if legacy else "tool_calls"


def both(
    first: events.Opened, said: tuple[outputs.AnyOutput, ...]
) -> tuple[list[chatwire.Frame], dict[str, Any]]:
    """The frames of the stream, and the body."""
    whole = msgspec.structs.replace(first, streaming=False, include_usage=False)
    streaming, folding = renderers.renderer(first), renderers.renderer(whole)
    streamed = b"".join(streaming.render(output) for output in said)
    return chatwire.frames(streamed), json.loads(b"".join(folding.render(each) for each in said))


@given(answers())
def test_the_stream_adds_up_to_the_body(
    answer: tuple[events.Opened, tuple[outputs.AnyOutput, ...]],
) -> None:
    """Invariant: a client that folds the stream has the non-stream answer."""
    frames, body = both(*answer)
    assert body == completion(frames)


@given(answers())
def test_the_sdk_adds_the_stream_up_to_the_body(
    answer: tuple[events.Opened, tuple[outputs.AnyOutput, ...]],
) -> None:
    frames, body = both(*answer)
    state: Any = ChatCompletionStreamState()
    for frame in frames[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(frame, strict=True))
    streamed = state.get_final_completion().model_dump()
    for mine, theirs in zip(body["choices"], streamed["choices"], strict=True):
        message, folded = mine["message"], theirs["message"]
        assert folded["content"] == (message["content"] or "")
        assert folded.get("reasoning_content") == message.get("reasoning_content")
        assert folded["function_call"] == message.get("function_call")
        assert [_call(call) for call in folded["tool_calls"] or ()] == [
            _call(call) for call in message.get("tool_calls", ())
        ]
        assert theirs["finish_reason"] == mine["finish_reason"]
    assert streamed["usage"]["total_tokens"] == body["usage"]["total_tokens"]


def _call(call: dict[str, Any]) -> tuple[str, str, str, str]:
    function = call["function"]
    return call["id"], call["type"], function["name"], function["arguments"]
