"""Reads a chat request for a worker that is given the request itself.

Only that is read which the server acts on; everything else is the upstream's to judge. So nothing
here is refused for a field that the upstream may well understand.
"""

import itertools
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from engine import slices, worker
from machines import parse
from server.api import promptsize
from server.api.options import AnswerOptions
from server.chat import output_mode, request as chatbodies
from server.config.settings import Config
from server.http import decoding, reading
from server.http.exchange import Headers

T = TypeVar("T")


class PassedOn(msgspec.Struct):
    """The members of a request that the server acts on before it is passed on."""

    messages: Annotated[list[msgspec.Raw], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: chatbodies.StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None


class _Message(msgspec.Struct):
    """A message of which only the content is read, and how long its calls are."""

    content: msgspec.Raw = decoding.ABSENT
    tool_calls: msgspec.Raw = decoding.ABSENT


class _Part(msgspec.Struct):
    """A part of a message of which only a text is read."""

    text: msgspec.Raw = decoding.ABSENT


class _Tool(msgspec.Struct):
    """A tool of which only the function is read."""

    function: msgspec.Raw = decoding.ABSENT


class _Function(msgspec.Struct):
    """A function of which only the name is read."""

    name: msgspec.Raw = decoding.ABSENT


_reader: Final = reading.reader(PassedOn)
_message: Final = msgspec.json.Decoder(_Message)
_part: Final = msgspec.json.Decoder(_Part)
_tool: Final = msgspec.json.Decoder(_Tool)
_function: Final = msgspec.json.Decoder(_Function)
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)

_TAG_NAMES: Final = tuple(tag.strip("<").encode() for tag in output_mode.COPILOT_TAGS)
"""The tags' names, one of which every message that mentions a tag has; some encoders escape the
`<` before it."""


def read(
    members: reading.Members, headers: Headers, config: Config
) -> slices.Steps[AnswerOptions]:
    """Read what a request asks of an answer.

    Raises:
        ApiError: with the field at fault, as far as the server needs it.
    """
    request = yield from _reader.from_members(members, config.max_input_items)
    for field in ("messages", "tools", "functions"):
        decoding.check_count(field, len(getattr(request, field) or ()), config.max_input_items)
    tools = yield from _tools(request)
    mentions = _mentions(request.messages, config.max_input_items)
    mode = yield from output_mode.choose(headers, mentions, config.output_mode)
    body_bytes = yield from _prompt_bytes(request, config.max_input_items)
    n = request.n or 1
    return AnswerOptions(
        model=decoding.model_of(request.model),
        stream=bool(request.stream),
        include_usage=chatbodies.wants_usage(request.stream, request.stream_options),
        n=n,
        output_mode=mode,
        tools=tools,
        most_calls=config.tool_block_max if config.enable_parallel_tool_calls else 1,
        # Where both stand, the newer form is what upstreams answer.
        legacy=bool(request.functions) and not request.tools,
        choices_a_turn=n,
        body=members,
        body_bytes=body_bytes,
    )


def _tools(request: PassedOn) -> slices.Steps[tuple[worker.Tool, ...]]:
    """Return the declared functions as tools with nothing but a name, since blocks in the text may
    call them too; a name that is longer than any that is taken elsewhere is left out."""
    functions = itertools.chain(map(_function_of, request.tools or ()), request.functions or ())
    found = []
    for function in functions:
        named = _read(function, _function)
        name = _read(named.name, _text) if named is not None else None
        if name is not None and len(name) <= chatbodies.FUNCTION_NAME_MAX:
            found.append(worker.Tool(name))
        yield
    return tuple(found)


def _function_of(tool: msgspec.Raw) -> msgspec.Raw:
    read = _read(tool, _tool)
    return decoding.ABSENT if read is None else read.function


def _mentions(messages: list[msgspec.Raw], limit: int) -> slices.Steps[bool]:
    """Return whether a text has a tag of Obsidian Copilot's; hardly any message is read for it."""
    for message in messages:
        data = bytes(message)
        if any(name in data for name in _TAG_NAMES):
            texts = yield from _texts(_read(message, _message), limit)
            if (yield from output_mode.has_tags(texts)):
                return True
        yield
    return False


def _prompt_bytes(request: PassedOn, limit: int) -> slices.Steps[int]:
    """Return how long the texts, calls and tools of a request are; calls and tools as JSON."""
    size = sum(memoryview(tool).nbytes for tool in (request.tools or request.functions or ()))
    for message in request.messages:
        read = _read(message, _message)
        for text in (yield from _texts(read, limit)):
            size += promptsize.utf8(text)
        if read is not None and read.tool_calls != decoding.ABSENT:
            size += memoryview(read.tool_calls).nbytes
        yield
    return size


def _texts(read: _Message | None, limit: int) -> slices.Steps[list[str]]:
    """Return the texts of a message; one of more parts than `limit` is not searched."""
    content = decoding.ABSENT if read is None else read.content
    if (text := _read(content, _text)) is not None:
        return [text]
    if (yield from parse.scan_items(content, limit)):
        return []
    found = []
    for item in _read(content, _items) or ():
        part = _read(item, _part)
        if part is not None and (text := _read(part.text, _text)) is not None:
            found.append(text)
        yield
    return found


def _read(value: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode a value whose depth was checked, None if it is of another type."""
    try:
        return parse.parse_outer(value, decoder)
    except parse.ParseError:
        return None
