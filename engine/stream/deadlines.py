"""The deadlines of a stream: which count in which state, how long each is, when it passes."""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from engine.stream.times import Times
from machines import events
from machines.stream import machine as stream, states


class Deadlines(msgspec.Struct, frozen=True):
    """Limits of a stream in microseconds; 0 means none, but of `finish_grace` that it passes at
    once. Defaults as `docs/configuration.md`."""

    heartbeat: int = 15_000_000
    head_hold: int = 30_000_000
    first_chunk: int = 300_000_000
    idle: int = 300_000_000
    total: int = 0
    finish_grace: int = 1_000_000
    truncate: int = 0
    tool_grace: int = 0


class Deadline(NamedTuple):
    """A deadline of a state.

    Attributes:
        limit: how long it is, in microseconds; None where the operator wants none.
        since: when it began, in the log's microseconds; None while it does not count.
    """

    timer: events.TimerName
    limit: Callable[[Deadlines], int | None]
    since: Callable[[stream.Stream, Times], int | None]


TOTAL: Final = Deadline("total", lambda its: its.total or None, lambda _, at: at.opened)
FIRST_CHUNK: Final = Deadline(
    "first_chunk", lambda its: its.first_chunk or None, lambda _, at: at.opened
)
HEAD_HOLD: Final = Deadline(
    "head_hold",
    # The head goes early so that heartbeats can follow it.
    lambda its: (its.heartbeat and its.head_hold) or None,
    lambda machine, at: at.opened if machine.opened.streaming else None,
)
IDLE: Final = Deadline(
    "idle",
    lambda its: its.idle or None,
    lambda _, at: at.event if at.pressed is None else None,
)
TOOL_GRACE: Final = Deadline(
    "tool_grace",
    lambda its: its.tool_grace or None,
    lambda machine, at: at.called if machine.bursts else None,
)
FINISH_GRACE: Final = Deadline(
    "finish_grace",
    lambda its: its.finish_grace,  # 0 is no wait, not one without end
    lambda _, at: at.finished,
)
HEARTBEAT: Final = Deadline(
    "heartbeat",
    lambda its: its.heartbeat or None,
    lambda machine, at: at.output if machine.opened.streaming else None,
)
TRUNCATE: Final = Deadline(
    "truncate",
    lambda its: its.truncate or None,
    lambda machine, at: None if machine.opened.streaming else at.opened,
)

DEADLINES: Final[dict[str, tuple[Deadline, ...]]] = {
    states.HELD: (TOTAL, FIRST_CHUNK, HEAD_HOLD, TRUNCATE),
    states.ROLE: (TOTAL, FIRST_CHUNK, HEARTBEAT, TRUNCATE),
    states.CONTENT: (TOTAL, IDLE, TOOL_GRACE, HEARTBEAT, TRUNCATE),
    states.TOOL_BUFFERING: (TOTAL, IDLE, TOOL_GRACE, HEARTBEAT, TRUNCATE),
    states.FINISH: (FINISH_GRACE, HEARTBEAT),
}
"""The deadlines that count in each state of the choice that is least far. A stream rests in no
other state. Of two that pass in the same microsecond, the first is taken first."""


def due(limits: Deadlines, machine: stream.Stream, at: Times) -> dict[events.TimerName, int]:
    """When each deadline that counts in this state passes, in the log's microseconds."""
    found: dict[events.TimerName, int] = {}
    for timer, limit_of, since_of in DEADLINES.get(machine.position, ()):
        limit, since = limit_of(limits), since_of(machine, at)
        if limit is not None and since is not None:
            found[timer] = since + limit
    return found
