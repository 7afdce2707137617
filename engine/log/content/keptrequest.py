"""A client's request as the event log keeps it: all of a usual one, of a huge one its outline.

The problem: masking looks at every value and takes a microsecond for each, 13 s for one body of
16 MiB, and the records of a few such requests fill a log. So members are left out, the largest
first, until no more than `KEPT_BYTES` remain; in the place of each stand its size, the number of
its items where it has any, and a digest by which two requests can be compared. The rest is masked,
or freed of secrets, in steps that may be interrupted (`engine.slices`), before the stream opens.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine import redaction, slices
from engine.log.content.digest import HASH_BYTES
from engine.log.content.mask import SPELLING, STAND_IN, Content, mask_text
from machines import parse

KEPT_BYTES: Final = 256 << 10
"""Most bytes of a request that are kept as they were sent."""

DIGEST_BYTES: Final = 1 << 20
"""Bytes that are digested in one go, which takes a millisecond."""

LISTED: Final = ("messages", "input", "tools", "functions")
"""Members whose items are counted where they are left out; there are not many, by then."""

UNREPEATED: Final = frozenset({"input"})
"""Members that no answer repeats, however it is asked."""


class Kept(msgspec.Struct, frozen=True):
    """A request as the log keeps it.

    Attributes:
        request: JSON on one line.
        repeatable: whether an answer that repeats its request can be made again from it.
    """

    request: msgspec.Raw = msgspec.Raw(b"null")
    repeatable: bool = False


class Omitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stands in the place of a member that is left out.

    Attributes:
        bytes: as it was sent.
        items: of an array.
        digest: BLAKE2b-128, hex; keyed where contents are masked, or short ones could be guessed.
    """

    bytes: int
    digest: str
    items: int | None = None


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`{"omitted": …}`: no member of the API is called so."""

    omitted: Omitted


_places: Final = msgspec.json.Decoder(_Place)
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])


def keep(
    members: Mapping[str, msgspec.Raw],
    content: Content,
    key: bytes,
    known: redaction.Redaction = redaction.NONE,
) -> slices.Steps[Kept]:
    """Return a request as the log keeps it.

    Args:
        members: of its body; their depth and the number of their items are known to be right.
        content: `PROXY_EVENT_LOG`.
        key: of the log's digests.
        known: the server's own secrets, which are kept nowhere.
    """
    if content == "off":
        return Kept()
    digest_key = key if content == "masked" else b""
    left_out = _too_large(members)
    outline: dict[str, Any] = {}
    for name, value in members.items():
        if name not in left_out:
            try:
                outline[name] = parse.parse_outer(value, _ANY)
            except parse.ParseError:  # a number of thousands of digits, half of a surrogate pair
                left_out.add(name)
        if name in left_out:
            outline[name] = _Place((yield from _omit(name, value, digest_key)))
        yield
    if content == "masked":
        masked = yield from _mask(outline, REQUEST)
        return Kept((yield from _without(masked, _raw(masked), known)))
    dropped: list[str] = []
    freed = yield from _drop_secrets(outline, dropped)
    whole = _raw(freed)
    kept = yield from _without(freed, whole, known)
    repeatable = not dropped and left_out <= UNREPEATED and bytes(kept) == bytes(whole)
    return Kept(kept, repeatable)


def mask(members: Mapping[str, msgspec.Raw], key: bytes) -> slices.Steps[msgspec.Raw]:
    """Return a request of a full log as a masked one would have it.

    Args:
        members: as they were kept.
        key: of the digests of what was left out.
    """
    outline: dict[str, Any] = {}
    for name, value in members.items():
        omitted = _omitted(value)
        if omitted is None:
            outline[name] = parse.parse_outer(value, _ANY)
        else:
            again = hashlib.blake2b(omitted.digest.encode(), digest_size=HASH_BYTES, key=key)
            place = msgspec.structs.replace(omitted, digest=again.hexdigest())
            outline[name] = _Place(place)
        yield
    return _raw((yield from _mask(outline, REQUEST)))


def _omitted(value: msgspec.Raw) -> Omitted | None:
    """What stands in the place of a member that was left out; None of one that is there."""
    try:
        return parse.parse_outer(value, _places).omitted
    except parse.ParseError:
        return None


def _without(
    value: Any, whole: msgspec.Raw, known: redaction.Redaction
) -> slices.Steps[msgspec.Raw]:
    """JSON of a value without the server's own secrets, wherever a client put them.

    Args:
        whole: the value's JSON, which it is where there are none.
    """
    if not known.may_be_in(bytes(whole)):
        return whole
    return _raw((yield from known.hide_in(value)))


def _too_large(members: Mapping[str, msgspec.Raw]) -> set[str]:
    """The largest members, until what remains is small enough."""
    sizes = {name: len(name) + memoryview(value).nbytes for name, value in members.items()}
    total = sum(sizes.values())
    found = set()
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= KEPT_BYTES:
            break
        found.add(name)
        total -= sizes[name]
    return found


def _omit(name: str, value: msgspec.Raw, key: bytes) -> slices.Steps[Omitted]:
    data = memoryview(value)
    digest = hashlib.blake2b(digest_size=HASH_BYTES, key=key)
    for start in range(0, data.nbytes, DIGEST_BYTES):
        digest.update(data[start : start + DIGEST_BYTES])
        yield
    items = None
    if name in LISTED and bytes(data[:1]) == b"[":
        items = len(parse.parse_outer(value, _items))
    return Omitted(data.nbytes, digest.hexdigest(), items)


_ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


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
        "format": _Shape(_words("type syntax")),
    }
)
_TOOL.fields["tools"] = _TOOL
_TOOL_CHOICE: Final = _Shape({**_TOOL.fields, **_words("mode namespace")}, word=True)
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
        **_words("role type name namespace id call_id tool_call_id status phase"),
        **dict.fromkeys(("content", "output", "summary"), _PART),
        **dict.fromkeys(("tool_calls", "function_call"), _CALL),
        "tools": _TOOL,
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
"""The members that a masked log keeps of a request. Source: the fields of Chat Completions and
Responses as the official SDK types them."""

SPEAKERS: Final = ("system", "developer", "user", "assistant")
"""Roles whose `name` is a person's, not a tool's."""

_DATA_URL: Final = re.compile(r"data:[\w.+/-]*[;,]", re.ASCII | re.IGNORECASE)


def _mask(value: Any, shape: _Shape) -> slices.Steps[Any]:
    """A value with the client's words masked and its shape kept.

    What is kept is named in `REQUEST`. Any other text is masked, and so are other numbers and the
    names in objects that it does not describe (names that mask alike become one). Of encoded media
    the length is left.
    """
    if isinstance(value, dict):
        return (yield from _mask_object(value, shape))
    if not isinstance(value, list):
        return _mask_leaf(value, shape)
    masked = []
    for item in value:
        if isinstance(item, list | dict):
            masked.append((yield from _mask(item, shape)))
        else:
            masked.append(_mask_leaf(item, shape))
        yield
    return masked


def _mask_leaf(value: Any, shape: _Shape) -> Any:
    if isinstance(value, _Place):
        return value
    if isinstance(value, str):
        if shape is _MEDIA or _DATA_URL.match(value):
            return f"data:{len(value)}"
        is_word = value in shape.only if shape.only else SPELLING.fullmatch(value)
        return value if shape.word and is_word else mask_text(value)
    if value is None or shape.word or (isinstance(value, bool) and shape is not _MASKED):
        return value
    return STAND_IN


def _mask_object(members: dict[str, Any], shape: _Shape) -> slices.Steps[dict[str, Any]]:
    masked = {}
    for name, member in members.items():
        yield
        if _is_secret(name, member, members):
            continue
        inner = shape.every or shape.fields.get(name, _MASKED)
        if name == "name" and members.get("role") in SPEAKERS:
            inner = _MASKED
        described = shape.every is not None or name in shape.fields
        named = described or (shape.fields and SPELLING.fullmatch(name))
        masked[name if named else mask_text(name)] = yield from _mask(member, inner)
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


def _drop_secrets(value: Any, dropped: list[str]) -> slices.Steps[Any]:
    """A value without the keys and tokens that some tools take; their names are noted."""
    if isinstance(value, list):
        kept = []
        for item in value:
            kept.append((yield from _drop_secrets(item, dropped)))
            yield
        return kept
    if not isinstance(value, dict):
        return value
    members = {}
    for name, member in value.items():
        yield
        if _is_secret(name, member, value):
            dropped.append(name)
        else:
            members[name] = yield from _drop_secrets(member, dropped)
    return members
