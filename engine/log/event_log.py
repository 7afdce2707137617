"""The append side of the event log: what becomes a record, and when it goes on file.

Records are made as things happen and wait for `EventLog.flush`, which numbers and seals
them and writes them with one write(2). A record is a line

    {"stream":ID,"seq":N,"seg":M,"t":US,"event":TAG,…,"state":STATE,"out":[…],"crc":"8 hex"}

which `engine.log.streamlog` makes and `engine.log.read.segments` reads back.

`engine.log.backlog` has the records that wait, and those that are lost while the log is failing.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Final

import structlog

from engine import containment, regular
from engine.log import backlog, streamlog, upkeep
from engine.log.content import mask
from engine.log.settings import LogCounts, LogSettings, LogState
from engine.log.summary import summarylog
from engine.log.write import (
    livesegment,
    lock as writerlock,
    recovery,
    writer as segmentwriter,
)

RETRY_US: Final = 1_000_000
"""Pause between two tries to write while the log is failing."""

CHECK_US: Final = 1_000_000
"""How often it is looked whether the live segment is still there, and not too old. While anything
was written since, a timer does it."""

PATIENCE_S: Final = 0.02
"""How long the loop is held for what the helper thread finds in the directory after a failure."""


StreamLog = streamlog.StreamLog
"""The log of one stream, as `EventLog.stream` makes it."""

_log = structlog.get_logger(component="event_log")


class EventLog:
    """The one event log of a process. Its methods are for the loop's thread.

    Args:
        now_us: wall time in microseconds since the epoch.

    Attributes:
        counts: for metrics.
        now: the log's time, as given.
        summaries: of ended requests; None where none are kept.
        upkeep: of its old segments.
    """

    def __init__(self, settings: LogSettings, now_us: Callable[[], int]) -> None:
        self.counts = LogCounts()
        self.now = now_us
        self._settings = settings
        self._backlog = backlog.Backlog(settings, now_us, self.counts)
        self._writer = segmentwriter.SegmentWriter(
            settings.directory, settings.fsync, settings.segment_bytes
        )
        self.summaries = _summaries(settings, now_us)
        self.upkeep = upkeep.Upkeep(
            settings, self.counts, self.summaries, lambda: self._writer.lock.is_held
        )
        self._state = LogState.CLOSED
        self._recovery: recovery.Recovery | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._checkpointed = 0
        self._checked_us = 0
        self._failed_us = 0
        self._ended_before = 0

    async def look(self) -> None:
        """Have the helper thread read what is there, so that `open` need not wait for it."""
        if self._settings.content != "off":
            with contextlib.suppress(Exception):  # `open` comes to it again
                ready = self._writer.acquire()
                if ready is not None:
                    looked = asyncio.wrap_future(ready)
                    looked.add_done_callback(asyncio.Future.exception)  # though nobody waits
                    await asyncio.wait({looked})

    def open(self) -> recovery.Recovery:
        """Begin a segment, and close the streams that a killed process left open.

        A directory that cannot be written makes a failing log, not an error.

        Raises:
            LogLocked: another process writes there.
            NotRegular: something else is in the place of one of its files.
        """
        if self._settings.content == "off":
            return recovery.Recovery()
        now = self.now()
        try:
            self._resume(now, None)
            self._write(now)
        except (writerlock.LogLocked, regular.NotRegular):
            self._writer.close()
            raise
        except Exception as error:
            self._fail(error, now)
        else:
            self._state = LogState.WRITING
        return self._recovery or recovery.Recovery()

    def stream(self, stream_id: str, content: mask.Content | None = None) -> StreamLog:
        """The log of a new stream, which must be closed once it has a record. Its id is unique.

        Args:
            content: how its contents are kept; None: as `PROXY_EVENT_LOG` says.
        """
        return self._backlog.stream(stream_id, self._writer.number, content=content)

    def learn(self, secrets: Iterable[str]) -> None:
        """Have these be in no record either, of those that come from now on."""
        self._settings.known.learn(secrets)

    @property
    def content(self) -> mask.Content:
        """How contents are kept."""
        return self._settings.content

    @property
    def waiting(self) -> int:
        """How many records are not on file yet."""
        return len(self._backlog.records)

    @property
    def lag_us(self) -> int:
        """The age of the oldest record that is not on file, in microseconds; 0 without one."""
        oldest = self._backlog.oldest_us
        return 0 if oldest is None else max(0, self.now() - oldest)

    @property
    def bytes_written(self) -> int:
        """Bytes of records that were put on file since the process began."""
        return self._writer.bytes_written

    @property
    def accepting(self) -> bool:
        """Whether new streams may begin: not while the log is failing, if policy says refuse."""
        return self._state is not LogState.FAILING or self._settings.on_error == "continue"

    def flush(self) -> None:
        """Write what was recorded since the last flush; never raises.

        It is one write(2), and another for each segment that it fills.
        """
        if self._state is LogState.CLOSED or (
            self._state is LogState.WRITING and not self._backlog.records
        ):
            return
        now = self.now()
        if self._state is LogState.WRITING or abs(now - self._failed_us) >= RETRY_US:
            self._attempt(now)
        else:
            self._guard(self._backlog.limit)

    def when_durable(self, callback: Callable[[], object]) -> None:
        """Call back when what was flushed is as safe as it must be before its bytes go out.

        With `always` that is later and from the running loop; while the log is failing it is as
        soon as the groups before it have been called back. Otherwise it is now.
        """
        if self._settings.fsync != "always" or self._state is LogState.CLOSED:
            callback()
            return
        loop = asyncio.get_running_loop()
        on_helper = functools.partial(loop.call_soon_threadsafe, callback)
        if self._state is LogState.WRITING:
            self._writer.when_synced(on_helper)
        else:
            self._writer.later(on_helper)  # behind the groups that are still on their way

    def prune(self) -> None:
        """Apply the limits of the log. Every rotation does; this is for idle servers."""
        if self._state is LogState.WRITING:
            now = self.now()
            self._checked_us = now - CHECK_US
            self._attempt(now)
            self._apply_limits(now)
            if self.summaries is not None:
                self.summaries.prune()

    def close(self) -> None:
        """Flush, bring everything to the disk as policy has it, and let another process write."""
        self.upkeep.close()
        if self._state is LogState.CLOSED:
            self._writer.close()  # which may have been reading
            self._close_summaries()
            return
        self._attempt(self.now())
        if self._timer is not None:
            self._timer.cancel()
        if self._backlog.records:
            self._backlog.lose_all()
        self._writer.retire()
        self._close_summaries()  # while the lock is still there
        if self._state is LogState.WRITING:
            self._checkpoint(self._writer.number + 1)
        self._state = LogState.CLOSED
        self._writer.close()

    def _attempt(self, now: int) -> None:
        """Write now, whatever it takes, and see how it went."""
        try:
            if self._state is LogState.FAILING:
                if not self._resume(now, _patience()):
                    self._wait(now)
                    return
            elif abs(now - self._checked_us) >= CHECK_US:
                self._check(now)
            self._write(now)
        except Exception as error:
            self._fail(error, now)
            return
        if self._state is LogState.FAILING:
            self._state = LogState.WRITING
            _log.warning("event_log_recovered", records_lost=self.counts.records_lost)

    def _resume(self, now: int, patience: float | None) -> bool:
        """Make the directory ready, at the start and after a failure.

        Returns:
            Whether that took no more seconds than `patience`.
        """
        ready = self._writer.acquire()
        if ready is not None:
            if futures.wait((ready,), patience).not_done:
                return False
            found = self._writer.adopt().recovery
            self._recovery = self._recovery or found
            self._close_recovered(found)
        self._writer.renew(now)
        self._checked_us = now
        return True

    def _close_recovered(self, found: recovery.Recovery) -> None:
        """Say what was found, and close what was left open, but for streams of this process."""
        recovery.report(found)
        live = self._backlog.stream_ids()
        left_open = [each for each in found.open_streams if each.stream not in live]
        if left_open:
            _log.warning("event_log_streams_closed", count=len(left_open))
        for left in left_open:
            left_log = self._backlog.stream(left.stream, 0, left.next_seq)
            left_log.close(recovery.ending(left), left.state)

    def _check(self, now: int) -> None:
        """What a flush looks at once in a while."""
        self._checked_us = now
        self._writer.check()
        if self.upkeep.is_due:
            self.upkeep.is_due = False
            self._apply_limits(now)
        ended = self._backlog.ended - self._ended_before
        if self._writer.records and self.upkeep.is_full(now - self._writer.created_us, ended):
            self._writer.rotate(now)

    def _write(self, now: int) -> None:
        waiting = self._backlog.records
        is_watched = self._backlog.marked and self.summaries is not None
        self._writer.on_written = self._written if is_watched else None
        if self._state is not LogState.WRITING:
            self._backlog.weigh_anew()
        if waiting and self._timer is None:
            self._wake_later()
        try:
            self._writer.append(waiting, now)
        except OSError:
            raise
        except Exception as error:
            if not self._backlog.drop_unwritable(error):
                raise
            self._writer.append(waiting, now)
        self._backlog.marked.clear()
        if self._checkpointed != self._writer.number:
            self._checkpointed = self._writer.number
            self._checkpoint(self._writer.number)
            self._ended_before = self._backlog.ended
            if self.summaries is not None:
                self.summaries.turned(self._writer.number)
            self._apply_limits(now)

    def _written(
        self,
        live: livesegment.LiveSegment,
        pending: list[livesegment.Pending],
        lines: list[bytes],
    ) -> None:
        """Have what was put on file be summarized, as far as requests began or ended with it."""
        if self.summaries is not None:
            start, streams = live.size - sum(map(len, lines)), self._backlog.marked
            self.summaries.written(live.number, start, streams, pending, lines)

    def _close_summaries(self) -> None:
        if self.summaries is not None:
            self.summaries.close()

    def _checkpoint(self, default: int) -> None:
        """Note where a recovery may begin: at the oldest open stream, or else at `default`."""
        if self.counts.records_lost:
            return  # streams were left open that nobody here knows any more
        self._writer.save_first(self._backlog.first_segment(default))

    def _apply_limits(self, now: int) -> None:
        """Have the helper thread see to the old segments."""
        first = self._backlog.first_request(self._writer.number)
        self._writer.with_chain(self.upkeep.apply, now, first)

    def _wake_later(self) -> None:
        """Look at the log once more in a while, though nothing may be recorded until then.

        The loop's clock is monotonic; without a loop nobody is idle.
        """
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CHECK_US / 1_000_000, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self._state is not LogState.CLOSED:
            now = self.now()
            self._checked_us = now - CHECK_US
            self._attempt(now)

    def _fail(self, error: Exception, now: int) -> None:
        self.counts.failures += 1
        if not isinstance(error, OSError):
            containment.report(containment.Boundary.LOG, error)
        if self._state is not LogState.FAILING:
            _log.error("event_log_failing", error=str(error), on_error=self._settings.on_error)
        if self._state is LogState.WRITING and isinstance(error, writerlock.LogLocked):
            self._guard(self._give_up)
        self._state = LogState.FAILING
        self._wait(now)

    def _give_up(self) -> None:
        """Leave the files to another process, which has closed our streams, or is about to."""
        if self.summaries is not None:
            self.summaries.abandon()
        self._writer.abandon()
        self._backlog.give_up()

    def _wait(self, now: int) -> None:
        """Try again later."""
        self._failed_us = now
        self._guard(self._backlog.limit)
        if self._timer is None:
            self._wake_later()

    def _guard(self, action: Callable[[], object]) -> None:
        """Do something that is no cause for a wake-up to fail."""
        try:
            action()
        except Exception as error:
            containment.report(containment.Boundary.LOG, error)


def _summaries(settings: LogSettings, now_us: Callable[[], int]) -> summarylog.SummaryLog | None:
    """The summaries that settings ask for. Without records there is nothing to summarize."""
    if settings.summaries is None or settings.content == "off":
        return None
    syncs = settings.fsync != "none"
    return summarylog.SummaryLog(settings.directory, settings.summaries, now_us, syncs=syncs)


def _patience() -> float | None:
    """How long to wait for the helper thread; without a loop, nobody is held."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return PATIENCE_S
