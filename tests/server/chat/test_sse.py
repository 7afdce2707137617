"""The bytes of a chat stream, against the API's own shapes and the SDK's own types."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from machines import errors, events, outputs, tooloptions
from machines.events import (
    Usage,
)
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
    Refusal,
    Rejected,
    Role,
    ToolCall,
    UsageTotals,
)
from machines.stream import machine as stream
from machines.wire import jsonrpc
from server.api.reply import Reply
from server.chat import sse
from tests.support.client import chatwire
from tests.support.machines import stories
from tests.support.machines.playbook import opened

CHUNK = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
"""What every chunk of `opened()` begins with."""

ANSWER: tuple[outputs.AnyOutput, ...] = (
    Head(),
    Role(),
    Content("Hel"),
    Content("lo "),
    Content("wörld"),
    Content("!"),
    Finish("stop"),
    UsageTotals(Usage(11, 5)),
    Done(),
)
"""The outputs of the answer in `CANONICAL`."""

CANONICAL: list[dict[str, Any]] = [
    {
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        "usage": None,
    },
    *(
        {
            "choices": [
                {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
            ],
            "usage": None,
        }
        for text in ("Hel", "lo ", "wörld", "!")
    ),
    {
        "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        "usage": None,
    },
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    },
]
"""A stream that every client of the field takes, without id, object, created and model."""

OPTIONAL = frozenset(
    (
        "refusal",
        "audio_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    )
)
"""Members of `CANONICAL` that no client needs and that are not sent."""


def render(outputs: tuple[outputs.AnyOutput, ...], **options: Any) -> tuple[bytes, Reply]:
    chunks = Reply(sse.ChatChunks(opened(**options)))
    return b"".join(chunks.render(output) for output in outputs), chunks


def without_optional(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_optional(member)
            for name, member in value.items()
            if name not in OPTIONAL
        }
    return [without_optional(item) for item in value] if isinstance(value, list) else value


def test_a_stream_looks_like_the_apis_own() -> None:
    body, chunks = render(ANSWER, include_usage=True)
    *frames, done = chatwire.frames(body)
    assert done == {"done": True}
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795293345,
        "model": "m",
    }
    assert frames == [head | without_optional(canonical) for canonical in CANONICAL]
    assert (chunks.status, chunks.frames, chunks.chunked) == (200, 8, True)


@pytest.mark.parametrize(
    ("output", "delta", "reason"),
    [
        (Role(), '{"role":"assistant","content":""}', "null"),
        (Content('x"\n'), r'{"content":"x\"\n"}', "null"),
        (Reasoning("漢"), '{"reasoning_content":"漢"}', "null"),
        (Finish("length"), "{}", '"length"'),
    ],
)
def test_a_frame_is_one_line_of_compact_json(
    output: outputs.AnyOutput, delta: str, reason: str
) -> None:
    body, _ = render((output,))
    choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}'
    assert body.decode() == f'data: {CHUNK}"choices":[{choice}]}}\n\n'


def test_other_choices_have_their_own_index() -> None:
    outputs = (Role(2), Content("a", 2), Reasoning("b", 1), Finish("stop", 2))
    body, _ = render(outputs, n=3)
    assert [frame["choices"][0]["index"] for frame in chatwire.frames(body)] == [2, 2, 1, 2]


def test_without_the_option_no_chunk_has_usage() -> None:
    body, chunks = render(ANSWER)
    frames = chatwire.frames(body)
    assert len(frames) == chunks.frames == 7
    assert all("usage" not in frame for frame in frames)
    assert frames[-1] == {"done": True}


def test_usage_that_is_estimated_is_behind_a_comment() -> None:
    estimate = UsageTotals(Usage(2, 3), "estimated")
    body, _ = render((estimate,), include_usage=True)
    assert body.startswith(b": x-turntape-usage: estimated\n\ndata: ")
    (frame,) = chatwire.frames(body)
    assert frame["usage"]["total_tokens"] == 5
    assert render((estimate,), include_usage=False)[0] == b""
    silent = tooloptions.ToolOptions(sse_comments=False)
    assert render((estimate,), include_usage=True, tools=silent)[0].startswith(b"data: ")


def test_usage_that_is_unknown_is_zeros_behind_a_comment() -> None:
    body, _ = render((UsageTotals(None),), include_usage=True)
    assert body.startswith(b": x-turntape-usage: unknown\n\ndata: ")
    (frame,) = chatwire.frames(body)
    assert frame["usage"] == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_usage_shows_every_count() -> None:
    body, _ = render((UsageTotals(Usage(10, 5, 3, 1)),), include_usage=True)
    (frame,) = chatwire.frames(body)
    assert frame["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


def test_what_a_client_does_not_see_has_no_bytes_and_is_no_frame() -> None:
    body, chunks = render((Head(), CancelTurn()))
    assert body == b""
    assert (chunks.status, chunks.frames) == (200, 0)


def test_a_heartbeat_is_a_comment() -> None:
    body, chunks = render((Head(), Keepalive()))
    assert body == b": keepalive\n\n"
    assert chunks.frames == 0
    assert chatwire.frames(body) == []


def test_the_sentinel() -> None:
    assert render((Done(),))[0] == b"data: [DONE]\n\n"


def test_a_failure_after_the_head_is_a_frame() -> None:
    failure = Failure("worker_exited", "The worker's process ended.")
    body, chunks = render((Head(), Role(), Content("x"), failure))
    assert body.endswith(
        b'data: {"error":{"message":"The worker\'s process ended.","type":"server_error",'
        b'"param":null,"code":"worker_exited"}}\n\n'
    )
    assert (chunks.status, chunks.frames, chunks.chunked) == (200, 3, True)
    assert dict(chunks.headers)["content-type"] == "text/event-stream; charset=utf-8"


def test_a_failure_before_the_head_is_an_answer_of_its_own() -> None:
    failure = Failure("context_length_exceeded", "Too long.", 400, "messages")
    body, chunks = render((Rejected(failure),))
    assert json.loads(body) == {
        "error": {
            "message": "Too long.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }
    assert (chunks.status, chunks.frames, chunks.chunked) == (400, 0, False)
    assert chunks.headers == [("content-type", "application/json")]


def test_a_failure_keeps_the_providers_status_and_pause() -> None:
    _, chunks = render((Rejected(Failure("rate_limit_exceeded", "Slow down.", 429, None, 7.0)),))
    assert chunks.status == 429
    assert ("retry-after", "7") in chunks.headers


def test_a_streams_headers_keep_caches_and_proxies_from_holding_it() -> None:
    assert sse.ChatChunks(opened()).headers() == [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ]


@given(stories.stories(streaming=True))
def test_the_sdk_takes_every_chunk_of_every_stream(story: stories.Story) -> None:
    machine, chunks = stream.Stream(story.opened), Reply(sse.ChatChunks(story.opened))
    body = b"".join(
        chunks.render(output)
        for _, step in stories.steps(machine, story.events)
        for output in step.outputs
    )
    if not chunks.chunked:
        assert set(json.loads(body)) == {"error"}
        return
    frames = chatwire.frames(body)
    assert len(frames) == chunks.frames
    for frame in frames:
        if frame.keys().isdisjoint(("done", "error")):
            chunk = ChatCompletionChunk.model_validate(frame, strict=True)
            assert set(chunk.model_extra or ()) == set()
            assert ("usage" in frame) == story.opened.include_usage


def test_the_sdk_adds_the_chunks_up_to_the_answer() -> None:
    outputs = (Head(), Role(), Reasoning("hm"), *ANSWER[2:])
    body, _ = render(outputs, include_usage=True)
    state: Any = ChatCompletionStreamState()
    for frame in chatwire.frames(body)[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(frame, strict=True))
    whole = state.get_final_completion()
    assert whole.choices[0].message.content == "Hello wörld!"
    assert whole.choices[0].message.reasoning_content == "hm"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == 16


@given(st.text())
def test_any_text_arrives_as_it_was(text: str) -> None:
    body, _ = render((Content(text), Reasoning(text)), model=text)
    answer, thinking = chatwire.frames(body)
    assert answer["choices"][0]["delta"]["content"] == text
    assert thinking["choices"][0]["delta"]["reasoning_content"] == text
    assert answer["model"] == text


@given(st.lists(st.text(), min_size=1), st.integers(0, 1))
def test_texts_at_once_are_the_frames_of_each(texts: list[str], choice: int) -> None:
    each, at_once = (sse.ChatChunks(opened(n=2)) for _ in range(2))
    frames = b"".join(each.render(Content(text, choice)) for text in texts)
    assert at_once.contents(choice, texts) == frames
    assert at_once.frames == each.frames


def of_chunk(**told: Any) -> Members:
    """Members of a chunk."""
    return Members("chunk", msgspec.Raw(msgspec.json.encode(told)))


STANDING = of_chunk(fp="a")
SAID: tuple[outputs.AnyOutput, ...] = (Head(), Role(), Content("x"))


@pytest.mark.parametrize(
    ("output", "options"),
    [
        (Role(), {}),
        (Content("y"), {}),
        (Reasoning("y"), {}),
        (Refusal("y"), {}),
        (ToolCall(0, "c", "f", "{}"), {}),
        (Finish("stop"), {}),
        (UsageTotals(Usage(1, 2)), {"include_usage": True}),
        (Done(), {}),
        (Members("delta", msgspec.Raw(b'{"mood":1}')), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_next_frame_has_the_members_of_its_chunk_whatever_it_is(
    output: outputs.AnyOutput, options: dict[str, Any]
) -> None:
    told = (STANDING, of_chunk(), of_chunk(later=1))
    body, _ = render((*SAID, *told, output, Content("z")), **options)
    frame, *_, last = chatwire.frames(body)[2:]
    assert (frame["fp"], frame["later"]) == ("a", 1)
    assert "fp" not in last
    assert last["later"] == 1


def test_each_text_of_several_has_the_members_that_stand() -> None:
    chunks = sse.ChatChunks(opened())
    chunks.render(STANDING)
    frames = chatwire.frames(chunks.contents(0, ["a", "b", "c"]))
    assert [frame["fp"] for frame in frames] == ["a", "a", "a"]
    assert chunks.frames == 3


def test_large_members_of_a_chunk_are_told_once_and_with_the_first_finish() -> None:
    large = of_chunk(fp="a", citations=["u" * sse.STANDING_BYTES])
    body, _ = render(
        (*SAID, large, *(Content("y"),) * 300, Finish("stop"), Finish("stop", 1), Done()), n=2
    )
    having = [at for at, frame in enumerate(chatwire.frames(body)) if "citations" in frame]
    assert having == [2, 302]


def test_members_of_chunks_that_tell_nothing_take_time_in_proportion() -> None:
    chunks = sse.ChatChunks(opened())
    took = time.process_time()
    for number in range(20_000):
        chunks.render(of_chunk(**{f"m{number}": 1}))
    (frame,) = chatwire.frames(chunks.render(Content("x")))
    assert frame["m0"] == frame["m19999"] == 1
    assert time.process_time() - took < 1


def test_members_behind_the_last_finish_go_with_a_choice_that_has_one() -> None:
    said = (Head(), Role(), Role(1), Content("x", 1), Finish("stop", 1), STANDING, Done())
    body, _ = render(said, n=2)
    *_, frame, _ = chatwire.frames(body)
    assert frame["fp"] == "a"
    assert frame["choices"][0]["index"] == 1


@pytest.mark.parametrize("escape", [r"\ud800", r"a\udc00", r"\udc00\ud800", r"\ud83d x"])
def test_text_that_has_no_utf_8_is_refused_where_it_comes_in(escape: str) -> None:
    """Half a surrogate pair could not be rendered; no way into a stream lets one through."""
    with pytest.raises(errors.DecodeError):
        jsonrpc.decode(
            b'{"method":"item/agentMessage/delta","params":{"delta":"%b"}}' % escape.encode()
        )
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(
            b'{"event":"text_delta","text":"%b"}' % escape.encode(), type=events.TextDelta
        )
