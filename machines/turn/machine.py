"""A turn and its thread together: what happens to the one is told to the other.

Theory of operation. `TurnOnThread` holds a state of each, which `machines.turn.turn` and
`machines.turn.thread` declare, and does what two tables cannot say: an answer that ends leaves its
thread to be released, to be interrupted or to wait. `take_turn_event` and `take_thread_event` are
its only mutators. It knows no process, no clock and no text.

One thread has several turns where a call is demanded or results are brought. The event log keeps
every change of either state; it cannot compute them again, since what the app-server said is not
in it, but it checks that each was legal (`legal`).
"""

from typing import Final, Literal

import msgspec

from machines import table
from machines.turn import thread, turn

Machine = Literal["turn", "thread"]
"""Which of the two changed its state."""

_TABLES: Final[dict[str, table.Table]] = {"turn": turn.TABLE, "thread": thread.TABLE}


class Change(msgspec.Struct, frozen=True):
    """A change of state.

    Attributes:
        trigger: the event that led from the one state to the other.
    """

    machine: Machine
    trigger: str
    before: str
    after: str


class Step(msgspec.Struct, frozen=True):
    """What followed from one event: the changes of state, and what to do about them."""

    changes: tuple[Change, ...]
    actions: tuple[thread.Action, ...] = ()


_FOLLOWS: Final = {
    turn.Event.COMPLETED: thread.Event.TURN_OVER,
    turn.Event.REFUSED: thread.Event.TURN_OVER,
    turn.Event.DEMANDS_SPENT: thread.Event.TURN_OVER,
    turn.Event.OVERDUE: thread.Event.GIVEN_UP,
    turn.Event.STOPPED: thread.Event.GIVEN_UP,
    turn.Event.CANCEL: thread.Event.GIVEN_UP,
    turn.Event.LOST: thread.Event.PROCESS_LOST,
}
"""What an event of the turn means to its thread; a step with calls may mean either of two."""


class TurnOnThread:
    """The states of a thread, and of the turn that runs on it.

    Attributes:
        heard: whether the client was told anything of the thread. Then nothing is tried again.
    """

    def __init__(self) -> None:
        self.turn = turn.TABLE.initial
        self.thread = thread.TABLE.initial
        self.heard = False

    @property
    def ended(self) -> bool:
        """Whether nothing that Codex still says about the turn counts."""
        return self.turn in turn.ENDED

    def take_turn_event(self, event: turn.Event, answerable: bool = True) -> Step:
        """Take what happened to the turn.

        Args:
            answerable: whether a client may bring the results of the calls of `STEP_CALLED`.

        Raises:
            IllegalEvent: the event does not belong in the turn's state; nothing is changed.
        """
        before, self.turn = self.turn, turn.TABLE.next(self.turn, event)
        self.heard |= event is turn.Event.SPOKE
        changes = _change("turn", event, before, self.turn)
        follows = _FOLLOWS.get(event)
        if event is turn.Event.STEP_CALLED:
            called, stop = thread.Event.STEP_CALLED, thread.Event.STEP_UNANSWERABLE
            follows = called if answerable else stop
        if follows is None or self.thread in thread.UNWANTED:
            return Step(changes)
        then = self.take_thread_event(follows)
        return Step(changes + then.changes, then.actions)

    def take_thread_event(self, event: thread.Event) -> Step:
        """Take what happened to the thread.

        Raises:
            IllegalEvent: the event does not belong in the thread's state, which is kept.
        """
        before, self.thread = self.thread, thread.TABLE.next(self.thread, event)
        if event is thread.Event.RESUMED:
            self.turn, self.heard = turn.TABLE.initial, False  # the answer to another client
        changes = _change("thread", event, before, self.thread)
        return Step(changes, thread.actions(self.thread, event))


def legal(change: Change) -> bool:
    """Whether a change of state is one that the declared machine has."""
    transitions = _TABLES[change.machine].transitions
    return transitions.get((change.before, change.trigger)) == change.after


def _change(machine: Machine, trigger: str, before: str, after: str) -> tuple[Change, ...]:
    return () if before == after else (Change(machine, trigger, before, after),)
