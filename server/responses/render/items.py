"""The output items of a response while they grow, and the events that tell of each change.

An event is the object of the API without its `sequence_number`. Items are told apart by
`output_index`; a message and a reasoning item are whole when something else begins, calls may
grow side by side until then.

An answer may have very many items, and each of them is in several events: the last of its own,
the last of the response, and what is kept. So an item that has ended is encoded once, and what
has ended is never looked at again.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from machines import events, parse, tooloptions
from machines.tools import freetext
from server.responses.render.parts import Event, Part
from server.responses.render.partsitems import Item, Message, Reasoning, Status
from server.responses.render.textmembers import Token, UrlCitation


class FunctionCall(Item):
    """A call of a function.

    Args:
        shape: of the function, as its client knows it.
    """

    def __init__(
        self, item_id: str, output_index: int, call_id: str, shape: tooloptions.ToolShape
    ) -> None:
        super().__init__(item_id, output_index)
        self._call_id = call_id
        self._shape = shape
        self._pieces: list[str] = []
        self._opening = ""
        self._scan = parse.DepthScan()

    def delta(self, piece: str) -> list[Event]:
        """Add to the arguments and return the events of it."""
        self._pieces.append(piece)
        self._watch(piece)
        return [{"type": "response.function_call_arguments.delta", **self.place, "delta": piece}]

    def is_whole(self) -> bool:
        """Return whether the arguments are an object, and so complete.

        Only brackets and strings are looked at, as they come: what they hold is the model's.
        """
        return self._opening == "{" and self._scan.is_closed

    def _watch(self, piece: str) -> None:
        """Look in a piece of the arguments for their end."""
        self._opening = self._opening or piece.lstrip()[:1]
        self._scan.feed(piece.encode("utf-8", "surrogatepass"))

    def _members(self) -> dict[str, Any]:
        return {
            "id": self.place["item_id"],
            "type": "function_call",
            "status": self.status,
            "arguments": self._arguments(),
            "call_id": self._call_id,
            **self._named(),
        }

    def _named(self) -> dict[str, str]:
        """Return the members that say what is called."""
        name = {"name": self._shape.name}
        namespace = self._shape.namespace
        return name if namespace is None else name | {"namespace": namespace}

    def _arguments(self) -> str:
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _close(self) -> list[Event]:
        """Return the event that repeats the whole arguments."""
        closing = {
            "type": "response.function_call_arguments.done",
            **self.place,
            "arguments": self._arguments(),
            "name": self._shape.name,
        }
        return [closing]


class CustomCall(FunctionCall):
    """A call of a tool that takes a text, which is all that comes of it."""

    def delta(self, piece: str) -> list[Event]:
        """Add to the input and return the events of it."""
        self._pieces.append(piece)
        return [{"type": "response.custom_tool_call_input.delta", **self.place, "delta": piece}]

    def is_whole(self) -> bool:
        """Return False: nothing in a text says that it is over."""
        return False

    def _members(self) -> dict[str, Any]:
        return {
            "id": self.place["item_id"],
            "type": "custom_tool_call",
            "status": self.status,
            "call_id": self._call_id,
            **self._named(),
            "input": self._arguments(),
        }

    def _close(self) -> list[Event]:
        """Return the event that repeats the whole input."""
        text = self._arguments()
        return [{"type": "response.custom_tool_call_input.done", **self.place, "input": text}]


class CustomCallByFunction(CustomCall):
    """A call of a function that stands for a tool that takes a text."""

    def __init__(
        self, item_id: str, output_index: int, call_id: str, shape: tooloptions.ToolShape
    ) -> None:
        super().__init__(item_id, output_index, call_id, shape)
        self._text = freetext.FreeText()

    def delta(self, piece: str) -> list[Event]:
        """Add to the function's arguments and return the events of the text in them."""
        self._watch(piece)
        text = self._text.feed(piece)
        return super().delta(text) if text else []

    def is_whole(self) -> bool:
        """Return whether the function's arguments are an object, and so complete."""
        return FunctionCall.is_whole(self)

    def _close(self) -> list[Event]:
        """Return the events of what was held of the text, and of its end."""
        rest = self._text.end()
        return [*(super().delta(rest) if rest else ()), *super()._close()]


