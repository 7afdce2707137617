"""Answers of an upstream that have very many of one thing, each by how many there are."""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.support.providers.scripted import Json
from tests.support.providers.upstreams import chunk, sse, usage

END: Final = sse(chunk(finish="tool_calls"), "[DONE]")


def delta(**members: Any) -> Json:
    """A chunk with this delta."""
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def call(number: int, arguments: Any = '{"a":1}', **members: Any) -> Json:
    """A call, or the first fragment of one."""
    function = {"name": "f", "arguments": arguments}
    return {"index": number, "id": f"call_{number}", "function": function, **members}


def more(number: int, arguments: str) -> Json:
    """A further fragment of a call."""
    return {"index": number, "function": {"arguments": arguments}}


def stream(chunks: Iterable[Json]) -> bytes:
    """A whole event stream of these chunks and an end."""
    return sse(*chunks) + END


SHAPES: Final[dict[str, Callable[[int], bytes]]] = {
    "texts": lambda n: stream(chunk("Hello ") for _ in range(n)),
    "texts and thoughts": lambda n: stream(
        delta(content="Hello") if at % 2 else delta(reasoning_content="hm") for at in range(n)
    ),
    "counts on every chunk": lambda n: stream(
        chunk("Hello ", usage=usage(9, at)) for at in range(n)
    ),
    "calls": lambda n: stream(delta(tool_calls=[call(at)]) for at in range(n)),
    "calls in one chunk": lambda n: stream([delta(tool_calls=[call(at) for at in range(n)])]),
    "calls that stay open": lambda n: stream(
        [
            *(delta(tool_calls=[call(at, '{"a":')]) for at in range(n)),
            *(delta(tool_calls=[more(at, "1}")]) for at in range(n)),
        ]
    ),
    "calls without an id": lambda n: stream(
        delta(tool_calls=[call(at, "", id=None)]) for at in range(n)
    ),
    "a call in fragments": lambda n: stream(
        [
            delta(tool_calls=[call(0, '{"a":"')]),
            *(delta(tool_calls=[more(0, "xy")]) for _ in range(n)),
            delta(tool_calls=[more(0, '"}')]),
        ]
    ),
    "a call that is repeated": lambda n: stream(
        delta(tool_calls=[call(0, '{"a":["' + '","'.join("x" * 9 for _ in range(n)) + end)])
        for end in ('"]', '"]}')
    ),
    "calls of a message at the end": lambda n: stream(
        [
            *(delta(tool_calls=[call(at)]) for at in range(n)),
            chunk(choices=[{"index": 0, "message": {"tool_calls": list(map(call, range(n)))}}]),
        ]
    ),
    "blocks": lambda n: stream([chunk("<use_tool><name>f</name><a>1</a></use_tool>" * n)]),
    "blocks of nobody": lambda n: stream([chunk("<use_tool name='g'/>" * n)]),
    "blocks in blocks": lambda n: stream([chunk("<use_tool>" * n)]),
    "parts": lambda n: stream([delta(content=[{"type": "text", "text": "Hello"}] * n)]),
    "choices": lambda n: stream(
        [chunk(choices=[{"index": 0, "delta": {"content": "x"}}] * n)],
    ),
    "choices of nobody": lambda n: stream([chunk(choices=[{}] * n)]),
    "members of nobody": lambda n: stream([chunk("x", more=[[[1], {"a": 2}]] * n)]),
    "empty events": lambda n: b"data: {}\n\n" * n + stream([chunk("x")]),
    "comments": lambda n: b": hm\n" * n + stream([chunk("x")]),
    "lines of one event": lambda n: (
        b"data: {\n" + b"data:\n" * n + b'data: "choices":[]}\n\n' + stream([chunk("x")])
    ),
    "one text": lambda n: stream([chunk("漢a" * n)]),
    "arguments": lambda n: stream(
        [delta(tool_calls=[call(0, '{"a":[' + "[],1," * 10 * n + "1]}")])],
    ),
    "arguments that are an object": lambda n: stream(
        [delta(tool_calls=[call(0, {"a": [[]] * 10 * n})])],
    ),
}
"""Answers by the things that repeat in them."""


def whole(n: int) -> bytes:
    """A completion in one piece, of so many calls."""
    message = {"tool_calls": [call(at) for at in range(n)]}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
