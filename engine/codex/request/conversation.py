"""A conversation as the items `thread/inject_items` takes, in order, with nothing lost.

Codex drops what it does not know without a word (`docs/codex.md`): role `system`, `name`, results
without their call. So each of these is turned into what it keeps, or refused by name.

These are two steps. `check` refuses, before the stream opens, and makes nothing: a turn that is
resumed sends no conversation. `items` converts what `check` has let pass, and refuses nothing.
"""

import hashlib
import itertools
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from engine import slices
from engine.codex.request import reasoning
from engine.worker import (
    Call,
    ImagePart,
    Message,
    OtherPart,
    Part,
    RefusalPart,
    Role,
    TextPart,
    TurnRefused,
)
from machines import events, parse

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

CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""The ids of calls that the API takes. Source: its answer to a longer one."""

STEM_CHARACTERS: Final = 48
"""Characters that are kept of an id whose rest is replaced."""

Item = dict[str, Any]
T = TypeVar("T")

PHASES: Final = frozenset(typing.get_args(events.Phase))
"""The phases of a message that Codex takes; a word that it does not know fails the request."""

Recall = Callable[[tuple[Message, ...]], tuple[msgspec.Raw, ...] | None]
"""Finds the model's own items behind the messages of one step; None where they are not kept."""


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
    for run in _runs(messages):
        yield
        message = run[0]
        if message.role in ("tool", "function"):
            result = {"type": "function_call_output", "call_id": calls.answered(message)}
            found.append(_raw(result | {"output": (yield from _output(message))}))
        elif message.role == "assistant":
            found += yield from _answers(run, calls, alias, recall)
        else:
            parts = yield from _input_parts(message)
            found.append(_raw(_message(ROLES[message.role], parts)))
    return tuple(found)


def _runs(messages: tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """Yield the messages one by one, but those that the assistant said in a row together."""
    for answers, group in itertools.groupby(messages, lambda each: each.role == "assistant"):
        if answers:
            yield tuple(group)
        else:
            yield from ((message,) for message in group)


def _answers(
    run: tuple[Message, ...], calls: "_CallIds", alias: Callable[[str], str], recall: Recall
) -> slices.Steps[list[msgspec.Raw]]:
    """Return the items of what the assistant said in a row: one step of the model, or several."""
    found: list[msgspec.Raw] = []
    whole = recall(run) if calls.are_free(run) else None
    for steps in (run,) if whole is not None else ((message,) for message in run):
        yield
        kept = whole if whole is not None or len(run) == 1 else recall(steps)
        if kept is not None and calls.are_free(steps):
            for message in steps:
                calls.keep(message.calls)
            found += map(_shallow, kept)
            continue
        sent = []
        for call in steps[0].calls:
            yield
            sent.append(calls.made(call.call_id))
        found += yield from _answer(steps[0], sent, alias)
    return found


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
    """The ids of calls as Codex is told them, each once, and as the API takes them.

    The older form of a call has no id but its function's name, some clients count anew in every
    answer, and ids that another provider has made may be of any length.
    """

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._taken: set[str] = set()
        self._repeats: dict[str, int] = {}

    def made(self, call_id: str) -> str:
        """The id of a further call. The same call has the same one in every request."""
        sent = call_id if CALL_ID.fullmatch(call_id) else _short(call_id)
        stem = sent[:STEM_CHARACTERS]
        # The count of a stem goes on, for all ids that begin with it: no search from the start.
        while sent in self._taken:
            again = self._repeats[stem] = self._repeats.get(stem, 1) + 1
            sent = f"{stem}_{again}"
        self._taken.add(sent)
        self._sent[call_id] = sent
        return sent

    def are_free(self, step: tuple[Message, ...]) -> bool:
        """Whether a step's own items can be sent. A provider that counts anew in each answer gives
        an id twice, and one of the two calls may be under it already."""
        ids = (call.call_id for message in step for call in message.calls)
        return self._taken.isdisjoint(ids)

    def keep(self, calls: tuple[Call, ...]) -> None:
        """Take note of calls whose own items are sent, under the ids that the provider gave."""
        for call in calls:
            self._sent[call.call_id] = call.call_id
            self._taken.add(call.call_id)

    def answered(self, message: Message) -> str:
        """The id of the last call that a client knows by the one that its message answers."""
        call_id = answered(message)
        assert call_id is not None
        return self._sent[call_id]


def _short(call_id: str) -> str:
    """An id that the API takes in place of one that it does not."""
    stem = re.sub(r"[^a-zA-Z0-9]+", "_", call_id[:STEM_CHARACTERS]).strip("_") or "call"
    digest = hashlib.blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{stem[:STEM_CHARACTERS]}_{digest}"


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
        said = _message("assistant", [{"type": "output_text", "text": text}])
        found.append(_raw(said | {"phase": message.phase} if message.phase in PHASES else said))
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
