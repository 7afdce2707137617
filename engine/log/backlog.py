"""The records that wait to be written, and the streams that they are of.

While the log cannot be written its records wait, up to `BACKLOG_BYTES`. Past that they are lost,
and a stream that lost one ends in the log where it was whole last; the next start closes it there.
"""

import itertools
from collections.abc import Callable
from typing import Final, get_args

import structlog

from engine import containment
from engine.log import streamlog
from engine.log.content import mask
from engine.log.settings import LogCounts, LogSettings
from engine.log.write import livesegment

BACKLOG_BYTES: Final = 8 << 20
"""Records kept in memory while the log is failing; about 80,000 tokens."""

WORKER_LIFE: Final = "wk_"
"""How the id of a stream begins that is the life of a worker process."""

_log = structlog.get_logger(component="event_log")


class Backlog:
    """The part of a log that is in memory: records in their order, and the streams that are not
    closed.

    Args:
        now_us: wall time in microseconds since the epoch.
        counts: its `records_lost` goes up with each.

    Attributes:
        records: who writes them takes them out of the list. It is always the same one.
        marked: prefixes of streams that began or ended; who has written all records clears it.
        ended: how many streams have ended.
    """

    def __init__(
        self, settings: LogSettings, now_us: Callable[[], int], counts: LogCounts
    ) -> None:
        self.records: list[livesegment.Pending] = []
        self.marked: set[bytes] = set()
        self.ended = 0
        self._now = now_us
        self._counts = counts
        self._make = (
            streamlog.SilentStreamLog if settings.content == "off" else streamlog.StreamLog
        )
        self._content = settings.content
        self._keepings = {
            content: streamlog.keeping(content, settings.known)
            for content in get_args(mask.Content)
        }
        self._streams: dict[bytes, streamlog.StreamLog] = {}
        self._bytes = self._weighed = 0

    def stream(
        self,
        stream_id: str,
        first_segment: int,
        seq: int = 0,
        content: mask.Content | None = None,
    ) -> streamlog.StreamLog:
        """The log of a stream, whose records wait here.

        Args:
            first_segment: number of the segment that was live when the stream began.
            seq: number of its next record.
            content: how its contents are kept; None: as the log's. Where that is off, nothing is.
        """
        return self._make(
            stream_id,
            self.records.append,
            self._now,
            self._keepings[content or self._content],
            self._began,
            self._ended,
            self._spoiled,
            first_segment,
            seq,
        )

    @property
    def oldest_us(self) -> int | None:
        """When the record was made that waits longest."""
        if not self.records:
            return None
        _, _, rest = self.records[0]
        return int(rest.partition(b",")[0])  # what a record's last part begins with

    def stream_ids(self) -> set[str]:
        """Return the ids of the streams that have a record and are not closed."""
        return {stream.id for stream in self._streams.values()}

    def first_segment(self, default: int) -> int:
        """The oldest segment that has records of a stream that is not closed."""
        return min((each.first_segment for each in self._streams.values()), default=default)

    def first_request(self, default: int) -> int:
        """The oldest segment that has records of a request that is not over. Worker processes
        live for weeks, and nobody waits for the beginning of such a life."""
        firsts = (
            each.first_segment
            for each in self._streams.values()
            if not each.id.startswith(WORKER_LIFE)
        )
        return min(firsts, default=default)

    def drop_unwritable(self, error: Exception) -> bool:
        """Lose the records that can never be written, each with the rest of its stream.

        Args:
            error: what writing them raised.

        Returns:
            Whether there were any.
        """
        kept, lost = livesegment.without_unwritable(self.records)
        for prefix in {prefix for prefix, _, _ in lost}:
            stream_id = getattr(self._streams.get(prefix), "id", None)
            containment.report(containment.Boundary.RECORD, error, stream=stream_id)
        if lost:
            self.records[:] = kept
            self._lose(lost)
        return bool(lost)

    def limit(self) -> None:
        """Lose all that waits, if it is more than `BACKLOG_BYTES`.

        Only what has come since the last time is weighed.
        """
        fresh = itertools.islice(self.records, self._weighed, None)
        try:
            self._bytes += sum(len(rest) for _, _, rest in fresh)
        except Exception as error:
            self.drop_unwritable(error)
        self._weighed = len(self.records)
        if self._bytes > BACKLOG_BYTES:
            self.lose_all()
            self.weigh_anew()

    def weigh_anew(self) -> None:
        """Have `limit` weigh everything: records that were weighed may have been taken out."""
        self._bytes = self._weighed = 0

    def lose_all(self) -> None:
        """Lose what waits, and the rest of every stream that has a part in it."""
        self._lose(self.records)
        self.records.clear()
        self.marked.clear()

    def give_up(self) -> None:
        """Lose what waits, and what else comes of the streams that are not closed."""
        self.lose_all()
        for stream in list(self._streams.values()):
            stream.give_up(self._count_lost)
        self._streams.clear()

    def _lose(self, lost: list[livesegment.Pending]) -> None:
        """Lose records, and the rest of every stream that has a part in them."""
        _log.error("event_log_records_lost", count=len(lost))
        self._counts.records_lost += len(lost)
        for prefix in {prefix for prefix, _, _ in lost}:
            stream = self._streams.pop(prefix, None)
            if stream is not None:
                stream.give_up(self._count_lost)

    def _began(self, prefix: bytes, stream: streamlog.StreamLog) -> None:
        self._streams[prefix] = stream
        self.marked.add(prefix)

    def _ended(self, prefix: bytes) -> None:
        self._streams.pop(prefix, None)
        self.marked.add(prefix)
        self.ended += 1

    def _spoiled(self, stream: streamlog.StreamLog, error: Exception) -> None:
        """A record could not be made: its stream's log ends before it, and nothing else does."""
        containment.report(containment.Boundary.RECORD, error, stream=stream.id)
        self._streams.pop(stream.prefix, None)
        self._counts.records_lost += 1
        stream.give_up(self._count_lost)

    def _count_lost(self, _: livesegment.Pending) -> None:
        self._counts.records_lost += 1
