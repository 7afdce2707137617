"""The event log's files while they are written: the lock, the live segment, the helper thread.

There is one writer a directory. A write that fails is undone before it is reported, so no part of
a group stays behind. What takes its time (fsync, closing, deleting) is done by a helper thread,
one thing after the other in the order it was asked for; so is what the chain says of a segment
that was left, for it must not be there before the segment is.
"""

import contextlib
import errno
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from engine import containment, regular
from engine.log.format import chain, sealed
from engine.log.read import segments
from engine.log.write import chainfile, livesegment, lock as writerlock, recovery
from machines import events

SYNC_INTERVAL_S: Final = 1.0
"""With `interval`: the longest that records are on file before they are forced to the disk."""

SAVE_INTERVAL_S: Final = 1.0
"""With `always`: the least between two checkpoints that say how much is on the disk."""

FsyncPolicy = Literal["none", "interval", "always"]
"""When records are forced to the disk: never, within an interval, before their bytes are sent."""

_log = structlog.get_logger(component="event_log")


class SegmentWriter:
    """The live segment of a directory, from one rotation to the next.

    Attributes:
        number: of the live segment; 0 before the first.
        lock: of the directory.
        bytes_written: of records, in all segments since the process began.
        on_written: called with the live segment, the records and their lines once they are there.
    """

    def __init__(self, directory: Path, fsync: FsyncPolicy, segment_bytes: int) -> None:
        self.number = 0
        self.bytes_written = 0
        self.on_written: livesegment.OnWritten | None = None
        self._directory = directory
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._writer = secrets.token_hex(8)
        self._live: livesegment.LiveSegment | None = None
        self._before: tuple[int, chain.Figures] | None = None
        self.lock = writerlock.WriterLock(directory)
        self._found: Future[recovery.Found] | None = None
        self._chain: chainfile.ChainFile | None = None
        self._recovered: chainfile.ChainFile | None = None
        self._helper = ThreadPoolExecutor(1, "event-log")
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._batch: list[Callable[[], object]] | None = None
        self._error: OSError | None = None
        self._saved_s = 0.0

    @property
    def records(self) -> int:
        """How many the live segment holds."""
        return 0 if self._live is None else self._live.records

    @property
    def created_us(self) -> int:
        """When the live segment was begun."""
        return 0 if self._live is None else self._live.created_us

    def acquire(self) -> Future[recovery.Found] | None:
        """Make the directory and become its one writer.

        Returns:
            What the helper thread finds there, for `adopt` once it is done; None where this was
            its writer already.

        Raises:
            LogLocked: another process writes there.
            NotRegular: something else is in the place of one of its files.
            OSError: the directory cannot be made or written to.
        """
        held = self.lock.is_held
        if held and self._chain is not None and self._chain.is_there():
            return None
        if not held:
            if not self.number:  # later it might be our own segment
                writerlock.refuse_if_written(self._directory)
            self.lock.take()
        if self._found is None:
            self._leave(False)
            self._release_chain()
            self._found = self._helper.submit(self._recover)
        return self._found

    def adopt(self) -> recovery.Found:
        """Go on with what the helper thread found, which must be done.

        Raises:
            LogLocked, NotRegular, OSError: as `acquire`.
        """
        assert self._found is not None, "acquire() comes first"
        ready, self._found = self._found, None
        found = ready.result()
        self.number = max(self.number, found.newest)
        self._chain, self._recovered = self._recovered, None
        self._before = found.before
        return found

    def abandon(self) -> None:
        """Write nothing more to any of the files: another process has them."""
        live, self._live = self._live, None
        if live is not None:
            self.later(os.close, live.fd)
        with self._guard:
            self._batch = None
        self._before = None
        self._release_chain()

    def renew(self, now_us: int) -> None:
        """Go on in a segment that nothing was written to yet.

        Raises:
            OSError: there is none to go on in.
        """
        if self._live is None or self._live.records:
            self.rotate(now_us)

    def rotate(self, now_us: int) -> None:
        """Begin the next segment.

        Raises:
            OSError: it cannot be made; the live one stays.
        """
        newest = segments.list_segments(self._directory)[-1:]
        number = 1 + max([self.number, *(segment.number for segment in newest)])
        path = self._directory / segments.segment_name(number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        live = livesegment.LiveSegment(number, path, regular.open_regular(path, flags), now_us)
        try:
            writerlock.hold_segment(live.fd)
            live.write(chain.header_line(self._header(number, now_us)))
        except OSError:
            os.close(live.fd)
            with contextlib.suppress(OSError):  # empty, it is nobody's and in nobody's way
                path.unlink()
            raise
        self.retire()
        self._live, self.number = live, number
        if self._fsync != "none":
            self.later(regular.sync_directory, self._directory)

    def append(self, pending: list[livesegment.Pending], now_us: int) -> None:
        """Write records with one write(2), and one more for each segment that they fill.

        What is on file is taken from the list.

        Raises:
            RecordTooLarge, OSError: what is still in the list is not on file, nor any part of it.
        """
        while pending:
            live = self._live
            assert live is not None, "renew() comes first"
            numbered = livesegment.numbered(pending, live.records)
            data = b"".join(numbered)
            if len(data) > sealed.LINE_LIMIT:
                livesegment.refuse_too_large(numbered)
            fits = len(numbered)
            if live.size + len(data) > self._segment_bytes:
                fits = self._fitting(live, numbered)
                data = b"".join(numbered[:fits])
            if fits:
                self._write(live, data)
                self.bytes_written += len(data)
                live.records += fits
                live.ended_us = now_us
                written = pending[:fits]
                del pending[:fits]
                if self.on_written is not None:
                    self.on_written(live, written, numbered[:fits])
            if pending:
                self.rotate(now_us)
        if self._fsync == "interval" and self._batch is None:
            self._request_sync(())

    def retire(self) -> None:
        """Leave the live segment to the helper thread, which syncs it by policy and closes it."""
        self._leave(self._fsync != "none")

    def check(self) -> None:
        """Look whether what was written is still there and came to the disk.

        Raises:
            LogLocked: the lock is gone, and another process has the new one.
            OSError: it is not, or did not; the live segment is given up.
        """
        if not self.lock.is_held:
            self.lock.take()
            _log.warning("event_log_lock_restored", path=str(self._directory))
        error, self._error = self._error, None
        if error is not None:
            self._leave(False)  # to sync it once more may look like success
            raise error
        live = self._live
        if live is not None:
            problem = live.problem()
            if problem is not None:
                self.retire()
                raise OSError(errno.EIO, problem, str(live.path))
        if self._chain is not None and not self._chain.is_there():
            self.later(self._chain.restore)  # what fails of it the next check hears

    def when_synced(self, callback: Callable[[], object]) -> None:
        """Call back, on the helper thread, when all that is written now is on the disk."""
        self._request_sync((callback,))

    def later(self, chore: Callable[..., object], *arguments: Any) -> None:
        """Do something on the helper thread, after everything it was asked before."""
        self._helper.submit(self._attempt, chore, *arguments)

    def with_chain(self, chore: Callable[..., object], *arguments: Any) -> None:
        """Do something with the chain, as `later` would."""
        if self._chain is not None:
            self.later(chore, self._chain, *arguments)

    def save_first(self, segment: int) -> None:
        """Have the checkpoint say that a recovery may begin with a segment, once the ends of all
        streams that began before are on the disk."""
        if self._live is not None:
            self.later(self._save, self._live, self._chain, segment)
        else:
            self.with_chain(chainfile.ChainFile.save, segment)

    def close(self) -> None:
        """Wait for the helper thread, and let another process write."""
        self._closing.set()
        self.retire()
        self._helper.shutdown()
        if self._recovered is not None:  # too late for anybody to go on with it
            self._recovered.release()
            self._recovered = None
        kept, self._chain = self._chain, None
        if kept is not None and self._error is None:
            self._attempt(kept.close)
        elif kept is not None:
            kept.release()
        if self._error is not None:
            _log.error("event_log_not_closed", error=str(self._error))
        self.lock.release()

    def _header(self, number: int, now_us: int) -> chain.Header:
        before = self._before
        if self._live is not None:
            before = self._live.number, self._live.figures
        known = before is not None and before[0] == number - 1
        return chain.Header(
            number,
            events.SCHEMA_VERSION,
            self._writer,
            now_us,
            before[1] if before is not None and known else None,
        )

    def _fitting(self, live: livesegment.LiveSegment, numbered: list[bytes]) -> int:
        """How many of the lines a segment has room for; one without a record has it for any."""
        room = self._segment_bytes - live.size
        fits = sum(end <= room for end in itertools.accumulate(map(len, numbered)))
        return fits if fits or live.records else 1

    def _write(self, live: livesegment.LiveSegment, data: bytes) -> None:
        try:
            live.write(data)
        except OSError:
            try:
                live.undo()
            except OSError as error:
                _log.error("event_log_write_not_undone", segment=live.number, error=str(error))
                self.retire()
            raise

    def _leave(self, syncs: bool) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        self._before = live.number, live.figures
        with self._guard:
            self._batch = None
        self.later(self._finish, live, self._chain, syncs)

    def _finish(
        self, live: livesegment.LiveSegment, kept: chainfile.ChainFile | None, syncs: bool
    ) -> None:
        with contextlib.suppress(OSError):  # what could not be undone then, perhaps can be now
            live.undo()
        try:
            if syncs:
                self._force(live.fd)
        finally:
            os.close(live.fd)
        found = live.figures
        if kept is not None:
            kept.append(
                chain.Closed(live.number, found.records, found.bytes, found.crc32, live.ended_us)
            )

    def _recover(self) -> recovery.Found:
        """What the helper thread does for `acquire`."""
        self._error = None
        writerlock.refuse_if_written(self._directory)
        found = recovery.recover(self._directory, self._closing.is_set)
        following = max(self.number, found.newest) + 1
        self._recovered = chainfile.ChainFile(
            self._directory, found, following, syncs=self._fsync != "none"
        )
        return found

    def _release_chain(self) -> None:
        """Have the helper thread give up the chain, after all that it was asked to write there."""
        kept, self._chain = self._chain, None
        if kept is not None:
            self.later(kept.release)

    def _request_sync(self, callbacks: tuple[Callable[[], object], ...]) -> None:
        """Join the fsync that has not begun yet, or ask for one."""
        with self._guard:
            batch = self._batch
            if batch is None:
                batch = []
                # First: who joined a batch that nobody syncs would wait for ever, and all behind.
                self.later(self._sync, self._live, self._chain, batch)
                self._batch = batch
            batch.extend(callbacks)

    def _sync(
        self,
        live: livesegment.LiveSegment,
        kept: chainfile.ChainFile | None,
        batch: list[Callable[[], object]],
    ) -> None:
        try:
            if self._fsync == "interval":
                self._closing.wait(SYNC_INTERVAL_S)
            with self._guard:
                if self._batch is batch:
                    self._batch = None
            size = live.size
            if self._force(live.fd) and kept is not None and self._is_due():
                kept.save(synced=(live.number, size))
        finally:
            containment.each(containment.Boundary.LOG, _call, batch)

    def _save(
        self, live: livesegment.LiveSegment, kept: chainfile.ChainFile | None, first: int
    ) -> None:
        size = live.size
        on_disk = self._fsync != "none" and self._force(live.fd)
        if kept is not None and (on_disk or self._fsync == "none"):
            kept.save(first, synced=(live.number, size if on_disk else 0))

    def _is_due(self) -> bool:
        """Whether a checkpoint may say again how much is on the disk."""
        now = time.monotonic()
        if now - self._saved_s < SAVE_INTERVAL_S and self._fsync == "always":
            return False
        self._saved_s = now
        return True

    def _force(self, fd: int) -> bool:
        try:
            os.fsync(fd)
        except OSError as error:
            self._error = error
            return False
        return True

    def _attempt(self, chore: Callable[..., object], *arguments: Any) -> None:
        """Do a chore: nobody looks at its future, so a failure would pass unseen."""
        try:
            chore(*arguments)
        except OSError as error:
            self._error = error  # the next check fails for it
        except Exception as error:
            name = getattr(chore, "__name__", repr(chore))
            containment.report(containment.Boundary.LOG, error, task=name)


def _call(callback: Callable[[], object]) -> None:
    callback()
