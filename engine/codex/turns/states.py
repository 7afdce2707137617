"""The states of an attempt in motion: steps both machines, and does what belongs to each step.

What changes is recorded before anything is done about it, as the supervisor's changes are.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Final

from engine import containment, lateness
from engine.containment import Boundary
from machines.turn import machine, thread as threads, turn as turns

STEP_GRACE_S: Final = 5.0
"""Seconds that a turn whose answer is whole may take to say that it is over."""

ITEM_GRACE_S: Final = 60.0
"""The same where only a message is whole of which nobody says that it is the last: the model may
think before the next one."""

RESULT_PATIENCE_S: Final = 5.0
"""Seconds that the result of a call may be asked for while its step is not whole. Codex says
nothing of a step that broke behind a call until it has the result; with one it tells, or goes
on."""

_DEADLINES: Final[dict[str, turns.Event | threads.Event]] = {
    **turns.DEADLINES,
    **threads.DEADLINES,
}


class States:
    """The states of a thread and of the turn that runs on it.

    Args:
        record: takes each change of state.
        act: carries out what a step of the thread asks for; of a release nothing raises.
        passed: takes the event of a deadline that has passed.
        loop: keeps the deadlines.

    Attributes:
        ended: set while nothing that Codex still says about the turn counts.
    """

    def __init__(
        self,
        record: Callable[[machine.Change], None],
        act: Callable[[threads.Action], None],
        passed: Callable[[turns.Event | threads.Event], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.ended = asyncio.Event()
        self._machines = machine.TurnOnThread()
        self._record = record
        self._act = act
        self._passed = passed
        self._loop = loop
        self._timers: dict[machine.Machine, lateness.Deadline] = {}

    @property
    def turn(self) -> str:
        """The state of the turn."""
        return self._machines.turn

    @property
    def thread(self) -> str:
        """The state of the thread."""
        return self._machines.thread

    @property
    def heard(self) -> bool:
        """Whether the client was told anything."""
        return self._machines.heard

    def take_turn_event(self, event: turns.Event, answerable: bool = True) -> None:
        """Take what happened to the turn; see `TurnOnThread.take_turn_event`.

        Raises:
            IllegalEvent: it does not belong in the turn's state.
        """
        self._take(self._machines.take_turn_event(event, answerable))

    def take_thread_event(self, event: threads.Event) -> None:
        """Take what happened to the thread.

        Raises:
            IllegalEvent: it does not belong in the thread's state.
        """
        self._take(self._machines.take_thread_event(event))

    def _take(self, step: machine.Step) -> None:
        if self._machines.ended:
            self.ended.set()
        else:
            self.ended.clear()
        for change in step.changes:
            try:
                self._record(change)
            except Exception as error:
                containment.report(Boundary.RECORD, error)
            self._await_deadline(change)
        for action in step.actions:
            self._act(action)

    def _await_deadline(self, change: machine.Change) -> None:
        now = self.turn if change.machine == "turn" else self.thread
        if now != change.after:  # a stream that ends as it is told of it has led on already
            return
        timer = self._timers.pop(change.machine, None)
        if timer is not None:
            timer.cancel()
        event = _DEADLINES.get(change.after)
        if event is not None:
            passed = functools.partial(self._passed, event)
            deadline = lateness.Deadline(self._loop, _grace_s(event, change.trigger), passed)
            self._timers[change.machine] = deadline


def _grace_s(event: turns.Event | threads.Event, trigger: str) -> float:
    if event is not turns.Event.OVERDUE:
        return RESULT_PATIENCE_S
    return ITEM_GRACE_S if trigger == turns.Event.ITEM_WHOLE else STEP_GRACE_S
