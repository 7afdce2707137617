"""When things happened to a stream, and whose its silences were."""

from typing import Final

import msgspec

from engine import failures, looplag
from machines import events
from machines.turn import thread as threads

MICROSECONDS: Final = 1_000_000

TOKENS: Final = (
    events.TextDelta,
    events.ReasoningDelta,
    events.ToolCalled,
    events.ToolCallDelta,
)
"""Events that bring something that the model made."""

CONTENTS: Final = (
    events.TextDelta,
    events.RefusalDelta,
    events.ToolCalled,
    events.ToolCallDelta,
)
"""The events of these that bring what it answers, not what it thinks."""

_BY_US: Final = (events.RpcSent, events.TurnResumed)
"""Events of our own on Codex, once there is a place on a process: before them, a turn queued."""

BUSY: Final = failures.BUSY.code
"""The code of a turn that had no place in time."""

BEGINS: Final = threads.Event.START_SENT
"""The event by which a thread changes when we begin it."""


class Times(msgspec.Struct):
    """When things happened to a stream, in the log's microseconds; None where they did not.

    Attributes:
        event: the last event of the worker.
        output: the last output to the client.
        finished: when every choice had its finish.
        called: the last call that went to the client.
        pressed: since when the worker is held back for a slow client; None while it is not.
        token: the first text of the model.
        content: the first of it that is no reasoning.
        longest_gap: the longest silence, in microseconds.
        gap_end: when that ended.
        gap_owner: whose it was.
        awaited: who is waited for, where no event says so: it is us before another try.
        parked: how long the turn had waited for the results that the request brought.
        heartbeats: how many there were.
    """

    opened: int
    event: int
    output: int
    finished: int | None = None
    called: int | None = None
    pressed: int | None = None
    token: int | None = None
    content: int | None = None
    longest_gap: int = 0
    gap_end: int = 0
    gap_owner: events.GapOwner = "worker"
    awaited: events.GapOwner = "worker"
    parked: int = 0
    heartbeats: int = 0

    def saw_event(self, now: int) -> None:
        """Note an event of the worker, and the silence before it."""
        if now - self.event > self.longest_gap:
            self._note_gap(self.event, now, "worker")
        self.event = now

    def saw(self, event: events.StreamEvent, now: int) -> None:
        """The same for an event that may be of another kind; a deadline is no sign of life."""
        if isinstance(event, events.TimerFired):
            self.heartbeats += event.timer == "heartbeat"
            return
        if isinstance(event, events.TurnResumed):
            self.parked = event.parked_us
        if now - self.event > self.longest_gap:
            self._note_gap(self.event, now, self._owner_before(event))
        self.awaited = "server" if isinstance(event, events.RetryScheduled) else "worker"
        self.event = now

    def relieved(self, now: int) -> None:
        """Note that the client has caught up: the idle time begins now, since the worker was held
        back until now."""
        if self.pressed is not None and now - self.pressed > self.longest_gap:
            self._note_gap(self.pressed, now, "client")
        self.pressed = None
        self.event = now

    def ended(self, now: int, lag: looplag.LoopLag, loop_now: float) -> None:
        """Note the end, and the silence before it. The longest one is ours where a callback held
        the event loop for most of it.

        Args:
            loop_now: the loop's time as the stream ends.
        """
        if self.pressed is not None:
            self.relieved(now)
        else:
            if now - self.event > self.longest_gap:  # it may end while it waits for another try
                self._note_gap(self.event, now, self.awaited)
            self.event = now
        end = loop_now - (self.event - self.gap_end) / MICROSECONDS
        seconds = self.longest_gap / MICROSECONDS
        if self.gap_owner == "worker" and lag.held(end - seconds, end) > seconds / 2:
            self.gap_owner = "server"

    def since_opened(self, moment: int | None) -> int | None:
        """Microseconds from the opening to something; None where that did not happen."""
        return None if moment is None else moment - self.opened

    def _note_gap(self, since: int, now: int, owner: events.GapOwner) -> None:
        self.longest_gap, self.gap_end, self.gap_owner = now - since, now, owner

    def _owner_before(self, event: events.StreamEvent) -> events.GapOwner:
        if self.awaited == "server":
            return "server"
        match event:
            case events.ThreadChanged(trigger=trigger):
                queued = trigger == BEGINS
            case events.TurnFailed(code=code):
                queued = code == BUSY
            case _:
                queued = isinstance(event, _BY_US)
        return "queued" if queued else "worker"
