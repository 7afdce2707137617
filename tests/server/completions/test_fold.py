"""The body of a completion: the API's own shape, and always what its stream adds up to."""

import json
from typing import Any

import msgspec
from hypothesis import given
from openai.types import Completion

from machines import events
from machines.outputs import Content, Done, Finish, Head, Role, UsageTotals
from machines.stream import machine as stream
from server.api.reply import Reply
from server.completions import endpoint as completions
from tests.support.client import chatwire
from tests.support.machines import stories
from tests.support.machines.playbook import opened

ECHOED = (b'"a\\n"',)


def answer(first: events.Opened, happened: tuple[events.StreamInput, ...]) -> bytes:
    """What a client gets of a stream, head and framing aside."""
    reply = Reply(completions.renderer(first, ECHOED))
    steps = stories.steps(stream.Stream(first), happened)
    return b"".join(reply.render(output) for _, step in steps for output in step.outputs)


def joined(frames: list[dict[str, Any]], choices: int) -> list[tuple[int, str, str]]:
    """Number, text and reason of each choice that has ended."""
    texts, reasons = [""] * choices, [""] * choices
    for frame in frames:
        for choice in frame.get("choices", ()):
            texts[choice["index"]] += choice["text"]
            reasons[choice["index"]] += choice["finish_reason"] or ""
    return [
        (index, text, reason)
        for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))
        if reason
    ]


def test_an_answer_looks_like_the_apis_own() -> None:
    reply = Reply(completions.renderer(opened(streaming=False), ECHOED))
    usage = UsageTotals(events.Usage(11, 5, 3, 1))
    said = (Head(), Role(), Content("Hi"), Finish("length"), usage, Done())
    body = b"".join(reply.render(output) for output in said)
    assert json.loads(body) == {
        "id": "chatcmpl-1",
        "object": "text_completion",
        "created": 1795293345,
        "model": "m",
        "choices": [{"text": "a\nHi", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }
    Completion.model_validate_json(body, strict=True)
    assert ("content-type", "application/json") in reply.headers


@given(stories.stories(until_ended=True, streaming=True, include_usage=True))
def test_the_stream_adds_up_to_the_body(story: stories.Story) -> None:
    """Invariant: for any events, a client that folds the stream has the non-stream answer."""
    streamed = answer(story.opened, story.events)
    whole = msgspec.structs.replace(story.opened, streaming=False, include_usage=False)
    body = answer(whole, story.events)
    if streamed.startswith(b"{"):
        assert body == streamed
        return
    frames = chatwire.frames(streamed)
    if frames and "done" in frames[-1]:
        told = json.loads(body)
        assert joined(frames, story.opened.n) == [
            (each["index"], each["text"], each["finish_reason"]) for each in told["choices"]
        ]
        assert told["usage"] == frames[-2]["usage"]
    elif frames and "error" in frames[-1]:
        assert json.loads(body) == frames[-1]
    else:
        assert body == b""
