"""Chat requests of one kind of item and of any size, for tests of what they cost."""

from collections.abc import Callable
from typing import Final

HI: Final = b'{"role":"user","content":"hi"}'

Fill = Callable[[int], bytes]
"""Makes the items of a request: so many of them."""


def request(messages: bytes = HI, **members: bytes) -> bytes:
    """A body with these messages and members, each as JSON."""
    written = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in members.items())
    return b'{"model":"gpt-5.5","messages":[%b]%b}' % (messages, written)


def listed(item: bytes, count: int) -> bytes:
    """An array of `count` times the same; `%d` in it is its number."""
    numbered = b"%d" in item
    items = (item % number if numbered else item for number in range(count))
    return b"[%b]" % b",".join(items)


def members(value: bytes, count: int) -> bytes:
    """An object with so many members of the same value."""
    return b"{%b}" % b",".join(b'"k%07d":%b' % (number, value) for number in range(count))


def nested(depth: int, count: int) -> bytes:
    """An array of values of this depth."""
    return listed(b'{"a":' * depth + b"1" + b"}" * depth, count)


def message(content: bytes, role: bytes = b"user", more: bytes = b"") -> bytes:
    return b'{"role":"%b","content":%b%b}' % (role, content, more)


def function(name: bytes, parameters: bytes) -> bytes:
    written = b'{"type":"function","function":{"name":"%b","parameters":%b}}'
    return written % (name, parameters)


CALL: Final = b'{"id":"c%d","type":"function","function":{"name":"f","arguments":"{}"}}'
STEP: Final = (
    b'{"role":"assistant","tool_calls":[{"id":"c%d","type":"function","function":'
    b'{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c%d","content":"ok"}'
)
PROPERTY: Final = b'{"type":"string","minLength":1}'


def steps(count: int) -> bytes:
    """Messages: a question, then so many calls, each with its result."""
    told = b",".join(STEP % (number, number) for number in range(count))
    return b"%b,%b" % (HI, told)


def schema(properties: bytes) -> bytes:
    return b'{"type":"object","properties":%b}' % properties


def answer_format(wanted: bytes) -> bytes:
    return b'{"type":"json_schema","json_schema":{"name":"n","schema":%b}}' % wanted


def choice(count: int) -> bytes:
    named = listed(b'{"type":"function","function":{"name":"f"}}', count)
    return b'{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":%b}}' % named


ROLES: Final = (
    message(b'"Be brief."', b"system"),
    message(b'"Be kind."', b"developer"),
    message(b"null", b"assistant", b',"function_call":{"name":"f","arguments":"{}"}'),
    message(b'"done"', b"function", b',"name":"f"'),
)

KINDS: Final[dict[str, tuple[int, Fill]]] = {
    "text": (12, lambda n: request(message(b'"%b"' % (b"hello world " * n)))),
    "text of escapes": (4, lambda n: request(message(b'"%b"' % (rb"\"\n" * n)))),
    "text of brackets": (11, lambda n: request(message(b'"%b"' % (rb"[{\"a\":1}," * n)))),
    "text in Unicode escapes": (6, lambda n: request(message(b'"%b"' % (rb"\u00e9" * n)))),
    "text in UTF-8": (5, lambda n: request(message(b'"%b"' % ("é漢".encode() * n)))),
    "messages": (31, lambda n: request(b",".join([HI] * n))),
    "messages of every role": (54, lambda n: request(b",".join(ROLES[i % 4] for i in range(n)))),
    "elements for messages": (2, lambda n: request(b",".join([b"1"] * n))),
    "parts": (27, lambda n: request(message(listed(b'{"type":"text","text":"a"}', n)))),
    "images": (
        64,
        lambda n: request(
            message(listed(b'{"type":"image_url","image_url":{"url":"data:image/png,"}}', n))
        ),
    ),
    "calls": (
        78,
        lambda n: request(message(b"null", b"assistant", b',"tool_calls":' + listed(CALL, n))),
    ),
    "calls and results": (166, lambda n: request(steps(n))),
    "tools": (
        95,
        lambda n: request(tools=listed(function(b"f%d", schema(b"{}")), n)),
    ),
    "properties of a function": (
        43,
        lambda n: request(tools=b"[%b]" % function(b"f", schema(members(PROPERTY, n)))),
    ),
    "functions": (17, lambda n: request(functions=listed(b'{"name":"f%d"}', n))),
    "functions to choose": (
        44,
        lambda n: request(tools=b"[%b]" % function(b"f", b"{}"), tool_choice=choice(n)),
    ),
    "properties of an answer": (
        27,
        lambda n: request(response_format=answer_format(schema(members(b'{"type":"string"}', n)))),
    ),
    "an answer's schema 90 deep": (
        542,
        lambda n: request(response_format=answer_format(b'{"x":%b}' % nested(90, n))),
    ),
    "a function's schema 90 deep": (
        542,
        lambda n: request(tools=b"[%b]" % function(b"f", b'{"x":%b}' % nested(90, n))),
    ),
    "an answer's schema 900 deep": (
        5402,
        lambda n: request(response_format=answer_format(b'{"x":%b}' % nested(900, n))),
    ),
    "stop sequences": (4, lambda n: request(stop=listed(b'"a"', n))),
    "metadata": (14, lambda n: request(metadata=members(b'"x"', n))),
    "logit bias": (12, lambda n: request(logit_bias=members(b"1", n))),
    "modalities": (7, lambda n: request(modalities=listed(b'"text"', n))),
    "unknown fields": (12, lambda n: request(**{f"k{number:07}": b"1" for number in range(n)})),
    "an unknown field of pairs": (14, lambda n: request(x=listed(b'[[1],{"a":2}]', n))),
    "an unknown field 100 deep": (
        201,
        lambda n: request(x=listed(b"[" * 100 + b"]" * 100, n)),
    ),
    "an unknown object": (12, lambda n: request(x=members(b"1", n))),
    "an unknown object of a message": (
        12,
        lambda n: request(message(b'"hi"', more=b',"x":' + members(b"1", n))),
    ),
    "unknown members of a message": (
        12,
        lambda n: request(message(b'"hi"', more=b"," + members(b"1", n)[1:-1])),
    ),
}
"""Bodies by what they are full of: about how many bytes an item has, and the body of so many."""


def of_size(kind: str, size: int) -> bytes:
    """A body of one kind, of at most about this many bytes."""
    return filled(*KINDS[kind], size)


def filled(each: int, fill: Fill, size: int) -> bytes:
    """A body of so many items, of about as many bytes each, that it has this size."""
    return fill(max(1, (size - 200) // each))
