"""The deadlines of a stream: how long each is, and when it passes as things stand."""

import msgspec

from machines import events
from machines.stream import machine as stream, states


class Deadlines(msgspec.Struct, frozen=True):
    """Limits of a stream in microseconds; 0 means none. Defaults as `docs/configuration.md`."""

    heartbeat: int = 15_000_000
    head_hold: int = 30_000_000
    first_chunk: int = 300_000_000
    idle: int = 300_000_000
    total: int = 0
    finish_grace: int = 1_000_000
    truncate: int = 0
    tool_grace: int = 0


class Times(msgspec.Struct):
    """When things last happened to a stream, in the log's microseconds; 0 for never.

    Attributes:
        event: something of the worker's came.
        output: something went to the client.
        finished: every choice had its finish.
        called: a call went to the client.
        pressed: the worker was held back for a slow client; 0 once it no longer is.
        token: the model's first.
        longest_gap: how long, not when: the longest silence between two events.
    """

    opened: int
    event: int
    output: int
    finished: int = 0
    called: int = 0
    pressed: int = 0
    token: int = 0
    longest_gap: int = 0

    def saw_event(self, now: int) -> None:
        """Something of the worker's came."""
        if now - self.event > self.longest_gap:
            self.longest_gap = now - self.event
        self.event = now


def due(limits: Deadlines, machine: stream.Stream, at: Times) -> dict[events.TimerName, int]:
    """When each deadline that counts in this state passes, in the log's microseconds."""
    found: dict[events.TimerName, int] = {}
    streaming = machine.opened.streaming
    position = machine.position
    if limits.total and position != states.FINISH:
        found["total"] = at.opened + limits.total
    if position in (states.HELD, states.ROLE) and limits.first_chunk:
        found["first_chunk"] = at.opened + limits.first_chunk
    if position == states.HELD and streaming and limits.heartbeat and limits.head_hold:
        found["head_hold"] = at.opened + limits.head_hold
    if position in (states.CONTENT, states.TOOL_BUFFERING):
        if limits.idle and not at.pressed:
            found["idle"] = at.event + limits.idle
        if limits.tool_grace and machine.bursts:
            found["tool_grace"] = at.called + limits.tool_grace
    if position == states.FINISH:
        found["finish_grace"] = at.finished + limits.finish_grace
    if position != states.HELD and streaming and limits.heartbeat:
        found["heartbeat"] = at.output + limits.heartbeat
    if not streaming and limits.truncate and position != states.FINISH:
        found["truncate"] = at.opened + limits.truncate
    return found
