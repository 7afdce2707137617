"""The frames of a completion's stream."""

from typing import Any

from engine import slices
from machines import events, outputs
from machines.outputs import Content, Done, Finish, Head, Keepalive, Refusal, Role, UsageTotals
from server.completions import finish
from server.completions.stream import CompletionChunks
from tests.support.client import chatwire
from tests.support.machines.playbook import opened

USAGE = UsageTotals(events.Usage(11, 5, 3, 1))


def frames(said: tuple[outputs.AnyOutput, ...], *echoed: str, **options: Any) -> list[Any]:
    prompts = slices.at_once(finish.encoded(echoed))
    rendered = CompletionChunks(opened(endpoint=events.COMPLETIONS, **options), prompts)
    data = b"".join(rendered.render(output) for output in said)
    found = chatwire.frames(data)
    assert rendered.frames == len(found)
    return found


def test_a_stream_looks_like_the_apis_own() -> None:
    said = (Head(), Role(), Content("Hi"), Keepalive(), Finish("stop"), USAGE, Done())
    common = {"id": "chatcmpl-1", "object": "text_completion", "created": 1795293345, "model": "m"}

    def choice(text: str, reason: str | None) -> dict[str, Any]:
        place = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        return {**common, "choices": [place]}

    assert frames(said) == [choice("Hi", None), choice("", "stop"), {"done": True}]
    *counted, usage, _ = frames(said, include_usage=True)
    assert counted == [
        {**choice("Hi", None), "usage": None},
        {**choice("", "stop"), "usage": None},
    ]
    assert usage == {
        **common,
        "choices": [],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def test_each_choice_begins_with_its_prompt() -> None:
    said = tuple(Role(index) for index in range(4))
    found = frames(said, "a\n", "b", n=4)
    texts = [(each["choices"][0]["index"], each["choices"][0]["text"]) for each in found]
    assert texts == [(0, "a\n"), (1, "a\n"), (2, "b"), (3, "b")]


def test_a_refusal_is_what_the_model_said_and_a_call_is_no_reason() -> None:
    text, finish = frames((Role(), Refusal("No."), Finish("tool_calls")))
    assert text["choices"][0]["text"] == "No."
    assert finish["choices"][0]["finish_reason"] == "stop"


def test_a_failure_is_a_frame_of_its_own() -> None:
    (found,) = frames((outputs.Failure("idle_timeout", "silent", status=504),))
    assert found["error"] == {
        "message": "silent",
        "type": "server_error",
        "param": None,
        "code": "idle_timeout",
    }
