"""The output items of a response while they grow, and the events that tell of each change.

An event is the object of the API without its `sequence_number`. Items are told apart by
`output_index`; a message and a reasoning item are whole when something else begins, calls may
grow side by side until then.
"""

import abc
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from machines import events
from server.responses.parts import NAMES, Event, Part

Status = Literal["in_progress", "completed", "incomplete"]
"""Of an item, and of the response."""


class Item(abc.ABC):
    """One output item.

    Attributes:
        place: the members that name the item in an event.
        status: as it is now; not every kind of item shows it.
        over: whether nothing will be added to it.
    """

    def __init__(self, item_id: str, output_index: int) -> None:
        self.place = {"item_id": item_id, "output_index": output_index}
        self.status: Status = "in_progress"
        self.over = False

    def added(self) -> Event:
        """Tells that the item begins."""
        return self._event("added")

    def done(self, status: Status) -> list[Event]:
        """Ends the item, and tells so."""
        self.status = status
        self.over = True
        return [*self._last(), self._event("done")]

    @abc.abstractmethod
    def object(self) -> dict[str, Any]:
        """The item as it is now."""

    @abc.abstractmethod
    def _last(self) -> list[Event]:
        """Tells of what the item holds, at its end."""

    def _event(self, name: str) -> Event:
        return {
            "type": f"response.output_item.{name}",
            "output_index": self.place["output_index"],
            "item": self.object(),
        }


class PartsItem(Item):
    """An item made of parts: a message, or reasoning.

    Attributes:
        parts: the last of them grows.
    """

    def __init__(self, item_id: str, output_index: int) -> None:
        super().__init__(item_id, output_index)
        self.parts: list[Part] = []

    def part(self, kind: str) -> tuple[Part, list[Event]]:
        """The part that text of this kind belongs to, and what its beginning tells."""
        if self.parts and self.parts[-1].kind == kind:
            return self.parts[-1], []
        told = self._last()
        index = NAMES[kind].index
        count = sum(NAMES[part.kind].index == index for part in self.parts)
        self.parts.append(Part(kind, {**self.place, index: count}))
        return self.parts[-1], [*told, self.parts[-1].added()]

    def _last(self) -> list[Event]:
        """Tells what the part that grows was."""
        return self.parts[-1].done() if self.parts else []


class Message(PartsItem):
    """What the model says."""

    def object(self) -> dict[str, Any]:
        """The item as it is now."""
        return {
            "id": self.place["item_id"],
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [part.object() for part in self.parts],
        }


class Reasoning(PartsItem):
    """What the model thinks.

    Attributes:
        encrypted_content: empty until it is known, and where there is none.
    """

    encrypted_content = ""

    def __init__(
        self, item_id: str, output_index: int, has_content: bool, shows_encrypted: bool
    ) -> None:
        super().__init__(item_id, output_index)
        self._has_content = has_content
        self._shows_encrypted = shows_encrypted

    def object(self) -> dict[str, Any]:
        """The item as it is now; what is encrypted is shown to those who asked for it."""
        found: dict[str, Any] = {
            "id": self.place["item_id"],
            "type": "reasoning",
            "summary": [part.object() for part in self.parts if part.kind == "summary_text"],
        }
        texts = [part.object() for part in self.parts if part.kind == "reasoning_text"]
        if texts or self._has_content:
            found["content"] = texts
        if self._shows_encrypted:
            found["encrypted_content"] = self.encrypted_content or None
        return found


class FunctionCall(Item):
    """A call of a function."""

    def __init__(self, item_id: str, output_index: int, call_id: str, name: str) -> None:
        super().__init__(item_id, output_index)
        self._call_id = call_id
        self._name = name
        self._arguments: list[str] = []

    @property
    def whole(self) -> bool:
        """Whether the arguments are an object, and so all there is."""
        try:
            return isinstance(msgspec.json.decode("".join(self._arguments)), dict)
        except (msgspec.DecodeError, RecursionError):
            return False

    def delta(self, arguments: str) -> Event:
        """Adds to the arguments, and tells so."""
        self._arguments.append(arguments)
        return {
            "type": "response.function_call_arguments.delta",
            **self.place,
            "delta": arguments,
        }

    def object(self) -> dict[str, Any]:
        """The item as it is now."""
        return {
            "id": self.place["item_id"],
            "type": "function_call",
            "status": self.status,
            "arguments": "".join(self._arguments),
            "call_id": self._call_id,
            "name": self._name,
        }

    def _last(self) -> list[Event]:
        """Tells what the arguments were."""
        told = {
            "type": "response.function_call_arguments.done",
            **self.place,
            "arguments": "".join(self._arguments),
            "name": self._name,
        }
        return [told]


