"""The append side of the event log: what becomes a record, and when it goes on file.

Records are put together as they happen and wait for `EventLog.flush`, which numbers and seals them
and writes them with one write(2). A line is

    {"stream":ID,"seq":N,"seg":M,"t":US,"event":TAG,…,"state":STATE,"out":[…],"crc":"8 hex"}

where `…` are the event's own fields, `state` and `out` say what the machine made of it, followed
by `released` and `cut` where a scanner decided something. `engine.segments` reads it back.

While the log cannot be written its records are kept, up to `BACKLOG_BYTES`, and tried again. Past
that they are lost, and every stream that lost one is left open in the log where it was whole last;
the next start closes it.
"""

import asyncio
import functools
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
"""How often a flush looks whether the live segment is still there."""

BACKLOG_BYTES: Final = 8 << 20
"""Records kept in memory while the log is failing: about 40,000 tokens."""

AGE_PARTS: Final = 8
"""A segment is closed after this part of the age limit, for it can only go as a whole."""

CLOSED_BY_RECOVERY: Final = "recovery"
"""`emission_trigger` of the terminal records that a start writes for a killed process."""

_log = structlog.get_logger(component="event_log")
_encode: Final = msgspec.json.Encoder().encode


class LogSettings(msgspec.Struct, frozen=True):
    """How the log is kept; names, meanings and defaults as `docs/configuration.md`."""

    directory: Path
    content: Literal["off", "masked", "full"] = "masked"
    fsync: segmentwriter.FsyncPolicy = "interval"
    segment_bytes: int = 64 << 20
    max_bytes: int = 1 << 30
    max_age_s: int = 7 * 86_400
    on_error: Literal["continue", "refuse"] = "continue"


class LogCounts(msgspec.Struct):
    """What the log has done since the process began, for metrics.

    Attributes:
        failures: writes, checks and syncs that went wrong.
        records_lost: records that never went on file.
        segments_pruned: segments that retention deleted, of `bytes_pruned` together.
    """

    failures: int = 0
    records_lost: int = 0
    segments_pruned: int = 0
    bytes_pruned: int = 0


class _Tail(msgspec.Struct, frozen=True, gc=False):
    """What surrounds the text in the record of a delta with one output."""

    before: bytes
    after: bytes


_tails: Final[dict[tuple[type, type, str, int], _Tail]] = {}


class StreamLog:
    """The records of one stream. It counts them; `EventLog.stream` makes it.

    Its methods give the time that is in their record, in microseconds since the epoch.
    """

    __slots__ = ("_keep_event", "_keep_text", "_now_us", "_put", "_seq", "first_segment", "prefix")

    def __init__(
        self,
        stream_id: str,
        content: Literal["masked", "full"],
        now_us: Callable[[], int],
        put: Callable[["Pending"], object],
        first_segment: int,
    ) -> None:
        self.prefix = b'{"stream":%b,"seq":' % _encode(stream_id)
        self.first_segment = first_segment
        self._now_us = now_us
        self._put = put
        self._seq = 0
        self._keep_text = mask.mask_text if content == "masked" else str
        self._keep_event = mask.mask_event if content == "masked" else mask.keep_event

    def now(self) -> int:
        """The log's time."""
        return self._now_us()
