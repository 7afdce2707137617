"""Whose a silence of a stream was: the rule, for the live figures and for who reads a log.

A silence lies between two events of a stream. The event behind it says what was waited for: a
thread that begins has found its place on a process, so the wait was that of the queue; behind a
retry that was scheduled it was ours; else the worker's. A deadline that passes is no sign of life.
What no event says is not here: whether the event loop was held, and when a slow client caught up.
"""

from typing import Final

from machines import events

BUSY: Final = "worker_busy"
"""The code of a turn that had no place in time."""

BEGINS: Final = frozenset(("start_sent", "reused"))
"""The events of `machines.turn.thread` by which a thread changes when we begin it, or go on with
it. That module loads what declares it, which readers of a log have no use for."""

_BY_US: Final = (events.RpcSent, events.TurnResumed)
"""Events of our own on Codex, once there is a place on a process: before them, a turn queued."""


def owner(before: type[events.StreamEvent], event: events.StreamEvent | None) -> events.GapOwner:
    """Return whose the silence between two events was.

    Args:
        before: the type of the one before it.
        event: the one behind it; None where the stream ended without another.
    """
    if before is events.RetryScheduled:
        return "server"
    match event:
        case events.ThreadChanged(trigger=trigger):
            queued = trigger in BEGINS
        case events.TurnFailed(code=code):
            queued = code == BUSY
        case _:
            queued = isinstance(event, _BY_US)
    return "queued" if queued else "worker"
