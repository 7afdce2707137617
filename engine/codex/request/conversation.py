"""A conversation as the items `thread/inject_items` takes, in order, with nothing lost.

Codex drops what it does not know without a word (`docs/codex.md`): role `system`, `name`, results
without their call. So each of these is turned into what it keeps, or refused by name.

These are two steps. `check` refuses, before the stream opens, and makes nothing: a turn that is
resumed sends no conversation. `items` converts what `check` has let pass, and refuses nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from engine import slices
from engine.codex.request import reasoning
from engine.worker import (
    ImagePart,
    Message,
    OtherPart,
    Part,
    RefusalPart,
    Role,
    TextPart,
    TurnRefused,
)
from machines import parse

ROLES: Final = {"system": "developer", "developer": "developer", "user": "user"}
"""Codex's role for each role of the API whose content is input; it drops `system`."""

BATCH_BYTES: Final = 1 << 20
"""Most bytes of a line to Codex that holds several items: every line is encoded, checked and
written in one go."""

ITEM_LEVELS: Final = 16
"""Levels of JSON that an item has at most. The deepest that is known, a message with an image, has
three; one of a provider's own may have some more."""

LEVELS: Final = 2 + ITEM_LEVELS
"""Levels of JSON that `thread/inject_items` has at most."""

Item = dict[str, Any]
T = TypeVar("T")

Recall = Callable[[Message], tuple[msgspec.Raw, ...] | None]
"""Finds the model's own items behind an assistant message; None where they are not kept."""


def check(messages: tuple[Message, ...]) -> slices.Steps[None]:
    """Refuse what Codex cannot take.

    Raises:
        TurnRefused: for a part Codex cannot take, a tool result that answers no call, or an item
            of the provider's that is nested too deeply.
    """
    made: set[str] = set()
    for index, message in enumerate(messages):
        yield
        if message.role in ("tool", "function"):
            _check_answered(message, index, made)
        for call in message.calls if message.role == "assistant" else ():
            made.add(call.call_id)
            yield
        for part in message.parts:
            if not isinstance(part, TextPart):
                _check_part(part, message.role)
                yield
        for thought in message.reasoning:
            _shallow(thought)
            yield


def _check_answered(message: Message, index: int, made: set[str]) -> None:
    """Refuse the result of a call that none of these is."""
    if answered(message) not in made:
        raise TurnRefused(
            "invalid_request",
            "A tool message must answer a tool call of an earlier assistant message.",
            f"messages[{index}]",
        )


def _check_part(part: Part, role: Role) -> None:
    if isinstance(part, ImagePart):
        if role == "assistant":
            raise TurnRefused("unsupported_content", "An image cannot stand here.", part.param)
        if not part.url.startswith("data:"):
            raise TurnRefused(
                "unsupported_content",
                "Images must be data URLs: this worker does not fetch remote images.",
                part.param,
            )
    elif isinstance(part, OtherPart):
        message = f"This worker takes no parts of type {part.kind!r}."
        raise TurnRefused("unsupported_content", message, part.param)


def items(
    messages: tuple[Message, ...],
    alias: Callable[[str], str] = str,
    recall: Recall = lambda _: None,
) -> slices.Steps[tuple[msgspec.Raw, ...]]:
    """A conversation that `check` has let pass as Responses items, each as JSON.

    Args:
        alias: Codex's name of a function.
    """
    found: list[msgspec.Raw] = []
    calls = _CallIds()
    for message in messages:
        yield
        if message.role in ("tool", "function"):
            result = {"type": "function_call_output", "call_id": calls.answered(message)}
            found.append(_raw(result | {"output": (yield from _output(message))}))
        elif message.role == "assistant":
            kept = recall(message)
            sent = [calls.made(call.call_id) for call in message.calls]
            if kept is not None:
                found += map(_shallow, kept)
            else:
                found += yield from _answer(message, sent, alias)
        else:
            parts = yield from _input_parts(message)
            found.append(_raw(_message(ROLES[message.role], parts)))
    return tuple(found)


