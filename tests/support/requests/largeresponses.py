"""Responses requests of one kind of item and of any size, as `tests.support.requests.largebodies`
has chat's."""

from typing import Final

from tests.support.requests import largebodies
from tests.support.requests.largebodies import PROPERTY, Fill, listed, members, nested, schema

TOLD: Final = b'{"role":"user","content":"hi"}'
TOOL: Final = b'{"type":"function","name":"f%d","parameters":{"type":"object"}}'
CALL: Final = b'{"type":"function_call","call_id":"c%d","name":"f","arguments":"{}"}'
CUSTOM: Final = b'{"type":"custom_tool_call","call_id":"c%d","name":"f","input":"x"}'
THOUGHT: Final = (
    b'{"type":"reasoning","id":"rs_%d","summary":[{"type":"summary_text","text":"hm"}],'
    b'"encrypted_content":"secret"}'
)


def request(items: bytes = TOLD, **more: bytes) -> bytes:
    """A body with these items and members, each as JSON."""
    written = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in more.items())
    return b'{"model":"gpt-5.5","input":[%b]%b}' % (items, written)


def repeated(item: bytes, count: int) -> bytes:
    """A request of so many times the same item."""
    return request(listed(item, count)[1:-1])


def answered(call: bytes, kind: bytes, count: int) -> bytes:
    """A request of so many calls, each with its output."""
    result = b'{"type":"%b","call_id":"c%%d","output":"ok"}' % kind
    steps = (b"%b,%b" % (call % number, result % number) for number in range(count))
    return request(b",".join(steps))


def message(content: bytes, role: bytes = b"user", more: bytes = b"") -> bytes:
    return b'{"type":"message","role":"%b","content":%b%b}' % (role, content, more)


def function(parameters: bytes) -> bytes:
    return b'[{"type":"function","name":"f","parameters":%b}]' % parameters


def text_format(wanted: bytes) -> bytes:
    return b'{"format":{"type":"json_schema","name":"n","schema":%b}}' % wanted


KINDS: Final[dict[str, tuple[int, Fill]]] = {
    "text": (12, lambda n: request(message(b'"%b"' % (b"hello world " * n)))),
    "text alone": (12, lambda n: b'{"model":"gpt-5.5","input":"%b"}' % (b"hello world " * n)),
    "instructions": (12, lambda n: request(instructions=b'"%b"' % (b"hello world " * n))),
    "items of instructions": (31, lambda n: request(instructions=listed(TOLD, n))),
    "messages": (31, lambda n: repeated(TOLD, n)),
    "messages of the model": (
        38,
        lambda n: repeated(b'{"role":"assistant","content":"Hello"}', n),
    ),
    "elements for items": (2, lambda n: repeated(b"1", n)),
    "function calls": (72, lambda n: repeated(CALL, n)),
    "function calls and outputs": (
        146,
        lambda n: answered(CALL, b"function_call_output", n),
    ),
    "custom calls": (70, lambda n: repeated(CUSTOM, n)),
    "custom calls and outputs": (
        146,
        lambda n: answered(CUSTOM, b"custom_tool_call_output", n),
    ),
    "outputs that nobody asked for": (
        67,
        lambda n: repeated(b'{"type":"function_call_output","name":"alarm","output":"!"}', n),
    ),
    "reasoning": (118, lambda n: repeated(THOUGHT, n)),
    "reasoning to look up": (33, lambda n: repeated(b'{"type":"reasoning","id":"rs_%d"}', n)),
    "compactions": (48, lambda n: repeated(b'{"type":"compaction","encrypted_content":"e"}', n)),
    "references": (36, lambda n: repeated(b'{"type":"item_reference","id":"m_%d"}', n)),
    "items of tools elsewhere": (
        37,
        lambda n: repeated(b'{"type":"web_search_call","id":"ws%d"}', n).replace(
            b'"input":[', b'"input":[%b,' % TOLD
        ),
    ),
    "parts": (30, lambda n: request(message(listed(b'{"type":"input_text","text":"a"}', n)))),
    "images": (
        52,
        lambda n: request(
            message(listed(b'{"type":"input_image","image_url":"data:image/png;,"}', n))
        ),
    ),
    "annotations of a part": (
        25,
        lambda n: request(
            message(
                b'[{"type":"output_text","text":"a","annotations":%b}]'
                % listed(b'{"type":"url_citation"}', n),
                b"assistant",
            )
        ),
    ),
    "parts of a summary": (
        35,
        lambda n: request(
            b'{"type":"reasoning","encrypted_content":"e","summary":%b}'
            % listed(b'{"type":"summary_text","text":"hm"}', n)
        ),
    ),
    "parts of an output": (
        30,
        lambda n: request(
            b'%b,{"type":"function_call_output","call_id":"c0","output":%b}'
            % (CALL % 0, listed(b'{"type":"input_text","text":"a"}', n))
        ),
    ),
    "tools": (66, lambda n: request(tools=listed(TOOL, n))),
    "tools of others": (21, lambda n: request(tools=listed(b'{"type":"web_search"}', n))),
    "properties of a function": (
        43,
        lambda n: request(tools=function(schema(members(PROPERTY, n)))),
    ),
    "a function's schema 90 deep": (
        542,
        lambda n: request(tools=function(b'{"x":%b}' % nested(90, n))),
    ),
    "properties of an answer": (
        43,
        lambda n: request(text=text_format(schema(members(PROPERTY, n)))),
    ),
    "functions to choose": (
        30,
        lambda n: request(
            tools=function(b"{}"),
            tool_choice=b'{"type":"allowed_tools","mode":"auto","tools":%b}'
            % listed(b'{"type":"function","name":"f"}', n),
        ),
    ),
    "metadata": (14, lambda n: request(metadata=members(b'"x"', n))),
    "include": (36, lambda n: request(include=listed(b'"reasoning.encrypted_content"', n))),
    "an unknown field of pairs": (14, lambda n: request(x=listed(b'[[1],{"a":2}]', n))),
    "an unknown member of an item": (
        14,
        lambda n: request(message(b'"hi"', more=b',"x":' + listed(b'[[1],{"a":2}]', n))),
    ),
    "an unknown field of a reasoning": (
        14,
        lambda n: request(reasoning=b'{"effort":"low","x":%b}' % listed(b'[[1],{"a":2}]', n)),
    ),
    "a prompt cache key": (
        12,
        lambda n: request(prompt_cache_key=b'"%b"' % (b"hello world " * n)),
    ),
}
"""Bodies by what they are full of: about how many bytes an item has, and the body of so many."""


def of_size(kind: str, size: int) -> bytes:
    """A body of one kind, of at most about this many bytes."""
    return largebodies.filled(*KINDS[kind], size)
