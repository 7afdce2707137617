"""An output item while it grows: what every one has, and those made of parts.

A message and a reasoning item are texts of one or several kinds, each a part of the item. Calls,
which are not, are in `server.responses.render.items`.
"""

import abc
from typing import Any, Final, Literal

import msgspec

from machines import events
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
        if self.parts and self.parts[-1].kind == kind and not self.parts[-1].has_ended:
            return self.parts[-1], []
        closing = self._close()
        index = NAMES[kind].index
        count = self._counts.get(index, 0)
        self._counts[index] = count + 1
        self.parts.append(Part(kind, {**self.place, index: count}))
        return self.parts[-1], [*closing, self.parts[-1].added()]

    def end_part(self) -> list[Event]:
        """End the growing part, where there is one, and return the events of its end."""
        return self._close()

    def _close(self) -> list[Event]:
        """Return the events that end the growing part."""
        return self.parts[-1].done() if self.parts and not self.parts[-1].has_ended else []


class Message(PartsItem):
    """A message of the model.

    Attributes:
        phase: whether it is commentary or the final answer, where its provider says so.
    """

    phase: events.Phase | None = None

    def _members(self) -> dict[str, Any]:
        found = {
            "id": self.place["item_id"],
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [part.object() for part in self.parts],
        }
        return found if self.phase is None else found | {"phase": self.phase}


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
