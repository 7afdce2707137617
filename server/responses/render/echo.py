"""The parts of its request that a response repeats: encoded once, before its stream opens.

The problem: three events of every stream repeat the tools, the instructions and more, and a
request may have megabytes of them. So each member is encoded once, and copied then. A usual one is
written as the log has it, so that a replay repeats it to the byte; one that is too large for the
log is left as it was sent, but for what would break a line.
"""

from typing import Any, Final

import msgspec

from engine import slices
from engine.log.content import keptrequest
from machines import events, parse
from server.http import decoding
from server.http.reading import Members

_encode: Final = msgspec.json.encode

USUAL: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""The members that repeat the request, each with its value where the request has none. Source: the
API's response object, of which Open Responses requires every one."""

REASONING: Final[dict[str, Any]] = {"effort": None, "summary": None}
TEXT: Final[dict[str, Any]] = {"format": {"type": "text"}, "verbosity": "medium"}
TOOL: Final[dict[str, Any]] = {"description": None, "parameters": None, "strict": None}
"""The members that a function always has, each with its value where the request has none."""

FUNCTION: Final = _encode("function")
"""The type of a function, as JSON."""

SHAPED: Final = tuple(_encode(kind) for kind in ("custom", "namespace"))
"""The types of other tools that are repeated, as JSON. Answers of older logs repeat functions
alone, so these are where the stream's own options name a shape."""

ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
"""The member of `include` by which reasoning items show what only their provider can read."""

NULL: Final = msgspec.Raw(b"null")

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Echo(msgspec.Struct, frozen=True):
    """The parts of one request that its response repeats.

    Attributes:
        members: of the response object, in their order; `model` and `store` are its stream's.
        shows_encrypted: whether the request wants reasoning items with their encrypted content.
    """

    members: dict[str, msgspec.Raw]
    shows_encrypted: bool


def of(members: Members, has_shapes: bool = False) -> slices.Steps[Echo]:
    """Return the parts of a request that are repeated; a masked log's may have members of other
    types.

    Args:
        has_shapes: whether the model is offered tools that are not declared as functions.
    """
    given = {name: value for name, value in members.items() if decoding.is_active(value)}
    repeated: dict[str, msgspec.Raw] = {}
    for name, usual in USUAL.items():
        repeated[name] = _written(given[name]) if name in given else _raw(usual)
        yield
    repeated["model"] = repeated["store"] = NULL
    reasoning = yield from _object(given.get("reasoning", NULL))
    if reasoning.get("summary") == _raw("none"):
        del reasoning["summary"]  # some clients send the word; SDKs know it in no answer
    repeated["reasoning"] = _raw(REASONING | reasoning)
    repeated["text"] = _raw(TEXT | (yield from _object(given.get("text", NULL))))
    repeated["tool_choice"] = _written(given.get("tool_choice", _raw("auto")))
    tools = []
    for tool in _list(given.get("tools", NULL)):
        found = yield from _object(tool, keep_nulls=True)
        kind = bytes(found.get("type", NULL))
        if kind == FUNCTION:
            tools.append(_raw(TOOL | found))
        elif has_shapes and kind in SHAPED:
            tools.append(_raw(found))
    repeated["tools"] = _raw(tools)
    include = map(_written, _list(given.get("include", NULL)))
    return Echo(repeated, _raw(ENCRYPTED_REASONING) in include)


def logged(opened: events.Opened) -> Echo:
    """Return the parts that are repeated of a request as the log has it."""
    try:
        members = parse.parse(opened.request, _members)
    except parse.ParseError:
        members = {}
    return slices.at_once(of(members, bool(opened.tools.shapes)))


def _written(value: msgspec.Raw) -> msgspec.Raw:
    """Return a value as it is repeated."""
    if memoryview(value).nbytes > keptrequest.KEPT_BYTES:
        text = bytes(value).decode("utf-8", "replace")
        return msgspec.Raw(text.replace("\n", " ").replace("\r", " ").encode())
    for read in (parse.value, parse.lenient):
        try:
            return _raw(read(value))
        except parse.ParseError:
            continue
    return NULL  # a number of thousands of digits


def _object(value: msgspec.Raw, keep_nulls: bool = False) -> slices.Steps[dict[str, msgspec.Raw]]:
    """Return the members of an object that are not null; none of any other value."""
    written = {}
    if bytes(memoryview(value)[:1]) == b"{":
        for name, member in parse.parse_outer(value, _members).items():
            if keep_nulls or decoding.is_active(member):
                written[name] = _written(member)
            yield
    return written


def _list(value: msgspec.Raw) -> list[msgspec.Raw]:
    """Return the items of an array; none of any other value."""
    is_array = bytes(memoryview(value)[:1]) == b"["
    return parse.parse_outer(value, _items) if is_array else []


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
