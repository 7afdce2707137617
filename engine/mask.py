"""Decides what of a client's and a model's words the event log keeps.

`masked` replaces every letter, digit and mark of every script by one character and keeps white
space and punctuation, so a text keeps its number of code points and the cuts between its deltas.
`full` keeps the words. Names of fields, roles, tools and models stay in both, keys and tokens in
neither.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import jsonstrings
from machines import events

STAND_IN: Final = "*"
"""In place of a masked character; neither letter nor digit, so a masked text has none."""

MEMO_SIZE: Final = 1 << 14
"""Code points whose stand-in is remembered, about 1.5 MiB of them: more than a language uses."""


class _StandIns(dict[int, str]):
    """A table for `str.translate` that asks Unicode once for each code point it meets.

    Beyond ASCII it keeps white space and punctuation only: among the symbols are letters in
    circles and squares, among the format characters whole hidden alphabets, and what is not
    assigned today may be a letter tomorrow.
    """

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        kept = "PSZ" if code_point < 128 else "PZ"
        stand_in = character if category[0] in kept or category == "Cc" else STAND_IN
        if len(self) < MEMO_SIZE:
            self[code_point] = stand_in
        return stand_in


_STAND_INS: Final = _StandIns()


def mask_text(text: str) -> str:
    """The text with a stand-in for each of its letters, digits and marks: as many code points."""
    return text.translate(_STAND_INS)


_ASCII_STAND_INS: Final = bytes(
    ord(_STAND_INS[byte]) if byte < 128 else byte for byte in range(256)
)
_encode: Final = msgspec.json.Encoder().encode


def join_masked(texts: list[str], separator: bytes) -> bytes:
    """The masked texts as `jsonstrings.join` has them: most are ASCII, with nothing to escape."""
    encoded = _encode(texts)
    if b"\\" in encoded or "," in texts or not encoded.isascii():
        return jsonstrings.join([mask_text(text) for text in texts], separator)
    return jsonstrings.between(encoded.translate(_ASCII_STAND_INS), separator)


def mask_event(event: events.StreamEvent) -> events.StreamEvent:
    """An event as a masked log keeps it."""
    match event:
        case events.TextDelta() | events.ReasoningDelta() | events.RefusalDelta():
            return msgspec.structs.replace(event, text=mask_text(event.text))
        case events.ReasoningCompleted(content):
            return msgspec.structs.replace(event, encrypted_content=mask_text(content))
        case events.ToolCalled() | events.ToolCallDelta(arguments=str()):
            return msgspec.structs.replace(event, arguments=mask_text(event.arguments or ""))
        case events.TurnFailed():
            return msgspec.structs.replace(event, message=mask_text(event.message))
        case events.UpstreamGarbled():
            return msgspec.structs.replace(event, data=mask_text(event.data))
        case events.RpcReplied(error=str(error)):
            return msgspec.structs.replace(event, error=mask_text(error))
        case events.WorkerChanged():
            return msgspec.structs.replace(event, detail=_mask_detail(event.detail))
        case events.Opened():
            return msgspec.structs.replace(
                event,
                content="masked",
                stop=tuple(mask_text(sequence) for sequence in event.stop),
                request=msgspec.Raw(mask_request(bytes(event.request))),
                hash_key=None,
            )
        case _:
            return event


def _mask_detail(detail: dict[str, str | int]) -> dict[str, str | int]:
    return {
        name: mask_text(value) if isinstance(value, str) and name != "version" else value
        for name, value in detail.items()
    }


def keep_event(event: events.StreamEvent) -> events.StreamEvent:
    """An event as a full log keeps it.

    A body that repeats its request, from which something was dropped, cannot be made again: its
    hash is of no use.
    """
    if not isinstance(event, events.Opened):
        return event
    body = bytes(event.request)
    kept = drop_secrets(body)
    repeats = event.endpoint != events.CHAT
    lost = repeats and kept != _rewrite(body, lambda value: value)
    return msgspec.structs.replace(
        event,
        content="full",
        request=msgspec.Raw(kept),
        hash_key=None if lost else event.hash_key,
    )


def mask_request(body: bytes) -> bytes:
    """A request's body on one line, with the client's words masked and its shape kept.

    What is kept is named in `REQUEST`. Any other text is masked, and so are other numbers and the
    names in objects that it does not describe (names that mask alike become one). Of encoded media
    the length is left. What is no JSON, or is nested past Python's stack, leaves `null`.
    """
    return _rewrite(body, lambda value: _mask(value, REQUEST))


def drop_secrets(body: bytes) -> bytes:
    """A request's body on one line, without the keys and tokens that some tools take.

    What is no JSON, or is nested past Python's stack, leaves `null`.
    """
    return _rewrite(body, _without_secrets)


def _rewrite(body: bytes, change: Callable[[Any], Any]) -> bytes:
    try:
        return msgspec.json.encode(change(msgspec.json.decode(body)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b"null"


class _Shape(msgspec.Struct):
    """What a masked log keeps of one place in a request.

    Attributes:
        fields: the members it describes.
        every: describes the members of an object whose names are names of fields.
        word: whether it may be a word or a number of the API, or a name.
    """

    fields: "dict[str, _Shape]" = {}
    every: "_Shape | None" = None
    word: bool = False


_MASKED: Final = _Shape()
_MEDIA: Final = _Shape()
_WORD: Final = _Shape(word=True)


def _words(names: str) -> dict[str, _Shape]:
    return dict.fromkeys(names.split(), _WORD)


_SCHEMA: Final = _Shape(_words("type format required strict $ref $schema"))
_SCHEMA.fields |= dict.fromkeys(
    ("items", "prefixItems", "additionalProperties", "anyOf", "allOf", "oneOf", "not"), _SCHEMA
)
_SCHEMA.fields |= dict.fromkeys(("properties", "$defs", "definitions"), _Shape(every=_SCHEMA))

_FORMAT: Final = _Shape({**_words("type name strict"), "schema": _SCHEMA})
_FORMAT.fields["json_schema"] = _FORMAT

_FUNCTION: Final = _Shape({**_words("name strict"), "parameters": _SCHEMA})
_TOOL: Final = _Shape(
    {
        **_words("type name strict server_label"),
        "parameters": _SCHEMA,
        "function": _FUNCTION,
        "custom": _Shape(_words("name")),
    }
)
_TOOL.fields["tools"] = _TOOL
_TOOL_CHOICE: Final = _Shape({**_TOOL.fields, **_words("mode")}, word=True)
_TOOL_CHOICE.fields["allowed_tools"] = _TOOL_CHOICE

_PART: Final = _Shape(
    {
        **_words("type detail file_id"),
        "image_url": _Shape(_words("detail")),
        "input_audio": _Shape({**_words("format"), "data": _MEDIA}),
        "file": _Shape({**_words("file_id"), "file_data": _MEDIA}),
        "file_data": _MEDIA,
    }
)
_CALL: Final = _Shape(_words("id type index name"))
_CALL.fields |= {"function": _CALL, "custom": _CALL}
_ITEM: Final = _Shape(
    {
        **_words("role type name id call_id tool_call_id status phase"),
        **dict.fromkeys(("content", "output", "summary"), _PART),
        **dict.fromkeys(("tool_calls", "function_call"), _CALL),
        "encrypted_content": _MEDIA,
    }
)

REQUEST: Final = _Shape(
    {
        **_words("model n stream store background include modalities service_tier truncation"),
        **_words("max_tokens max_completion_tokens max_output_tokens max_tool_calls"),
        **_words("temperature top_p presence_penalty frequency_penalty seed"),
        **_words("logprobs top_logprobs parallel_tool_calls reasoning_effort verbosity"),
        **_words("previous_response_id prompt_cache_retention"),
        "stream_options": _Shape(_words("include_usage include_obfuscation")),
        "reasoning": _Shape(_words("effort summary")),
        "audio": _Shape(_words("voice format")),
        "web_search_options": _Shape(_words("search_context_size")),
        "prediction": _Shape({**_words("type"), "content": _PART}),
        "prompt": _Shape(_words("id version")),
        "conversation": _Shape(_words("id"), word=True),
        "text": _Shape({**_words("verbosity"), "format": _FORMAT}),
        "response_format": _FORMAT,
        **dict.fromkeys(("messages", "input"), _ITEM),
        **dict.fromkeys(("tools", "functions"), _TOOL),
        **dict.fromkeys(("tool_choice", "function_call"), _TOOL_CHOICE),
    }
)
"""What a masked log keeps of a request. Source: the fields of Chat Completions and Responses as
the official SDK types them."""

SPEAKERS: Final = ("system", "developer", "user", "assistant")
"""Roles whose `name` is a person's, not a tool's."""

_SPELLING: Final = re.compile(r"[\w.:/#$+-]{1,128}", re.ASCII)
_DATA_URL: Final = re.compile(r"data:[\w.+/-]*[;,]", re.ASCII | re.IGNORECASE)


def _mask(value: Any, shape: _Shape) -> Any:
    if isinstance(value, list):
        return [_mask(item, shape) for item in value]
    if isinstance(value, dict):
        return _mask_object(value, shape)
    if isinstance(value, str):
        if shape is _MEDIA or _DATA_URL.match(value):
            return f"data:{len(value)}"
        return value if shape.word and _SPELLING.fullmatch(value) else mask_text(value)
    if value is None or shape.word or (isinstance(value, bool) and shape is not _MASKED):
        return value
    return STAND_IN


def _mask_object(members: dict[str, Any], shape: _Shape) -> dict[str, Any]:
    masked = {}
    for name, member in members.items():
        if _is_secret(name, member, members):
            continue
        inner = shape.every or shape.fields.get(name, _MASKED)
        if name == "name" and members.get("role") in SPEAKERS:
            inner = _MASKED
        described = shape.every is not None or name in shape.fields
        named = described or (shape.fields and _SPELLING.fullmatch(name))
        masked[name if named else mask_text(name)] = _mask(member, inner)
    return masked


_SECRET: Final = re.compile(
    r"(.*[_-])?(authorization|api[_-]?key|token|secret|password|cookie)", re.IGNORECASE
)
"""Names of members whose text is a key or a token, whatever comes before."""


def _is_secret(name: str, member: Any, members: dict[str, Any]) -> bool:
    # Headers that a tool's server shall be called with may hold a key under any name.
    if name == "headers" and "server_url" in members:
        return True
    return isinstance(member, str) and _SECRET.fullmatch(name) is not None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _without_secrets(member)
            for name, member in value.items()
            if not _is_secret(name, member, value)
        }
    return value
