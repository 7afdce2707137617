"""The messages of one turn: which are open, what they are, and how much of each has gone out.

Codex names an item when it begins, with each piece and when it ends. Some providers give each
event an id of its own, so what ends is known by what is open.
"""

from typing import Final

from engine import runningtext, worker
from engine.codex.protocol import notifications
from machines import events

COMMENTARY: Final = "commentary"
"""The phase of agent messages that belong to the thinking, not to the answer."""

PLAIN: Final = frozenset({"agentMessage", "dynamicToolCall", "reasoning", "userMessage"})
"""Items that leave nothing on a thread but what a client is told of, or has itself sent."""

PHASES: Final[dict[str | None, events.Phase]] = {
    COMMENTARY: "commentary",
    "final_answer": "final_answer",
}
"""The API's name of each of Codex's phases; it has none for `partial_answer`."""


class Messages:
    """Follows the messages of one turn.

    Args:
        separate: whether the client is told of each by itself, commentary too.
    """

    def __init__(self, separate: bool = False) -> None:
        self._separate = separate
        self._open: list[str] = []
        self._whole: list[tuple[str, str]] = []
        self._phases: dict[str, str | None] = {}
        self._texts: dict[str, runningtext.RunningText] = {}

    @property
    def any_mute(self) -> bool:
        """Whether a message has begun that never ended and said nothing."""
        return any(item_id not in self._texts for item_id in self._open)

    @property
    def whole(self) -> int:
        """How many are whole, and have a text."""
        return len(self._whole)

    @property
    def told(self) -> tuple[tuple[str, events.Phase | None], ...]:
        """Texts and phases of all of them as a client repeats them; none where they are not
        known."""
        if self._open or not self._texts.keys() <= {item_id for item_id, _ in self._whole}:
            return ()
        if self._separate:
            return tuple((text, self.phase(item_id)) for item_id, text in self._whole)
        texts = [text for item_id, text in self._whole if not self.is_commentary(item_id)]
        return ((worker.PARAGRAPH.join(texts), None),) if texts else ()

    def begin(self, item: notifications.Item) -> None:
        """Take the start of a message."""
        self._open.append(item.id)
        self._phases[item.id] = item.phase

    def end(self, item: notifications.Item) -> str:
        """Take the end of a message, and return the id under which it has begun."""
        began_as = item.id
        if self._open:
            began_as = item.id if item.id in self._open else self._open[-1]
            self._open.remove(began_as)
        if item.phase is not None:
            self._phases[began_as] = item.phase
        if item.text:
            self._whole.append((began_as, item.text))
        return began_as

    def is_commentary(self, item_id: str) -> bool:
        """Return whether a message belongs to the thinking."""
        return self._phases.get(item_id) == COMMENTARY

    def phase(self, item_id: str) -> events.Phase | None:
        """Return the phase of a message as the API names it."""
        return PHASES.get(self._phases.get(item_id))

    def text_of(self, item_id: str) -> runningtext.RunningText:
        """Return what went out of a message so far."""
        return self._texts.setdefault(item_id, runningtext.RunningText())
