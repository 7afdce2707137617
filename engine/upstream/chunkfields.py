"""The fields of a Chat Completions answer, in every way that providers write them.

Nothing here has a type that can be relied on: what is not of the kind that is looked for counts
as absent. A field may be as large as an event, so what is made of one comes in batches, each a
moment's work.
"""

import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Literal

import msgspec

from engine import pieces
from machines import events

Batch = list[events.StreamInput]
"""The events of one moment, in order."""

Batches = Generator[Batch | None, None, None]
"""Yields a batch for each moment of a reading that takes several; None stands for a moment in
which nothing was found."""

Form = Literal["delta", "whole", "repeated"]
"""The relation of a message to the answer: a part of it, all of it, or a repetition of what went
out in parts."""

ARGUMENTS_MAX: Final = 1 << 14
"""Most code points of one event's arguments: their nesting is followed bracket by bracket."""

WORD_MAX: Final = 4096
"""Most code points that are kept of an id, a name or a reason: no provider's comes near."""

BATCH: Final = 256
"""Parts or calls that are read in one go."""

COUNT_MAX: Final = 2**53
"""The largest count that is believed: JSON readers lose the digits of larger ones (RFC 8259
§6)."""


PLAIN: Final = frozenset({"role", "content"})
"""The members of a delta that is nothing but text."""

PLAIN_CHOICE: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
"""The members of a choice that has nothing but a delta and a reason; the last of them is null."""

OfCall = Callable[[dict[str, Any]], msgspec.Raw]
"""Finds the further members of a call."""


TOLD: Final = (
    "content",
    "reasoning_content",
    "reasoning",
    "refusal",
    "tool_calls",
    "function_call",
)
"""The members of a delta or a message that are told as output."""


class Unreadable(Exception):
    """Raised for output of a type that stands for no text and for no call."""


def texts(content: Any) -> Iterator[str]:
    """Yield the texts in a message's content; an empty text stands for a part without any.

    Raises:
        Unreadable: it is a number, or the like.
    """
    if isinstance(content, str):
        yield content
        return
    for parts in _batches(_listed(content)):
        yield "".join(map(_text_of, parts))


def plain_text(choice: dict[str, Any]) -> str:
    """Return the text of a delta that is a short text and nothing else; empty for any other."""
    delta = choice.get("delta")
    if not choice.keys() <= PLAIN_CHOICE or choice.get("logprobs") is not None:
        return ""
    if isinstance(delta, dict) and delta.keys() <= PLAIN:
        content = delta.get("content")
        if isinstance(content, str) and len(content) <= pieces.PIECE:
            return content
    return ""


def thoughts(message: dict[str, Any]) -> Iterator[str]:
    """Yield the thinking in a message or a delta, as `texts` does for its content.

    Both names of the field are in use, and sometimes both at once for the same text; others have
    it among the parts of the content.
    """
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if text and isinstance(text, str):
            yield text
            return
    content = message.get("content")
    for parts in _batches(content if isinstance(content, list) else []):
        for part in parts:
            if isinstance(part, dict) and "thinking" in part:
                yield from texts(part["thinking"])
        yield ""


def refusals(message: dict[str, Any]) -> Iterator[str]:
    """Yield the refusal in a message or a delta."""
    text = message.get("refusal")
    if isinstance(text, str):
        yield text


def reasoning_member(message: dict[str, Any]) -> events.ReasoningMember:
    """Return the name that a client is told the thinking under, beside its usual one."""
    return "reasoning" if isinstance(message.get("reasoning"), str) else "reasoning_content"


def has_output(message: dict[str, Any]) -> bool:
    """Return whether a message or a delta seems to have anything that is told."""
    return any(map(message.get, TOLD))


def has_calls(message: dict[str, Any]) -> bool:
    """Return whether there are calls in a message or a delta."""
    return bool(message.get("tool_calls") or message.get("function_call"))


