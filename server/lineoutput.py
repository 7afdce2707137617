"""Writes lines to a descriptor from a thread of its own, so that whoever has a line never waits.

Standard error may be a pipe that nobody reads, a full disk, a slow terminal, a socket of the
journal. A write to it can block for as long as it likes, and the event loop with it. O_NONBLOCK is
no way out: it belongs to the open file description, which the shell and every other process on
that terminal share. So lines wait in a bounded queue, one thread writes them in their order, and
what finds the queue full, or cannot be written, is dropped and counted.
"""

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

from engine import containment

MAX_WAITING: Final = 4 << 20
"""Bytes that may wait to be written: some 10,000 lines."""

BATCH: Final = 64 << 10
"""About how many bytes one write takes: as many as a pipe holds on Linux."""


class LineOutput:
    """Lines on their way to one descriptor, which stays its owner's.

    Args:
        on_gap: called in the writing thread, once lines can be written again, with how many were
            dropped since its last call.
    """

    def __init__(self, descriptor: int, on_gap: Callable[[int], object]) -> None:
        self.descriptor = descriptor
        self._on_gap = on_gap
        self._starting = threading.RLock()
        self._begin()

    def _begin(self) -> None:
        # SimpleQueue.put may interrupt itself: a collection or a signal handler may have a line.
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # There is no lock a line. Those who have lines change the first two counts, the writing
        # thread the others; where two of them count at once, a limit is off by one line.
        self._accepted = 0
        self._refused = 0
        self._taken = 0
        self._unwritten = 0
        self._reported = 0
        self._mend = b""

    @property
    def dropped(self) -> int:
        """Lines that were not written, since the beginning."""
        return self._refused + self._unwritten

    def write(self, line: bytes | str) -> None:
        """Have a line written; it never blocks and never raises."""
        data = line if isinstance(line, bytes) else line.encode("utf-8", "replace")
        size = len(data) + 1
        if self._accepted - self._taken + size > MAX_WAITING:
            self._refused += 1
            return
        self._accepted += size
        self._queue.put(data)
        if self._thread is None:
            self._start()

    debug = info = warning = error = critical = write
    """The methods that structlog calls, named for the line's logger."""

    def flush(self, seconds: float) -> bool:
        """Wait until all that was accepted is written or dropped; False: it takes longer."""
        if self._thread is None:
            return True
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(seconds)

    def begin_in_child(self) -> None:
        """Go on after a fork: the thread is the parent's, and so are the lines that wait."""
        self._begin()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread begins any more: the interpreter ends
                    self._thread = None

    def _run(self) -> None:
        while True:
            try:
                self._take()
            except Exception as error:  # its own line will tell of it
                containment.report(containment.Boundary.CALLBACK, error)

    def _take(self) -> None:
        """Wait for lines, and write as many as make a batch."""
        batch: list[bytes] = []
        size = 0
        item = self._queue.get()
        while isinstance(item, bytes):
            batch.append(item)
            size += len(item) + 1
            if size >= BATCH or self._queue.empty():
                break
            item = self._queue.get()
        if batch:
            try:
                self._write_batch(batch)
            finally:
                self._taken += size
        if isinstance(item, threading.Event):
            item.set()

    def _write_batch(self, batch: list[bytes]) -> None:
        data = self._mend + b"\n".join(batch) + b"\n"
        written = 0
        try:
            while written < len(data):
                written += self._write_some(memoryview(data)[written:])
        except OSError:  # a full disk, a closed pipe
            self._unwritten += data.count(b"\n", max(written, len(self._mend)))
            if written:  # what was cut off within a line shall not swallow the next one
                self._mend = b"" if data[written - 1] == 0x0A else b"\n"
            return
        self._mend = b""
        gap = self.dropped - self._reported
        if gap:
            self._reported += gap
            self._on_gap(gap)

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:  # somebody else made it so, for everyone
                poll = select.poll()
                poll.register(self.descriptor, select.POLLOUT)
                poll.poll()
