"""Reads what a chat stream sends, strictly, and folds it into the body a client makes of it."""

import json
from typing import Any, Final

DONE: Final = "[DONE]"

Frame = dict[str, Any]


def frames(body: bytes) -> list[Frame]:
    """The data frames of a whole `text/event-stream` body; the sentinel is `{"done": True}`.

    Every message must be one comment line, or one `data:` line, and a blank line.
    """
    found: list[Frame] = []
    messages = body.decode("utf-8").split("\n\n")
    assert messages.pop() == "", "the body does not end with a blank line"
    for message in messages:
        assert "\n" not in message, f"a message of several lines: {message!r}"
        assert "\r" not in message
        if not message.startswith(": "):
            field, _, data = message.partition(": ")
            assert field == "data"
            found.append({"done": True} if data == DONE else json.loads(data))
    return found


def completion(chunks: list[Frame]) -> Frame:
    """The `chat.completion` that a stream with usage adds up to."""
    *parts, usage, done = chunks
    assert done == {"done": True}
    assert usage["choices"] == []
    choices: dict[int, Frame] = {}
    for part in parts:
        (piece,) = part["choices"]
        _add(choices, piece)
    head = {name: usage[name] for name in ("id", "created", "model")}
    assert all({name: part[name] for name in head} == head for part in parts)
    return {
        **head,
        "object": "chat.completion",
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage["usage"],
    }


def _add(choices: dict[int, Frame], piece: Frame) -> None:
    index, delta = piece["index"], piece["delta"]
    if "role" in delta:
        assert delta == {"role": "assistant", "content": ""}
        assert index not in choices, "a second role"
        choices[index] = {
            "index": index,
            "message": {"role": "assistant", "content": "", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": None,
        }
        return
    choice = choices[index]
    assert choice["finish_reason"] is None, "something after the finish"
    choice["finish_reason"] = piece["finish_reason"]
    assert len(delta) == (0 if piece["finish_reason"] else 1)
    for name, text in delta.items():
        choice["message"][name] = (choice["message"].get(name) or "") + text
    message = choice["message"]
    if piece["finish_reason"] and message["refusal"] and not message["content"]:
        message["content"] = None
