"""The thinking of a turn is one text with blank lines, or items and parts by themselves."""

import pytest

from engine import worker
from engine.codex.protocol import notifications
from engine.codex.request.history import Thought
from engine.codex.turns import thinking
from machines import events
from machines.events import ReasoningCompleted, ReasoningDelta, ReasoningPartStarted

WHOLE = notifications.Item("reasoning", "r9", summary=("x", "y"))


class Stage:
    """Thinking, what it told, and how often it spoke."""

    def __init__(self, separate_items: bool) -> None:
        self.events: list[events.StreamInput] = []
        self.spoke = 0
        self.thinking = thinking.Thinking(self, 0, self._spoke, separate_items)

    def event(self, event: events.StreamInput) -> None:
        self.events.append(event)

    def _spoke(self) -> None:
        self.spoke += 1


def tell(stage: Stage) -> None:
    """Two parts of an item, the end of it, and an item without deltas."""
    its = stage.thinking
    its.delta("r1/summary/0", "a")
    its.delta("r1/summary/0", "b")
    its.delta("r1/text/0", "c", "text")
    its.completed(WHOLE)
    its.end(Thought(0, "sealed", ("ab",)))
    its.end(Thought(1, ""))
    its.completed(WHOLE)


def test_texts_are_joined_by_a_blank_line() -> None:
    stage = Stage(separate_items=False)
    tell(stage)
    assert stage.events == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningDelta("\n\nc"),
        ReasoningCompleted("sealed"),
        ReasoningCompleted(""),
    ]
    assert stage.spoke == 2
    assert stage.thinking.thoughts == [Thought(0, "sealed", ("ab",))]


def test_items_and_parts_are_told_apart() -> None:
    stage = Stage(separate_items=True)
    tell(stage)
    assert stage.events == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningPartStarted(),
        ReasoningDelta("c", kind="text"),
        ReasoningCompleted("sealed"),
        ReasoningCompleted(""),
        ReasoningDelta("x"),
        ReasoningPartStarted(),
        ReasoningDelta("y"),
    ]
    assert stage.spoke == 4


@pytest.mark.parametrize("separate_items", [True, False])
def test_nobody_is_told_once_nobody_listens(separate_items: bool) -> None:
    stage = Stage(separate_items)
    stage.thinking.feed = worker.SILENCE
    tell(stage)
    assert stage.events == []
