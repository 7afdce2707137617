"""The non-stream body: the API's own shape, and always what the stream adds up to."""

import json
from typing import Any

import msgspec
from hypothesis import event as note, given
from openai.types.chat import ChatCompletion

from machines import events, outputs
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
    Reasoning,
    Rejected,
    Role,
    UsageTotals,
)
from machines.stream import machine as stream
from server import renderers
from server.api.reply import Reply
from server.chat import fold, sse
from tests.server.folding import completion
from tests.support.client import chatwire
from tests.support.machines import stories
from tests.support.machines.playbook import opened


def render(outputs: tuple[outputs.AnyOutput, ...], **options: Any) -> tuple[bytes, Reply]:
    folded = Reply(fold.ChatBody(opened(streaming=False, **options)))
    return b"".join(folded.render(output) for output in outputs), folded


def test_an_answer_looks_like_the_apis_own() -> None:
    body, folded = render(
        (
            Head(),
            Role(),
            Content("Hello "),
            Content("wörld!"),
            Finish("stop"),
            UsageTotals(Usage(11, 5, 3, 1)),
            Done(),
        )
    )
    assert json.loads(body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1795293345,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello wörld!",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }
    ChatCompletion.model_validate_json(body, strict=True)
    assert (folded.status, folded.frames, folded.chunked) == (200, 1, False)
    assert folded.headers == [("content-type", "application/json")]


def test_nothing_is_sent_before_the_answer_is_whole() -> None:
    body, folded = render(
        (Head(), Role(), Content("x"), Keepalive(), CancelTurn(), Finish("stop"))
    )
    assert body == b""
    assert (folded.status, folded.frames) == (0, 0)


def test_thinking_is_a_member_of_the_message_if_there_was_any() -> None:
    body, _ = render(
        (Head(), Role(), Reasoning("h"), Reasoning("m"), Finish("stop"), UsageTotals(None), Done())
    )
    message = json.loads(body)["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    assert message["content"] == ""


def test_choices_are_kept_apart() -> None:
    body, _ = render(
        (
            Head(),
            Role(0),
            Role(1),
            Content("b", 1),
            Content("a", 0),
            Reasoning("c", 1),
            Finish("length", 1),
            Finish("stop", 0),
            UsageTotals(Usage(1, 2)),
            Done(),
        ),
        n=2,
    )
    first, second = json.loads(body)["choices"]
    assert (first["index"], first["message"]["content"], first["finish_reason"]) == (
        0,
        "a",
        "stop",
    )
    assert (second["index"], second["message"]["content"]) == (1, "b")
    assert (second["message"]["reasoning_content"], second["finish_reason"]) == ("c", "length")


def test_usage_that_is_unknown_is_zeros_and_a_header() -> None:
    body, folded = render((Head(), Role(), Finish("stop"), UsageTotals(None), Done()))
    assert json.loads(body)["usage"] == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert ("x-turntape-usage", "unknown") in folded.headers


def test_usage_that_is_estimated_has_a_header() -> None:
    estimate = UsageTotals(Usage(2, 3), "estimated")
    body, folded = render((Head(), Role(), Finish("stop"), estimate, Done()))
    assert json.loads(body)["usage"]["total_tokens"] == 5
    assert ("x-turntape-usage", "estimated") in folded.headers


def test_a_failure_is_the_whole_answer_whatever_was_said_before() -> None:
    failure = Failure("upstream_disconnected", "The provider's stream ended.")
    body, folded = render((Head(), Role(), Content("x"), Rejected(failure)))
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
    assert isinstance(renderers.renderer(opened()), sse.ChatChunks)
    assert isinstance(renderers.renderer(opened(streaming=False)), fold.ChatBody)


def answer(first: events.Opened, happened: tuple[events.StreamInput, ...]) -> bytes:
    """The body a client gets."""
    renderer = renderers.reply(first)
    steps = stories.steps(stream.Stream(first), happened)
    return b"".join(renderer.render(output) for _, step in steps for output in step.outputs)


@given(stories.stories(until_ended=True, streaming=True, include_usage=True))
def test_the_stream_adds_up_to_the_body(story: stories.Story) -> None:
    """Invariant: for any events, a client that folds the stream has the non-stream answer."""
    streamed = answer(story.opened, story.events)
    whole = msgspec.structs.replace(story.opened, streaming=False, include_usage=False)
    body = answer(whole, story.events)
    if streamed.startswith(b"{"):
        note("failed before the head")
        assert body == streamed
        return
    frames = chatwire.frames(streamed)
    if frames and "done" in frames[-1]:
        note("whole")
        assert json.loads(body) == completion(frames)
        ChatCompletion.model_validate_json(body, strict=True)
    elif frames and "error" in frames[-1]:
        note("failed in the middle")
        assert json.loads(body) == frames[-1]
    else:
        note("left")
        assert body == b""
