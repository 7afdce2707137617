"""The bytes of a stream as the contract has them, written down apart from what renders them.

Ids are those of `tests.faults.scene.Answer.body`.
"""

import json
from typing import Any, Final

from tests.faults.scene import MODEL

Json = dict[str, Any]

DONE: Final = b"data: [DONE]\n\n"

KEEPALIVE: Final = b": keepalive\n\n"

UNKNOWN: Final = b": x-turntape-usage: unknown\n\n"
"""Stands before counts that nobody knows."""

ESTIMATED: Final = b": x-turntape-usage: estimated\n\n"
"""Stands before counts of an answer that was cut here."""


def chunk(
    delta: Json, finish: str | None = None, choice: int = 0, asks_usage: bool = False
) -> bytes:
    """One chunk.

    Args:
        asks_usage: whether the request asked for counts: then every other chunk has none.
    """
    of_choice = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _frame({"choices": [of_choice]} | ({"usage": None} if asks_usage else {}))


def role(choice: int = 0, asks_usage: bool = False) -> bytes:
    """What a choice begins with."""
    return chunk({"role": "assistant", "content": ""}, None, choice, asks_usage)


def content(*texts: str, choice: int = 0, asks_usage: bool = False) -> bytes:
    """A chunk for each of the texts."""
    return b"".join(chunk({"content": text}, None, choice, asks_usage) for text in texts)


def pieces(text: str) -> list[str]:
    """A text from an upstream as it goes out: of so many characters at the most."""
    return [text[start : start + 16_384] for start in range(0, len(text), 16_384)]


def long_content(text: str) -> bytes:
    """The chunks of such a text."""
    return content(*pieces(text))


def call(index: int, call_id: str, name: str, arguments: str = "") -> bytes:
    """The first chunk of a tool call."""
    function = {"name": name, "arguments": arguments}
    return chunk(
        {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
    )


def arguments(index: int, text: str) -> bytes:
    """A further chunk of a tool call."""
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]})


def call_count(calls: int) -> bytes:
    """The comments before the finish of an answer with calls."""
    return b": x-codex-tool-call-count: %d\n\n: x-codex-tool-call-truncated: false\n\n" % calls


def finish(reason: str, choice: int = 0, asks_usage: bool = False) -> bytes:
    """What a choice ends with."""
    return chunk({}, reason, choice, asks_usage)


def usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> bytes:
    """The counts."""
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return _frame({"choices": [], "usage": counts})


def error_object(
    code: str | None, message: str, kind: str = "server_error", param: str | None = None
) -> Json:
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error(
    code: str | None, message: str, kind: str = "server_error", param: str | None = None
) -> bytes:
    """The frame that a broken stream ends with."""
    return b"data: " + as_json(error_object(code, message, kind, param)) + b"\n\n"


def _frame(members: Json) -> bytes:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
    }
    return b"data: " + as_json(head | members) + b"\n\n"


def as_json(value: Json) -> bytes:
    """JSON as it stands on the wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


ENDED: Final = finish("stop") + DONE
"""How a stream ends well."""
