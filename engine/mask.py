"""Decides what of a client's and a model's words the event log keeps.

`masked` replaces every letter, digit and mark of every script by one character and keeps white
space and punctuation, so a text keeps its number of code points and the cuts between its deltas.
`full` keeps the words. Names of fields, roles, tools and models stay in both, keys and tokens in
neither.

A worker's codes, ids and names are not contents, but nothing keeps a worker from putting a
sentence where a code belongs. So they stay only where they are spelled as one: `mask_code` and
`mask_name`. `docs/events.md` lists them.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import jsonstrings
from machines import events, outputs

STAND_IN: Final = "*"
"""In place of a masked character; neither letter nor digit, so a masked text has none."""

LONG_TEXT: Final = 1 << 16
"""Code points above which a text is masked as a whole, punctuation and all: 40 ns for each that is
not ASCII would hold the loop for most of a second at 16 MiB."""

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
    """The text with a stand-in for each of its letters, digits and marks: as many code points.

    Of one that is longer than `LONG_TEXT` every character is replaced.
    """
    return STAND_IN * len(text) if len(text) > LONG_TEXT else text.translate(_STAND_INS)


_ASCII_STAND_INS: Final = bytes(
    ord(_STAND_INS[byte]) if byte < 128 else byte for byte in range(256)
)
_encode: Final = msgspec.json.Encoder().encode


def join_masked(texts: list[str], separator: bytes) -> bytes:
    """The masked texts as `jsonstrings.join` has them: most are ASCII, with nothing to escape."""
    encoded = _encode(texts)
    special = b"\\" in encoded or "," in texts or not encoded.isascii()
    if special or (len(encoded) > LONG_TEXT and max(map(len, texts)) > LONG_TEXT):
        return jsonstrings.join([mask_text(text) for text in texts], separator)
    return jsonstrings.between(encoded.translate(_ASCII_STAND_INS), separator)


_CODE: Final = re.compile(
    r"(?:[a-z]{1,24}[0-9]{0,2}|[0-9]{1,4})(?:[][_.-]{1,2}(?:[a-z]{1,24}[0-9]{0,2}|[0-9]{1,4}))*]?",
    re.ASCII | re.IGNORECASE,
)
"""Words and numbers with `_`, `.`, `-` or brackets between them; no key is spelled like that."""

CODE_LENGTH: Final = 64
"""Characters of a code, a reason or the path of a parameter that are kept: the longest that
OpenAI's API is known to have has 41."""

_CODES: Final[dict[type[events.StreamEvent], tuple[str, ...]]] = {
    events.TurnFinished: ("reason",),
    events.TurnFailed: ("code", "param"),
    events.ItemStarted: ("item",),
    events.RetryScheduled: ("code",),
    events.FallbackTaken: ("code",),
    events.FallbackSkipped: ("code",),
    events.Terminal: ("code", "finish_words"),
}
"""Fields that hold a worker's codes."""

_NAMES: Final[dict[type[events.StreamEvent], tuple[str, ...]]] = {
    events.ToolCalled: ("call_id", "name"),
    events.ToolCallDropped: ("call_id", "name"),
    events.ToolCallDelta: ("call_id", "name"),
    events.TurnStarted: ("thread_id", "turn_id"),
    events.TurnResumed: ("thread_id",),
}
"""Fields that hold a worker's ids, and the names of the functions that a model calls."""


def mask_code(code: str) -> str:
    """A worker's code as it is, and masked where it is not spelled as a code."""
    return code if len(code) <= CODE_LENGTH and _CODE.fullmatch(code) else mask_text(code)


def mask_name(name: str) -> str:
    """An id or the name of a function as it is, and masked where it is not spelled as one."""
    return name if _SPELLING.fullmatch(name) else mask_text(name)


def mask_decision(decision: outputs.Decision) -> outputs.Decision:
    """What scanners decided, as a masked log keeps it: the name of a block that is no call is a
    part of the text."""
    return msgspec.structs.replace(
        decision,
        pieces=decision.pieces and tuple(map(_mask_piece, decision.pieces)),
        joined=tuple(outputs.Joined(each.index, mask_name(each.name)) for each in decision.joined),
    )


def _mask_piece(piece: outputs.Piece) -> outputs.Piece:
    word = mask_text(piece.word) if piece.kind == "verbatim" else mask_name(piece.word)
    return outputs.Piece(piece.kind, piece.length, word)


def mask_event(event: events.StreamEvent) -> events.StreamEvent:
    """An event as a masked log keeps it."""
    kept = {name: _each(mask_code, event, name) for name in _CODES.get(type(event), ())}
    kept |= {name: _each(mask_name, event, name) for name in _NAMES.get(type(event), ())}
    return _mask_texts(msgspec.structs.replace(event, **kept) if kept else event)


def _each(change: Callable[[str], str], event: events.StreamEvent, field: str) -> Any:
    value = getattr(event, field)
    if isinstance(value, tuple):
        return tuple(word and change(word) for word in value)
    return value and change(value)


def _mask_texts(event: events.StreamEvent) -> events.StreamEvent:
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
        only: all the words that it may be; empty where nobody knows them all.
    """

    fields: "dict[str, _Shape]" = {}
    every: "_Shape | None" = None
    word: bool = False
    only: frozenset[str] = frozenset()


_MASKED: Final = _Shape()
_MEDIA: Final = _Shape()
_WORD: Final = _Shape(word=True)


def _words(names: str) -> dict[str, _Shape]:
    return dict.fromkeys(names.split(), _WORD)


_FORMATS: Final = frozenset(
    {
        **_words("date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6"),
        **_words("uri uri-reference iri iri-reference uri-template uuid"),
        **_words("json-pointer relative-json-pointer regex"),
        **_words("int32 int64 float double byte binary password"),
    }
)
"""Values of `format` in a schema. Source: JSON Schema 2020-12, section 7.3 of its validation, and
OpenAPI 3.0."""

_SCHEMA: Final = _Shape(
    {**_words("type required strict $ref $schema"), "format": _Shape(word=True, only=_FORMATS)}
)
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
        is_word = value in shape.only if shape.only else _SPELLING.fullmatch(value)
        return value if shape.word and is_word else mask_text(value)
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