def batches(
    found: tuple[msgspec.Raw, ...], size: int = BATCH_BYTES
) -> Iterator[tuple[msgspec.Raw, ...]]:
    """Items in pieces of about so many bytes, and at least one of one item at the most."""
    batch: list[msgspec.Raw] = []
    room = size
    for item in found:
        room -= memoryview(item).nbytes
        if batch and room < 0:
            yield tuple(batch)
            batch, room = [], size - memoryview(item).nbytes
        batch.append(item)
    yield tuple(batch)


class _CallIds:
    """The ids of calls as Codex is told them, each once.

    The older form of a call has no id but its function's name, and some clients count anew in
    every answer.
    """

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._count = 0

    def made(self, call_id: str) -> str:
        """The id of a further call."""
        self._count += 1
        self._sent[call_id] = f"{call_id}_{self._count}" if call_id in self._sent else call_id
        return self._sent[call_id]

    def answered(self, message: Message) -> str:
        """The id of the last call that a client knows by the one that its message answers."""
        call_id = answered(message)
        assert call_id is not None
        return self._sent[call_id]


def answered(message: Message) -> str | None:
    """The id of the call that a tool message answers; a legacy one names the function."""
    return message.call_id if message.call_id is not None else message.name


def output(message: Message) -> str | list[Item]:
    """Return the result of a tool, which `check` has let pass: its text, or a list with its
    images."""
    return slices.at_once(_output(message))


def _output(message: Message) -> slices.Steps[str | list[Item]]:
    if any(isinstance(part, ImagePart) for part in message.parts):
        return (yield from _each(_output_part, message))
    return "".join((yield from _each(_text, message)))


def _each(convert: Callable[[Part], T], message: Message) -> slices.Steps[list[T]]:
    found = []
    for part in message.parts:
        found.append(convert(part))
        yield
    return found


def _message(role: str, content: list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _answer(
    message: Message, call_ids: list[str], alias: Callable[[str], str]
) -> slices.Steps[list[msgspec.Raw]]:
    found = []
    for thought in message.reasoning:
        found.append(reasoning.restored(thought))
        yield
    text = "".join((yield from _each(_text, message)))
    if text and message.name is not None:
        text = f"{message.name}: {text}"
    if text:
        found.append(_raw(_message("assistant", [{"type": "output_text", "text": text}])))
    for call_id, call in zip(call_ids, message.calls, strict=True):
        found.append(
            _raw(
                {
                    "type": "function_call",
                    "call_id": call_id,
                    "name": alias(call.name),
                    "arguments": call.arguments,
                }
            )
        )
        yield
    return found


def _output_part(part: Part) -> Item:
    # Codex itself says so of every image of a tool.
    return _input_part(part) | ({"detail": "high"} if isinstance(part, ImagePart) else {})


def _input_parts(message: Message) -> slices.Steps[list[Item]]:
    parts = yield from _each(_input_part, message)
    if message.name is not None:
        # Codex drops `name`; speakers of a group chat must stay apart.
        parts.insert(0, {"type": "input_text", "text": f"{message.name}: "})
    return parts or [{"type": "input_text", "text": ""}]


def _input_part(part: Part) -> Item:
    if isinstance(part, ImagePart):
        return {"type": "input_image", "image_url": part.url}
    return {"type": "input_text", "text": _text(part)}


def _text(part: Part) -> str:
    assert isinstance(part, TextPart | RefusalPart)
    return part.text


def _raw(item: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(item))


def _shallow(item: msgspec.Raw) -> msgspec.Raw:
    """An item that was not made here, if its levels are few: they are not counted again."""
    if parse.is_deeper(item, ITEM_LEVELS):
        message = "An item of the conversation is nested too deeply."
        raise TurnRefused("invalid_request", message)
    return item