_SAID: Final = ("output_text", "refusal")


class OutputItems:
    """The items of one response.

    Args:
        response_id: `resp_…`; the ids of its items follow from it.
        shows_encrypted: whether reasoning items show what only their provider can read.
    """

    def __init__(self, response_id: str, shows_encrypted: bool) -> None:
        self._shows_encrypted = shows_encrypted
        self.items: list[Item] = []
        self._key = response_id.partition("_")[2]
        self._calls: list[FunctionCall] = []

    def part(self, kind: str) -> tuple[Part, list[Event]]:
        """The part that text of this kind belongs to, and what its beginning tells."""
        item, told = self._message() if kind in _SAID else self._reasoning(kind)
        part, opening = item.part(kind)
        return part, [*told, *opening]

    def thought(self, text: str, kind: events.ReasoningKind) -> list[Event]:
        """Text of a reasoning item."""
        part, told = self.part(f"{'summary' if kind == 'summary' else 'reasoning'}_text")
        return [*told, part.delta(text)]

    def thought_done(self, encrypted_content: str) -> list[Event]:
        """The end of a reasoning item; without one that is open, of one that showed nothing."""
        item, told = self._reasoning("summary_text")
        item.encrypted_content = encrypted_content
        return [*told, *item.done("completed")]

    def called(self, index: int, call_id: str, name: str, arguments: str) -> list[Event]:
        """A call begins: an earlier one ends with it, if it is whole."""
        assert index == len(self._calls)
        call = FunctionCall(*self._next("fc"), call_id, name)
        self._calls.append(call)
        told = self._begin(call)
        return [*told, call.delta(arguments)] if arguments else told

    def argued(self, index: int, arguments: str) -> list[Event]:
        """More of a call's arguments; nothing is added to one that has ended: it was whole."""
        call = self._calls[index]
        return [call.delta(arguments)] if arguments and not call.over else []

    @property
    def refused(self) -> bool:
        """Whether the model said that it will not answer."""
        return any(
            part.kind == "refusal"
            for item in self.items
            if isinstance(item, Message)
            for part in item.parts
        )

    def objects(self) -> list[dict[str, Any]]:
        """The items as a response shows them."""
        return [item.object() for item in self.items]

    def kept(self) -> list[dict[str, Any]]:
        """The items as they are kept: with what is encrypted, which a later request may need."""
        return [
            {**item.object(), "encrypted_content": item.encrypted_content}
            if isinstance(item, Reasoning) and item.encrypted_content
            else item.object()
            for item in self.items
        ]

    def finish(self, status: Status) -> list[Event]:
        """Nothing will follow: what is open ends so. An answer of nothing is an empty message."""
        told: list[Event] = []
        if not any(isinstance(item, Message | FunctionCall) for item in self.items):
            told = self.part("output_text")[1]
        return [*told, *self._end(self.items, status)]

    def break_off(self) -> None:
        """Nothing will follow, and no event tells so: what is open is incomplete."""
        self._end(self.items, "incomplete")

    def _message(self) -> tuple[Message, list[Event]]:
        """The message that grows, and what its beginning tells."""
        last = self.items[-1] if self.items else None
        if isinstance(last, Message) and not last.over:
            return last, []
        item = Message(*self._next("msg"))
        return item, self._begin(item)

    def _reasoning(self, kind: str) -> tuple[Reasoning, list[Event]]:
        """The reasoning item that grows, and what its beginning tells.

        Args:
            kind: of its first part.
        """
        last = self.items[-1] if self.items else None
        if isinstance(last, Reasoning) and not last.over:
            return last, []
        item = Reasoning(*self._next("rs"), kind == "reasoning_text", self._shows_encrypted)
        return item, self._begin(item)

    def _begin(self, item: Item) -> list[Event]:
        """Begins an item, and ends what must not be open beside it: not a call that may grow."""
        told = self._end(each for each in self.items if not _may_grow(each))
        self.items.append(item)
        return [*told, item.added()]

    def _end(self, items: Iterable[Item], status: Status = "completed") -> list[Event]:
        return [told for item in items if not item.over for told in item.done(status)]

    def _next(self, prefix: str) -> tuple[str, int]:
        """Id and index of the next item."""
        index = len(self.items)
        return f"{prefix}_{self._key}{index:04x}", index


def _may_grow(item: Item) -> bool:
    """Whether more of it may come, whatever begins beside it."""
    return not item.over and isinstance(item, FunctionCall) and not item.whole
