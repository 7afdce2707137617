"""Joins what one wake-up of the event loop produced: first the records, then the bytes.

A wake-up serves many streams at once: a read of a worker process holds lines of all its turns.
Their events are stepped one by one; when the wake-up is over, the records of all of them go to
the log with one write(2), and then each stream's bytes go out in one piece. What fails in one
stream meanwhile is told to that stream and to no other, and the phase is always reset.

Bytes of several wake-ups may wait for the disk. They go out in the order in which they were made,
each once: no failure in the log can leave a hole in a body, or say a part of it again.
"""

import asyncio
import collections
import enum
import functools
from collections.abc import Callable
from typing import Protocol

import msgspec

from engine import containment, looplag
from engine.containment import Boundary
from engine.log import event_log as eventlog
from engine.stream import sink


class Source(Protocol):
    """Makes the bytes that a wake-up sends: a part of `sink.Sink`."""

    def collect(self) -> sink.Part:
        """Hand over what was rendered since the last call."""

    def send(self, part: sink.Part) -> None:
        """Send a part whose records are on file."""

    def finish(self, part: sink.Part, failed: Callable[[Exception], None]) -> None:
        """Send the last part."""


class Member(Protocol):
    """A stream that takes part in a wake-up."""

    def flush_texts(self) -> None:
        """Record and render the texts that wait; may raise."""

    def broke(self, boundary: Boundary, error: Exception) -> None:
        """End the stream, for which something failed; never raises."""


class WakeupPhase(enum.Enum):
    """Whether a wake-up is on, and how it will end."""

    NONE = enum.auto()
    ENDS_LATER = enum.auto()
    IN_READ = enum.auto()


class Group(msgspec.Struct):
    """The sends of one wake-up, made once its records are safe and the groups before it are
    sent."""

    parts: list[tuple[Source, Member, sink.Part]]
    is_safe: bool = False


class Wakeups:
    """The wake-ups of one loop.

    Attributes:
        lag: of that loop; it is measured while `lag.watch` runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, event_log: eventlog.EventLog) -> None:
        self._loop = loop
        self._log = event_log
        self._waiting: collections.deque[Group] = collections.deque()
        self._joined: dict[Source, Member] = {}
        self._with_texts: collections.deque[tuple[Source, Member]] = collections.deque()
        self._phase = WakeupPhase.NONE
        self.lag = looplag.LoopLag()

    @property
    def deferred(self) -> int:
        """How many wake-ups wait for the disk before their bytes go out."""
        return len(self._waiting)

    def join(self, source: Source, member: Member) -> None:
        """Have the bytes of `source` sent when the current wake-up is over."""
        if self._phase is WakeupPhase.NONE:
            self._begin()
        self._joined[source] = member

    def leave(self, source: Source) -> None:
        """Have nothing of `source` sent that was not collected yet."""
        self._joined.pop(source, None)
        for waiting in [each for each in self._with_texts if each[0] is source]:
            self._with_texts.remove(waiting)

    def join_with_texts(self, source: Source, member: Member) -> None:
        """Have `member` flush its texts when the current wake-up is over, and then `join`."""
        if self._phase is WakeupPhase.NONE:
            self._begin()
        self._with_texts.append((source, member))

    def read(self, take: Callable[[bytes], None], data: bytes) -> None:
        """Take what one read brought as a wake-up of its own: it spares the loop a round.

        What `take` raises is raised when the wake-up is over.
        """
        if self._phase is WakeupPhase.NONE:
            self._phase = WakeupPhase.IN_READ
        try:
            take(data)
        finally:
            if self._phase is WakeupPhase.IN_READ:
                self._end()

    def _begin(self) -> None:
        self._phase = WakeupPhase.ENDS_LATER
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        while self._with_texts:
            source, member = self._with_texts.popleft()
            try:
                member.flush_texts()
            except Exception as error:
                member.broke(Boundary.WAKEUP, error)
            else:
                self._joined[source] = member
        self._phase = WakeupPhase.NONE
        joined, self._joined = self._joined, {}
        try:
            self._log.flush()
        except Exception as error:
            containment.report(Boundary.LOG, error)
        # Collected now: what is rendered before the disk has answered belongs to a later group.
        parts = []
        for source, member in joined.items():
            try:
                parts.append((source, member, source.collect()))
            except Exception as error:
                member.broke(Boundary.WAKEUP, error)
        group = Group(parts)
        self._waiting.append(group)
        try:
            self._log.when_durable(functools.partial(self._now_safe, group))
        except Exception as error:  # the disk's thread is gone; the records are in the file
            containment.report(Boundary.LOG, error)
            self._now_safe(group)

    def _now_safe(self, group: Group) -> None:
        """Mark a group as safe, and send all that no unsafe group is before. Each is sent once."""
        group.is_safe = True
        while self._waiting and self._waiting[0].is_safe:
            self._send(self._waiting.popleft().parts)

    def _send(self, parts: list[tuple[Source, Member, sink.Part]]) -> None:
        for source, member, part in parts:
            try:
                if part.last:
                    source.finish(part, functools.partial(member.broke, Boundary.STREAM_END))
                else:
                    source.send(part)
            except Exception as error:
                member.broke(Boundary.WAKEUP, error)
