"""A turn and its thread together: what happens to the one is told to the other.

Theory of operation. `TurnOnThread` holds a state of each, which `machines.turn.turn` and
`machines.turn.thread` declare, and does what two tables cannot say: an answer that ends leaves its
thread to be released, to be interrupted, to wait or to be idle. `take_turn_event` and
`take_thread_event` are its only mutators. It knows no process, no clock and no text.

One thread has several turns where a call is demanded, results are brought, or a later request goes
on with it. The event log keeps
every change of either state; it cannot compute them again, since what the app-server said is not
in it, but it checks that each was legal (`legal`).
"""

from typing import Final, Literal

import msgspec

from machines import table
from machines.turn import thread as threads, turn as turns

Machine = Literal["turn", "thread"]
"""Which of the two changed its state."""

_TABLES: Final[dict[str, table.Table]] = {"turn": turns.TABLE, "thread": threads.TABLE}


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
    """The changes of state that followed from one event, and what to do about them."""

    changes: tuple[Change, ...]
    actions: tuple[threads.Action, ...] = ()


_FOLLOWS: Final = {
    turns.Event.COMPLETED: threads.Event.TURN_OVER,
    turns.Event.CONCLUDED: threads.Event.TURN_CONCLUDED,
    turns.Event.REFUSED: threads.Event.TURN_OVER,
    turns.Event.DEMANDS_SPENT: threads.Event.TURN_OVER,
    turns.Event.OVERDUE: threads.Event.GIVEN_UP,
    turns.Event.STOPPED: threads.Event.GIVEN_UP,
    turns.Event.CANCEL: threads.Event.GIVEN_UP,
    turns.Event.LOST: threads.Event.PROCESS_LOST,
}
"""The event of the thread that follows from one of the turn; a step with calls may have two."""


class TurnOnThread:
    """The states of a thread, and of the turn that runs on it.

    Attributes:
        heard: whether the client was told anything of the thread. Then nothing is tried again.
    """

    def __init__(self) -> None:
        self.turn = turns.TABLE.initial
        self.thread = threads.TABLE.initial
        self.heard = False

    @property
    def ended(self) -> bool:
        """Whether nothing that Codex still says about the turn counts."""
        return self.turn in turns.ENDED

    def take_turn_event(self, event: turns.Event, answerable: bool = True) -> Step:
        """Take what happened to the turn.

        Args:
            answerable: whether a client may bring the results of the calls of `STEP_CALLED`.

        Raises:
            IllegalEvent: the event does not belong in the turn's state; nothing is changed.
        """
        before, self.turn = self.turn, turns.TABLE.next(self.turn, event)
        self.heard |= event is turns.Event.SPOKE
        changes = _change("turn", event, before, self.turn)
        follows = _FOLLOWS.get(event)
        if event is turns.Event.STEP_CALLED:
            called, stop = threads.Event.STEP_CALLED, threads.Event.STEP_UNANSWERABLE
            follows = called if answerable else stop
        if follows is None or self.thread in threads.UNWANTED:
            return Step(changes)
        then = self.take_thread_event(follows)
        return Step(changes + then.changes, then.actions)

    def take_thread_event(self, event: threads.Event) -> Step:
        """Take what happened to the thread.

        Raises:
            IllegalEvent: the event does not belong in the thread's state, which is kept.
        """
        before, self.thread = self.thread, threads.TABLE.next(self.thread, event)
        if event in (threads.Event.RESUMED, threads.Event.REUSED):
            self.turn, self.heard = turns.TABLE.initial, False  # the answer to another client
        changes = _change("thread", event, before, self.thread)
        return Step(changes, threads.actions(self.thread, event))


def legal(change: Change) -> bool:
    """Whether a change of state is one that the declared machine has."""
    transitions = _TABLES[change.machine].transitions
    return transitions.get((change.before, change.trigger)) == change.after


def _change(machine: Machine, trigger: str, before: str, after: str) -> tuple[Change, ...]:
    return () if before == after else (Change(machine, trigger, before, after),)