_CALLS: Final[dict[tuple[events.CallKind, events.CallKind], tuple[type[FunctionCall], str]]] = {
    ("function", "function"): (FunctionCall, "fc"),
    ("function", "custom"): (CustomCall, "ctc"),
    ("custom", "function"): (CustomCallByFunction, "ctc"),
    ("custom", "custom"): (CustomCall, "ctc"),
}
"""The item of a call, and how its id begins: by the kind of the tool that its client declared, and
by that of the call that the worker made."""

NO_SHAPES: Final[Mapping[str, tooloptions.ToolShape]] = {}
"""The shapes where every tool is a function that its client declared."""

_SPOKEN: Final = ("output_text", "refusal")


class OutputItems:
    """The output items of one response, in order.

    Args:
        response_id: `resp_…`; the ids of its items follow from it.
        shows_encrypted: whether reasoning items show what only their provider can read.
        empty_message: when an answer without a message ends with an empty one.
        shapes: of tools, as their clients know them, by the names that the model calls.
    """

    def __init__(
        self,
        response_id: str,
        shows_encrypted: bool,
        empty_message: events.EmptyMessage,
        shapes: Mapping[str, tooloptions.ToolShape] = NO_SHAPES,
    ) -> None:
        self._shows_encrypted = shows_encrypted
        self._empty_message = empty_message
        self._shapes = shapes
        self._has_refusal = False
        self._items: list[Item] = []
        self._key = response_id.partition("_")[2]
        self._calls: list[FunctionCall] = []
        self._open: dict[int, Item] = {}
        self._changed: dict[int, FunctionCall] = {}
        self._latest: Message | Reasoning | None = None
        self._citations: list[UrlCitation] = []

    @property
    def refused(self) -> bool:
        """Whether the model said that it will not answer, and asked for nothing beside it."""
        return self._has_refusal and not self._calls

    def part(self, kind: str) -> tuple[Part, list[Event]]:
        """Return the part that text of this kind belongs to, and the events of its beginning."""
        item, opening = self._message() if kind in _SPOKEN else self._reasoning(kind)
        self._has_refusal |= kind == "refusal"
        part, begun = item.part(kind)
        if self._citations and kind == "output_text":
            begun = [*begun, *map(part.cite, self._citations)]
            self._citations.clear()
        return part, [*opening, *begun]

    def cite(self, citations: list[UrlCitation]) -> list[Event]:
        """Add citations to the growing text and return the events of them; without one they wait
        for the next."""
        part = self._growing_text()
        if part is not None:
            return [part.cite(each) for each in citations]
        self._citations += citations
        return []

    def add_reasoning(self, text: str, kind: events.ReasoningKind) -> list[Event]:
        """Add text to the reasoning item and return the events of it."""
        part, opening = self.part(f"{'summary' if kind == 'summary' else 'reasoning'}_text")
        return [*opening, part.delta(text)]

    def begin_message(self, phase: events.Phase | None) -> list[Event]:
        """Begin a message of the provider's own; the one before it ends."""
        item = Message(*self._next("msg"))
        item.phase = phase
        return self._begin_latest(item)

    def end_message(self, phase: events.Phase | None) -> list[Event]:
        """Take the end of the growing message, where there is one; without a text it has an empty
        one. Whether it was cut is known by what follows: another item, or the end of the answer.
        """
        item = self._latest
        if not isinstance(item, Message):
            return []
        item.phase = phase or item.phase
        return [] if item.parts else item.part("output_text")[1]

    def end_reasoning_part(self) -> list[Event]:
        """End the growing part of the reasoning item, where there is one."""
        item = self._latest
        return item.end_part() if isinstance(item, Reasoning) else []

    def end_reasoning(self, encrypted_content: str) -> list[Event]:
        """End the reasoning item; without an open one, add one that showed nothing."""
        item, opening = self._reasoning("summary_text")
        item.encrypted_content = encrypted_content
        return [*opening, *self._end([item], "completed")]

    def add_tokens(self, tokens: list[Token]) -> list[Event]:
        """Add tokens of no text of their own to the growing text, if there is one, and return the
        event of it."""
        part = self._growing_text()
        return [] if part is None or not tokens else [part.delta("", tokens)]

    def _growing_text(self) -> Part | None:
        """The part of the growing message that text was added to last; None without one."""
        parts = self._latest.parts[-1:] if isinstance(self._latest, Message) else []
        return next((part for part in parts if part.kind == "output_text"), None)

    def add_call(
        self,
        index: int,
        call_id: str,
        name: str,
        piece: str,
        kind: events.CallKind = "function",
    ) -> list[Event]:
        """Begin a call with the arguments that are known; an earlier call ends with it, if it is
        whole."""
        assert index == len(self._calls)
        shape = self._shapes.get(name) or tooloptions.ToolShape(name)
        item, prefix = _CALLS[shape.kind, kind]
        call = item(*self._next(prefix), call_id, shape)
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
        return call.delta(piece)

    def objects(self) -> list[dict[str, Any] | msgspec.Raw]:
        """Return the items as a response shows them."""
        return [item.object() for item in self._items]

    def kept(self) -> tuple[msgspec.Raw, ...]:
        """Return the items as the store keeps them, once nothing will follow."""
        return tuple(item.kept() for item in self._items)

    def finish(self, status: Status) -> list[Event]:
        """End the items that are open with this status. An answer without a message may end with
        an empty one."""
        opening: list[Event] = []
        may_be_added = self._empty_message == "always" or (
            self._empty_message == "completed" and status == "completed"
        )
        if may_be_added and all(isinstance(item, Reasoning) for item in self._items):
            opening = self.part("output_text")[1]
        return [*opening, *self._end(list(self._open.values()), status)]

    def break_off(self) -> None:
        """End the items that are open as incomplete, without an event."""
        self._end(list(self._open.values()), "incomplete")

    def _message(self) -> tuple[Message, list[Event]]:
        """Return the growing message, and the events of its beginning."""
        if isinstance(self._latest, Message):
            return self._latest, []
        item = Message(*self._next("msg"))
        return item, self._begin_latest(item)

    def _reasoning(self, kind: str) -> tuple[Reasoning, list[Event]]:
        """Return the growing reasoning item, and the events of its beginning.

        Args:
            kind: of its first part.
        """
        if isinstance(self._latest, Reasoning):
            return self._latest, []
        has_content = kind == "reasoning_text"
        item = Reasoning(*self._next("rs"), has_content, self._shows_encrypted)
        return item, self._begin_latest(item)

    def _begin_latest(self, item: Message | Reasoning) -> list[Event]:
        """Begin the item that grows from now on, until it ends."""
        opening = self._begin(item)
        self._latest = item
        return opening

    def _begin(self, item: Item) -> list[Event]:
        """Begin an item, and end those that must not be open beside it: not a call that may grow.

        Whether a call is whole changes with its arguments alone, so only those are asked that got
        some since the last item began.
        """
        ending: list[Item] = [call for call in self._changed.values() if call.is_whole()]
        self._changed.clear()
        if self._latest is not None:
            ending.append(self._latest)
        closing = self._end(sorted(ending, key=lambda each: each.index), "completed")
        self._items.append(item)
        self._open[item.index] = item
        return [*closing, item.added()]

    def _end(self, items: Iterable[Item], status: Status) -> list[Event]:
        closing: list[Event] = []
        for item in items:
            del self._open[item.index]
            if item is self._latest:
                self._latest = None
            closing += item.done(status)
        return closing

    def _next(self, prefix: str) -> tuple[str, int]:
        """Return the id and the index of the next item."""
        index = len(self._items)
        return f"{prefix}_{self._key}{index:04x}", index
