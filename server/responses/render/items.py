"""The output items of a response while they grow, and the events that tell of each change.

An event is the object of the API without its `sequence_number`. Items are told apart by
`output_index`; a message and a reasoning item are whole when something else begins, calls may
grow side by side until then.

An answer may have very many items, and each of them is in several events: the last of its own,
the last of the response, and what is kept. So an item that has ended is encoded once, and what
has ended is never looked at again.
"""

import abc
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from machines import events, parse
from server.responses.render.parts import NAMES, Event, Part

Status = Literal["in_progress", "completed", "incomplete"]
"""The status of an item, and of the response."""

_encode: Final = msgspec.json.encode


class Item(abc.ABC):
    """One output item, such as a message or a call.

    Attributes:
        place: the members that name the item in an event.
        status: as it is now; not every kind of item shows it.
        ended: the item as it ended, encoded; None while something may be added to it.
    """

    def __init__(self, item_id: str, output_index: int) -> None:
        self.place = {"item_id": item_id, "output_index": output_index}
        self.index = output_index
        self.status: Status = "in_progress"
        self.ended: msgspec.Raw | None = None

    def added(self) -> Event:
        """Return the event that begins the item."""
        return self._event("added")

    def done(self, status: Status) -> list[Event]:
        """End the item and return the events of its end."""
        self.status = status
        closing = self._close()
        self.ended = msgspec.Raw(_encode(self._members()))
        return [*closing, self._event("done")]

    def object(self) -> dict[str, Any] | msgspec.Raw:
        """Return the item as it is now."""
        return self._members() if self.ended is None else self.ended

    def kept(self) -> msgspec.Raw:
        """Return the ended item as the store keeps it: it may hold more than its client is
        shown."""
        assert self.ended is not None
        return self.ended

    @abc.abstractmethod
    def _members(self) -> dict[str, Any]:
        """Return the item's members as they are now."""

    @abc.abstractmethod
    def _close(self) -> list[Event]:
        """Return the events of the item's content at its end."""

    def _event(self, name: str) -> Event:
        return {
            "type": f"response.output_item.{name}",
            "output_index": self.index,
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
        self._counts: dict[str, int] = {}

    def part(self, kind: str) -> tuple[Part, list[Event]]:
        """Return the part that text of this kind belongs to, and the events of its beginning."""
        if self.parts and self.parts[-1].kind == kind:
            return self.parts[-1], []
        closing = self._close()
        index = NAMES[kind].index
        count = self._counts.get(index, 0)
        self._counts[index] = count + 1
        self.parts.append(Part(kind, {**self.place, index: count}))
        return self.parts[-1], [*closing, self.parts[-1].added()]

    def _close(self) -> list[Event]:
        """Return the events that end the growing part."""
        return self.parts[-1].done() if self.parts else []


class Message(PartsItem):
    """A message of the model."""

    def _members(self) -> dict[str, Any]:
        return {
            "id": self.place["item_id"],
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [part.object() for part in self.parts],
        }


class Reasoning(PartsItem):
    """A reasoning item: the model's thinking, or a summary of it.

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

    def kept(self) -> msgspec.Raw:
        """Return the item with its encrypted content, which a later request may need."""
        if self._shows_encrypted or not self.encrypted_content:
            return super().kept()
        hidden = {"encrypted_content": self.encrypted_content}
        return msgspec.Raw(_encode(self._members() | hidden))

    def _members(self) -> dict[str, Any]:
        """Return the item's members; the encrypted content is shown to those who asked for it."""
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
        self._pieces: list[str] = []
        self._opening = ""
        self._scan = parse.DepthScan()

    def delta(self, piece: str) -> Event:
        """Add to the arguments and return the event of it."""
        self._pieces.append(piece)
        self._opening = self._opening or piece.lstrip()[:1]
        self._scan.feed(piece.encode("utf-8", "surrogatepass"))
        return {"type": "response.function_call_arguments.delta", **self.place, "delta": piece}

    def is_whole(self) -> bool:
        """Return whether the arguments are an object, and so complete.

        Only brackets and strings are looked at, as they come: what they hold is the model's.
        """
        return self._opening == "{" and self._scan.is_closed

    def _members(self) -> dict[str, Any]:
        return {
            "id": self.place["item_id"],
            "type": "function_call",
            "status": self.status,
            "arguments": self._arguments(),
            "call_id": self._call_id,
            "name": self._name,
        }

    def _arguments(self) -> str:
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _close(self) -> list[Event]:
        """Return the event that repeats the whole arguments."""
        closing = {
            "type": "response.function_call_arguments.done",
            **self.place,
            "arguments": self._arguments(),
            "name": self._name,
        }
        return [closing]


_SPOKEN: Final = ("output_text", "refusal")


class OutputItems:
    """The output items of one response, in order.

    Args:
        response_id: `resp_…`; the ids of its items follow from it.
        shows_encrypted: whether reasoning items show what only their provider can read.

    Attributes:
        refused: whether the model said that it will not answer.
    """

    def __init__(self, response_id: str, shows_encrypted: bool) -> None:
        self._shows_encrypted = shows_encrypted
        self.refused = False
        self._items: list[Item] = []
        self._key = response_id.partition("_")[2]
        self._calls: list[FunctionCall] = []
        self._open: dict[int, Item] = {}
        self._changed: dict[int, FunctionCall] = {}
        self._latest: Message | Reasoning | None = None

    def part(self, kind: str) -> tuple[Part, list[Event]]:
        """Return the part that text of this kind belongs to, and the events of its beginning."""
        item, opening = self._message() if kind in _SPOKEN else self._reasoning(kind)
        self.refused |= kind == "refusal"
        part, begun = item.part(kind)
        return part, [*opening, *begun]

    def add_reasoning(self, text: str, kind: events.ReasoningKind) -> list[Event]:
        """Add text to the reasoning item and return the events of it."""
        part, opening = self.part(f"{'summary' if kind == 'summary' else 'reasoning'}_text")
        return [*opening, part.delta(text)]

    def end_reasoning(self, encrypted_content: str) -> list[Event]:
        """End the reasoning item; without an open one, add one that showed nothing."""
        item, opening = self._reasoning("summary_text")
        item.encrypted_content = encrypted_content
        return [*opening, *self._end([item], "completed")]

    def add_call(self, index: int, call_id: str, name: str, piece: str) -> list[Event]:
        """Begin a call with the arguments that are known; an earlier call ends with it, if it is
        whole."""
        assert index == len(self._calls)
        call = FunctionCall(*self._next("fc"), call_id, name)
        self._calls.append(call)
        opening = self._begin(call)
        return [*opening, *self.add_arguments(index, piece)]

    def add_arguments(self, index: int, piece: str) -> list[Event]:
        """Add to a call's arguments; nothing is added to a call that has ended, which was
        whole."""
        call = self._calls[index]
        if not piece or call.ended is not None:
            return []
        self._changed[call.index] = call
        return [call.delta(piece)]

    def objects(self) -> list[dict[str, Any] | msgspec.Raw]:
        """Return the items as a response shows them."""
        return [item.object() for item in self._items]

    def kept(self) -> tuple[msgspec.Raw, ...]:
        """Return the items as the store keeps them, once nothing will follow."""
        return tuple(item.kept() for item in self._items)

    def finish(self, status: Status) -> list[Event]:
        """End the items that are open with this status; an answer of nothing is an empty
        message."""
        opening: list[Event] = []
        if all(isinstance(item, Reasoning) for item in self._items):
            opening = self.part("output_text")[1]
        return [*opening, *self._end(list(self._open.values()), status)]

    def break_off(self) -> None:
        """End the items that are open as incomplete, without an event."""
        self._end(list(self._open.values()), "incomplete")

    def _message(self) -> tuple[Message, list[Event]]:
        """Return the growing message, and the events of its beginning."""
        if isinstance(self._latest, Message) and self._latest.ended is None:
            return self._latest, []
        item = Message(*self._next("msg"))
        opening = self._begin(item)
        self._latest = item
        return item, opening

    def _reasoning(self, kind: str) -> tuple[Reasoning, list[Event]]:
        """Return the growing reasoning item, and the events of its beginning.

        Args:
            kind: of its first part.
        """
        if isinstance(self._latest, Reasoning) and self._latest.ended is None:
            return self._latest, []
        has_content = kind == "reasoning_text"
        item = Reasoning(*self._next("rs"), has_content, self._shows_encrypted)
        opening = self._begin(item)
        self._latest = item
        return item, opening

    def _begin(self, item: Item) -> list[Event]:
        """Begin an item, and end those that must not be open beside it: not a call that may grow.

        Whether a call is whole changes with its arguments alone, so only those are asked that got
        some since the last item began.
        """
        ending: list[Item] = [call for call in self._changed.values() if call.is_whole()]
        self._changed.clear()
        if self._latest is not None and self._latest.ended is None:
            ending.append(self._latest)
        closing = self._end(sorted(ending, key=lambda each: each.index), "completed")
        self._items.append(item)
        self._open[item.index] = item
        return [*closing, item.added()]

    def _end(self, items: Iterable[Item], status: Status) -> list[Event]:
        closing: list[Event] = []
        for item in items:
            del self._open[item.index]
            closing += item.done(status)
        return closing

    def _next(self, prefix: str) -> tuple[str, int]:
        """Return the id and the index of the next item."""
        index = len(self._items)
        return f"{prefix}_{self._key}{index:04x}", index