def calls(message: dict[str, Any], number: int, form: Form, of_call: OfCall) -> Batches:
    """Yield the fragments of calls in a delta, or the calls of a whole message, which are numbered
    from 0 if they have no index.

    Args:
        number: of the choice.
        of_call: finds what passes as it came.

    Raises:
        Unreadable: one is no object, or its function or arguments are of another type.
    """
    found = message.get("tool_calls") or {"index": 0, "function": message.get("function_call")}
    position = itertools.count()
    if form == "repeated":  # its members were told before
        of_call = _nothing
    for some in _batches(_listed(found)):
        batch: Batch = []
        for call in some:
            at = next(position)
            if not _is_part(call):
                continue
            delta = _fragment(call, None if form == "delta" else at, number, of_call)
            if form == "repeated":
                batch.append(msgspec.structs.replace(delta, extent="whole"))
                continue
            if delta.arguments is not None and len(delta.arguments) > ARGUMENTS_MAX:
                yield batch
                yield from _parts(delta)
                batch = []
            else:
                batch.append(delta)
        yield batch


def _nothing(_: dict[str, Any]) -> msgspec.Raw:
    return events.NO_MEMBERS


def _fragment(
    call: dict[str, Any], position: int | None, number: int, of_call: OfCall
) -> events.ToolCallDelta:
    """Read one entry of `tool_calls`; `position` stands in for an index that is missing."""
    index = call.get("index")
    function, custom = call.get("function"), call.get("custom")
    kind: events.CallKind = "custom" if isinstance(custom, dict) else "function"
    inner: Any = custom if kind == "custom" else function
    if not _is_part(inner):
        inner = {}
    return events.ToolCallDelta(
        index if type(index) is int else position,
        word(call.get("id")),
        word(inner.get("name")),
        _arguments(inner.get("input" if kind == "custom" else "arguments")),
        number,
        kind=kind,
        members=of_call(call),
    )


def _parts(delta: events.ToolCallDelta) -> Iterator[Batch]:
    """Split a large fragment into several events."""
    text = delta.arguments or ""
    starts = range(0, len(text), ARGUMENTS_MAX)
    first, *others, last = (text[start : start + ARGUMENTS_MAX] for start in starts)
    yield [msgspec.structs.replace(delta, arguments=first, extent="part")]
    for piece in others:
        yield [events.ToolCallDelta(arguments=piece, choice=delta.choice, extent="part")]
    yield [events.ToolCallDelta(arguments=last, choice=delta.choice)]


def word(value: Any) -> str | None:
    """Return an id or a name, cut to `WORD_MAX`; None for anything but a text or a number."""
    return str(value)[:WORD_MAX] if isinstance(value, str | int) else None


def usage(value: Any) -> events.Usage | None:
    """Read counts; None where there are none: no prompt has no tokens."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    found = events.Usage(
        _tokens(value, "prompt_tokens"),
        _tokens(value, "completion_tokens"),
        _tokens(prompt, "cached_tokens"),
        _tokens(completion, "reasoning_tokens"),
    )
    if not found.total_tokens:
        return None
    return found.with_total(_tokens(value, "total_tokens"))


def _text_of(part: Any) -> str:
    """Return the text of one part of a content."""
    if isinstance(part, str):
        return part
    text = part.get("text") if _is_part(part) else None
    return text if isinstance(text, str) else ""


def _is_part(value: Any) -> bool:
    """Return whether a value is an object; in place of one there may be an empty value.

    Raises:
        Unreadable: it is of another type.
    """
    if isinstance(value, dict):
        return True
    if value is None or value is False or value in ("", []):
        return False
    raise Unreadable


def _listed(value: Any) -> list[Any]:
    """Return the parts of a content, or calls, as a list: some providers send a single one
    without."""
    return value if isinstance(value, list) else [value]


def _arguments(value: Any) -> str | None:
    """Return a piece of JSON text. Some providers send the arguments parsed, and some of those an
    empty object as an empty array."""
    if isinstance(value, str):
        return value
    if (isinstance(value, list) and value) or _is_part(value):
        return msgspec.json.encode(value).decode()
    return None


def _tokens(counts: Any, key: str) -> int:
    value = counts.get(key) if isinstance(counts, dict) else None
    if not isinstance(value, int | float) or not 0 <= value <= COUNT_MAX:
        return 0
    return int(value)


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
