"""The event log's files while they are written: the lock, the live segment, the helper thread.

There is one writer a directory. A write that fails is undone before it is reported, so no part of
a group stays behind. What takes its time (fsync, closing, deleting) is done by a helper thread,
one thing after the other in the order it was asked for.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from engine import segments

SYNC_INTERVAL_S: Final = 1.0
"""With `interval`: the longest that records are on file before they are forced to the disk."""

FsyncPolicy = Literal["none", "interval", "always"]
"""When records are forced to the disk: never, within an interval, before their bytes are sent."""

Pending = tuple[bytes, int, bytes]
"""A record before it has its place in a segment: what comes before the value of `seq`, `seq`, and
the rest from the value of `t` on, without the checksum."""

_log = structlog.get_logger(component="event_log")


class LogLocked(OSError):
    """Raised where another process writes to the directory."""


class SegmentWriter:
    """The live segment of a directory, from one rotation to the next.

    Attributes:
        number: of the live segment; 0 before the first.
        size: its bytes.
        records: how many it holds.
        opened_us: when it was begun.
    """

    def __init__(self, directory: Path, fsync: FsyncPolicy, segment_bytes: int) -> None:
        self.number = 0
        self.size = 0
        self.records = 0
        self.opened_us = 0
        self._directory = directory
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._lock: int | None = None
        self._helper = ThreadPoolExecutor(1, "event-log")
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._batch: list[Callable[[], object]] | None = None
        self._sync_error: OSError | None = None

    def acquire(self) -> None:
        """Make the directory and become its one writer, where that is not so already.

        Raises:
            LogLocked: another process writes there.
            OSError: the directory cannot be made or written to.
        """
        path = self._directory / "lock"
        if self._lock is not None and _is_at(path, self._lock):
            return
        self._unlock()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(lock, 20).decode(errors="replace").strip()
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            reason = f"process {owner} writes its event log here already"
            raise LogLocked(error.errno, reason, str(self._directory)) from None
        self._lock = lock
        with contextlib.suppress(OSError):  # it only serves the message above
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)

    def renew(self, now_us: int) -> None:
        """Go on in a segment that nothing was written to yet.

        Raises:
            LogLocked, OSError: there is none to go on in.
        """
        self.acquire()
        if self._fd is None or self.records:
            self.rotate(now_us)

    def rotate(self, now_us: int) -> None:
        """Begin the next segment.

        Raises:
            OSError: it cannot be made; the live one stays.
        """
        newest = segments.list_segments(self._directory)[-1:]
        number = 1 + max([self.number, *(segment.number for segment in newest)])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._directory / segments.segment_name(number), flags, 0o600)
        self.retire()
        self._fd, self.number, self.opened_us = fd, number, now_us
        self.size = self.records = 0
        if self._fsync != "none":
            self.later(self._sync_directory)

    def append(self, pending: list[Pending], now_us: int) -> None:
        """Write records with one write(2), and one more for each segment that they fill.

        What is on file is taken from the list.

        Raises:
            OSError: what is still in the list is not on file, nor is any part of it.
        """
        while pending:
            lines = _numbered(pending, self.records)
            data = b"".join(lines)
            fits = len(lines)
            if self.size + len(data) > self._segment_bytes:
                fits = self._fitting(lines)
                data = b"".join(lines[:fits])
            if fits:
                self._write(data)
                self.records += fits
                del pending[:fits]
            if pending:
                self.rotate(now_us)
        if self._fsync == "interval" and self._batch is None:
            self._request_sync(())

    def _fitting(self, lines: list[bytes]) -> int:
        """How many of the lines the live segment has room for; an empty one has it for any."""
        room = self._segment_bytes - self.size
        fits = sum(end <= room for end in itertools.accumulate(map(len, lines)))
        return fits if fits or self.records else 1

    def _write(self, data: bytes) -> None:
        assert self._fd is not None, "renew() comes first"
        rest = data
        try:
            while rest:  # a second time only to hear why the first was short
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._undo(self._fd)
            raise
        self.size += len(data)

    def retire(self) -> None:
        """Leave the live segment to the helper thread, which syncs it by policy and closes it."""
        self._leave(self._finish)

    def check(self) -> None:
        """Look whether what was written is still there and came to the disk.

        Raises:
            OSError: it is not, or did not; the live segment is given up.
        """
        error, self._sync_error = self._sync_error, None
        if error is not None:
            self._leave(os.close)  # to sync it once more may look like success
            raise error
        path = self._directory / segments.segment_name(self.number)
        if self._fd is not None and not _is_at(path, self._fd):
            self.retire()
            raise FileNotFoundError(errno.ENOENT, "the live segment is gone", str(path))

    def when_synced(self, callback: Callable[[], object]) -> None:
        """Call back, on the helper thread, when all that is written now is on the disk."""
        self._request_sync((callback,))

    def later(self, chore: Callable[..., object], *arguments: Any) -> None:
        """Do something on the helper thread, after everything it was asked before."""
        self._helper.submit(self._attempt, chore, *arguments)

    def close(self) -> None:
        """Wait for the helper thread, and let another process write."""
        self._closing.set()
        self.retire()
        self._helper.shutdown()
        if self._sync_error is not None:
            _log.error("event_log_not_synced", error=str(self._sync_error))
        self._unlock()

    def _leave(self, chore: Callable[[int], None]) -> None:
        if self._fd is None:
            return
        with self._guard:
            self._batch = None
        self.later(chore, self._fd)
        self._fd = None

    def _undo(self, fd: int) -> None:
        try:
            os.ftruncate(fd, self.size)
        except OSError as error:
            _log.error("event_log_write_not_undone", segment=self.number, error=str(error))
            self.retire()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _request_sync(self, callbacks: tuple[Callable[[], object], ...]) -> None:
        """Join the fsync that has not begun yet, or ask for one."""
        with self._guard:
            if self._batch is None:
                self._batch = []
                self.later(self._sync, self._fd, self._batch)
            self._batch.extend(callbacks)

    def _sync(self, fd: int, batch: list[Callable[[], object]]) -> None:
        if self._fsync == "interval":
            self._closing.wait(SYNC_INTERVAL_S)
        with self._guard:
            if self._batch is batch:
                self._batch = None
        self._force(fd)
        for callback in batch:
            callback()

    def _finish(self, fd: int) -> None:
        if self._fsync != "none":
            self._force(fd)
        os.close(fd)

    def _sync_directory(self) -> None:
        """A new segment is on the disk when its name is."""
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._force(fd)
        os.close(fd)

    def _force(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as error:
            self._sync_error = error

    def _attempt(self, chore: Callable[..., object], *arguments: Any) -> None:
        try:
            chore(*arguments)
        except Exception:  # nobody looks at the future, so a failure would pass unseen
            _log.exception("event_log_chore_failed", chore=chore.__name__)


def _is_at(path: Path, fd: int) -> bool:
    """Whether an open file is still the one that its path leads to."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _numbered(pending: list[Pending], first: int) -> list[bytes]:
    """The lines of records, numbered from `first` in their segment.

    It is `segments.seal` for each, without the call: this is a token's hot path.
    """
    lines = []
    for seg, (prefix, seq, rest) in enumerate(pending, first):
        body = b'%b%d,"seg":%d,"t":%b' % (prefix, seq, seg, rest)
        lines.append(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    return lines
