"""When things happened to a stream, and whose its silences were."""

from typing import Final

import msgspec

from engine import looplag
from machines import events, silences

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


_MOVES: Final = (events.TurnStarted, events.TurnResumed, events.FallbackTaken)
"""The events by which a stream comes to a process, or leaves one."""


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
        kind: the type of the last event that may say who is waited for.
        parked: how long the turn had waited for the results that the request brought.
        heartbeats: how many there were.
        process: id of the life of the process that runs the turn; empty while none does.
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
    kind: type[events.StreamEvent] = events.Opened
    parked: int = 0
    heartbeats: int = 0
    process: str = ""

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
        if isinstance(event, _MOVES):
            self._moved(event)
        if now - self.event > self.longest_gap:
            self._note_gap(self.event, now, silences.owner(self.kind, event))
        self.kind = type(event)
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
                self._note_gap(self.event, now, silences.owner(self.kind, None))
            self.event = now
        end = loop_now - (self.event - self.gap_end) / MICROSECONDS
        seconds = self.longest_gap / MICROSECONDS
        if self.gap_owner == "worker" and lag.held(end - seconds, end) > seconds / 2:
            self.gap_owner = "server"

    def since_opened(self, moment: int | None) -> int | None:
        """Microseconds from the opening to something; None where that did not happen."""
        return None if moment is None else moment - self.opened

    def _moved(
        self, event: events.TurnStarted | events.TurnResumed | events.FallbackTaken
    ) -> None:
        if isinstance(event, events.FallbackTaken):
            self.process = ""  # the next target may have none
            return
        self.process = event.process
        if isinstance(event, events.TurnResumed):
            self.parked = event.parked_us

    def _note_gap(self, since: int, now: int, owner: events.GapOwner) -> None:
        self.longest_gap, self.gap_end, self.gap_owner = now - since, now, owner
