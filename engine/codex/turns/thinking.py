"""The thinking of one turn: reasoning items, their parts, and what commentary is told as.

Chat Completions has one text of thinking, in which a blank line stands between several. Where each
item is told by itself, the ends of items and the starts of parts are events.
"""

from collections.abc import Callable

from engine import worker
from engine.codex.protocol import notifications
from engine.codex.request import history
from machines import events


class Thinking:
    """Tells the thinking of one turn.

    Args:
        spoke: called before the first piece of each part.
        separate_items: whether each item is told by itself; see `worker.Turn`.

    Attributes:
        feed: takes the events; `worker.SILENCE` once nobody listens.
        thoughts: the items that the client can repeat: those that only the provider reads whole.
    """

    def __init__(
        self, feed: worker.Feed, choice: int, spoke: Callable[[], None], separate_items: bool
    ) -> None:
        self.feed = feed
        self._choice = choice
        self._spoke = spoke
        self._separate_items = separate_items
        self._part = ""
        self.thoughts: list[history.Thought] = []

    def delta(self, part: str, delta: str, kind: events.ReasoningKind = "summary") -> None:
        """Take a piece of reasoning or commentary; `part` tells pieces of several texts apart."""
        if part != self._part:
            if self._part and self._separate_items:
                self.feed.event(events.ReasoningPartStarted(self._choice))
            elif self._part:
                delta = worker.PARAGRAPH + delta
            self._part = part
            self._spoke()
        told = kind if self._separate_items else "summary"
        self.feed.event(events.ReasoningDelta(delta, self._choice, told))

    def completed(self, item: notifications.Item) -> None:
        """Take a reasoning item that is complete; tell a summary that came without deltas."""
        if self._separate_items and not self._part:
            for index, text in enumerate(item.summary):
                self.delta(f"{item.id}/summary/{index}", text)

    def end(self, thought: history.Thought) -> None:
        """End the item; nothing of it is carried where only its words are known."""
        self._part = ""
        if thought.carried:
            self.thoughts.append(thought)
        self.feed.event(events.ReasoningCompleted(thought.carried, self._choice))
