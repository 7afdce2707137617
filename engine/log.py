"""The append side of the event log: what becomes a record, and when it goes on file.

Records are put together as things happen and wait for `EventLog.flush`, which numbers and seals
them and writes them with one write(2). A record is a line

    {"stream":ID,"seq":N,"seg":M,"t":US,"event":TAG,…,"state":STATE,"out":[…],"crc":"8 hex"}

where `…` are the event's own fields, `state` and `out` say what the machine made of it, and
`released` and `cut` follow where a scanner decided something. `engine.segments` reads them back.

While the log cannot be written its records wait, up to `BACKLOG_BYTES`. Past that they are lost,
and a stream that lost one ends in the log where it was whole last; the next start closes it there.
"""

import asyncio
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from engine import mask, retention, segments, segmentwriter
from machines import events, stream

RETRY_US: Final = 1_000_000
"""Pause between two tries to write while the log is failing."""

CHECK_US: Final = 1_000_000
"""How often a flush looks whether the live segment is still there, and not too old."""

BACKLOG_BYTES: Final = 8 << 20
"""Records kept in memory while the log is failing; about 80,000 tokens."""

AGE_PARTS: Final = 8
"""A segment is left after this part of the age limit, since it can only be deleted as a whole."""

RECOVERY_TRIGGER: Final = "recovery"
"""`emission_trigger` of the terminal records a start writes for what a killed process left open."""

_log = structlog.get_logger(component="event_log")
_encode: Final = msgspec.json.Encoder().encode


class LogSettings(msgspec.Struct, frozen=True):
    """How the log is kept; names, meanings and defaults as in `docs/configuration.md`."""

    directory: Path
    content: Literal["off", "masked", "full"] = "masked"
    fsync: segmentwriter.FsyncPolicy = "interval"
    segment_bytes: int = 64 << 20
    max_bytes: int = 1 << 30
    max_age_s: int = 7 * 86_400
    on_error: Literal["continue", "refuse"] = "continue"


class LogCounts(msgspec.Struct):
    """What the log went through since its process began, for metrics.

    Attributes:
        failures: tries to write that failed.
        records_lost: records that will never be on file.
        segments_pruned: segments deleted by retention, of `bytes_pruned` together.
    """

    failures: int = 0
    records_lost: int = 0
    segments_pruned: int = 0
    bytes_pruned: int = 0


class EventLog:
    """The one event log of a process. All of it but `close` is for the loop's thread, and quick.

    Args:
        now_us: wall time in microseconds since the epoch.

    Attributes:
        counts: for metrics.
    """

    def __init__(self, settings: LogSettings, now_us: Callable[[], int]) -> None:
        self.counts = LogCounts()
        self._settings = settings
        self._now_us = now_us
        self._writer = segmentwriter.SegmentWriter(settings.directory, settings.fsync)
        self._state: Literal["closed", "writing", "failing"] = "closed"
        self._recovery: segments.Recovery | None = None
        self._streams: set[StreamLog] = set()
        self._pending: list[_Pending] = []
        self._backlog_bytes = 0
        self._backlog_weighed = 0
        self._checkpointed = 0
        self._checked_us = 0
        self._failed_us = 0

    def open(self) -> segments.Recovery:
        """Begin a segment, after closing the streams that a killed process left open.

        A directory that cannot be written is a failing log, not an error.

        Raises:
            LogLocked: another process writes there.
        """
        if self._settings.content == "off":
            return segments.Recovery()
        now = self._now_us()
        self._writer.acquire
        return segments.Recovery()
