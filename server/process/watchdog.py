"""Ends a process whose stop does not end: the last of the limits that a stop has."""

import os
import queue
import threading
from collections.abc import Callable

import structlog

from server.process import exits

_log = structlog.get_logger(component="server")


class Watchdog:
    """A thread that waits for a stop to begin, and then for it to end.

    The event loop's own limits are of no use where the loop itself waits: for a disk that is gone,
    or a lock. A thread goes on where what holds the loop is a system call.

    Args:
        limit: how many seconds a stop may take; asked in the thread, once it begins.
        last_words: called before the end, in the thread.
    """

    def __init__(self, limit: Callable[[], float], last_words: Callable[[], object]) -> None:
        self._limit = limit
        self._last_words = last_words
        # A signal handler puts into it, within whatever the program just does.
        self._stop_begins: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop_begins(self) -> None:
        """Begin to count, unless that has begun; may be called in a signal handler."""
        self._stop_begins.put(None)

    def release(self) -> None:
        """The stop has ended."""
        self._over.set()
        self._stop_begins.put(None)

    def _watch(self) -> None:
        self._stop_begins.get()
        seconds = self._limit()
        if not self._over.wait(seconds):
            _log.critical("stop_timed_out", seconds=seconds)
            self._last_words()
            os._exit(exits.FAILED)
