"""Tool calls in a chat stream: each output's bytes, and what the SDK makes of them."""

from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from machines import outputs, tooloptions
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Finish,
    Head,
    Role,
    ToolArguments,
    ToolBlock,
    ToolBufferAborted,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
    UsageTotals,
)
from server.chat import sse
from tests.support.client import chatwire
from tests.support.machines.playbook import opened

CHUNK = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
"""What every chunk of `opened()` begins with."""

GET_TIME = "<use_tool>\n  <name>getCurrentTime</name>\n</use_tool>"
READ_NOTE = "<use_tool>\n  <name>readNote</name>\n  <notePath>a.md</notePath>\n</use_tool>"


def render(*said: outputs.AnyOutput, n: int = 1, **tools: Any) -> str:
    chunks = sse.ChatChunks(opened(n=n, tools=tooloptions.ToolOptions(**tools)))
    body = b"".join(chunks.render(output) for output in said)
    assert chunks.frames == len(chatwire.frames(body))
    return body.decode()


def deltas(body: str) -> list[tuple[int, dict[str, Any]]]:
    """Choice and delta of each frame."""
    choices = [frame["choices"][0] for frame in chatwire.frames(body.encode())]
    return [(choice["index"], choice["delta"]) for choice in choices]


@pytest.mark.parametrize(
    ("output", "legacy", "delta"),
    [
        (
            ToolCall(0, "call_a", "f", '{"x":"é"}'),
            False,
            (
                '{"tool_calls":[{"index":0,"id":"call_a","type":"function",'
                r'"function":{"name":"f","arguments":"{\"x\":\"é\"}"}}]}'
            ),
        ),
        (
            ToolArguments(1, '"}'),
            False,
            r'{"tool_calls":[{"index":1,"function":{"arguments":"\"}"}}]}',
        ),
        (
            ToolCall(0, "call_a", "f", ""),
            True,
            '{"function_call":{"name":"f","arguments":""}}',
        ),
        (ToolArguments(0, "{}"), True, '{"function_call":{"arguments":"{}"}}'),
        (
            ToolBlock("readNote", '{"notePath":"a.md"}'),
            False,
            (
                r'{"content":"<use_tool>\n  <name>readNote</name>\n'
                r'  <notePath>a.md</notePath>\n</use_tool>"}'
            ),
        ),
    ],
)
def test_a_frame_is_one_line_of_compact_json(
    output: outputs.AnyOutput, legacy: bool, delta: str
) -> None:
    choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}'
    assert render(output, legacy=legacy) == f'data: {CHUNK}"choices":[{choice}]}}\n\n'


def test_usage_is_null_in_every_frame_where_it_was_asked_for() -> None:
    chunks = sse.ChatChunks(opened(include_usage=True))
    said = (ToolCall(0, "call_a", "f", ""), ToolArguments(0, "{}"), ToolBlock("f", "{}"))
    frames = chatwire.frames(b"".join(chunks.render(output) for output in said))
    assert [frame["usage"] for frame in frames] == [None, None, None]


def test_what_a_client_does_not_see_has_no_bytes() -> None:
    assert render(ToolBufferStarted(), ToolBufferFlushed(), ToolBufferAborted("nested")) == ""


def test_a_legacy_stream_has_room_for_the_first_call_alone() -> None:
    body = render(ToolCall(1, "call_b", "g", ""), ToolArguments(1, "{}"), legacy=True)
    assert body == ""


def test_calls_of_other_choices_have_their_own_index() -> None:
    body = render(
        ToolCall(0, "call_a", "f", "{", 2), ToolArguments(0, "}", 2), ToolBlock("f", "{}", 1), n=3
    )
    assert [choice for choice, _ in deltas(body)] == [2, 2, 1]


def test_blocks_are_content_with_the_delimiter_between_two_of_a_choice() -> None:
    body = render(
        ToolBlock("getCurrentTime", "{}"),
        Content("and"),
        ToolBlock("readNote", '{"notePath":"a.md"}', 1),
        ToolBlock("readNote", '{"notePath":"a.md"}'),
        n=2,
        delimiter="\n--\n",
    )
    assert deltas(body) == [
        (0, {"content": GET_TIME}),
        (0, {"content": "and"}),
        (1, {"content": READ_NOTE}),
        (0, {"content": f"\n--\n{READ_NOTE}"}),
    ]


def test_without_a_delimiter_block_follows_block() -> None:
    body = render(ToolBlock("getCurrentTime", "{}"), ToolBlock("getCurrentTime", "{}"))
    assert deltas(body) == [(0, {"content": GET_TIME})] * 2


def test_counts_are_comments() -> None:
    assert render(ToolCounts(2, True)) == (
        ": x-codex-tool-call-count: 2\n\n: x-codex-tool-call-truncated: true\n\n"
    )


def test_the_counts_of_several_choices_add_up() -> None:
    body = render(ToolCounts(2, True), ToolCounts(1, False, 1), n=2)
    assert body.endswith(": x-codex-tool-call-count: 3\n\n: x-codex-tool-call-truncated: true\n\n")


def test_a_client_that_fails_on_comments_gets_none() -> None:
    chunks = sse.ChatChunks(
        opened(include_usage=True, tools=tooloptions.ToolOptions(sse_comments=False))
    )
    said = (ToolCounts(2, True), UsageTotals(None))
    body = b"".join(chunks.render(output) for output in said)
    assert body.startswith(b"data: ")
    assert b": x-" not in body


def fold(body: str) -> Any:
    """The completion that OpenAI's SDK makes of a stream."""
    state: Any = ChatCompletionStreamState()
    for frame in chatwire.frames(body.encode())[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(frame, strict=True))
    return state.get_final_completion()


def test_the_sdk_adds_the_chunks_of_each_call_up() -> None:
    body = render(
        Head(),
        Role(),
        Content("Let me look."),
        ToolCall(0, "call_a", "f", '{"x":'),
        ToolArguments(0, "1"),
        ToolCall(1, "call_b", "g", "{}"),
        ToolArguments(0, "}"),
        ToolCounts(2, False),
        CancelTurn(),
        Finish("tool_calls"),
        Done(),
    )
    (choice,) = fold(body).choices
    assert choice.message.content == "Let me look."
    assert [
        (call.id, call.type, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls
    ] == [("call_a", "function", "f", '{"x":1}'), ("call_b", "function", "g", "{}")]
    assert choice.finish_reason == "tool_calls"


def test_the_sdk_adds_a_legacy_call_up() -> None:
    body = render(
        Head(),
        Role(),
        ToolCall(0, "call_a", "f", ""),
        ToolArguments(0, '{"x":'),
        ToolArguments(0, "1}"),
        Finish("function_call"),
        Done(),
        legacy=True,
    )
    (choice,) = fold(body).choices
    assert choice.message.function_call.model_dump() == {"name": "f", "arguments": '{"x":1}'}
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "function_call"
