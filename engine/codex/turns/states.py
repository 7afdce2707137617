"""The states of an attempt in motion: steps both machines, and does what belongs to each step.

What changes is recorded before anything is done about it, as the supervisor's changes are.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Final

from engine import containment
from engine.containment import Boundary
from machines.turn import machine, thread as threads, turn as turns

STEP_GRACE_S: Final = 5.0
"""Seconds that a turn whose answer is whole may take to say that it is over."""

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
        self._timers: dict[machine.Machine, asyncio.TimerHandle] = {}

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
            self._await_deadline(change)
            try:
                self._record(change)
            except Exception as error:
                containment.report(Boundary.RECORD, error)
        for action in step.actions:
            self._act(action)

    def _await_deadline(self, change: machine.Change) -> None:
        timer = self._timers.pop(change.machine, None)
        if timer is not None:
            timer.cancel()
        event = _DEADLINES.get(change.after)
        if event is not None:
            seconds = STEP_GRACE_S if event is turns.Event.OVERDUE else RESULT_PATIENCE_S
            passed = functools.partial(self._passed, event)
            self._timers[change.machine] = self._loop.call_later(seconds, passed)
