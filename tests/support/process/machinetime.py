"""Limits in seconds that hold on a busy machine: its own seconds, not those of the clock.

"Released within a second" is a promise about what the server waits for and how much it has to
compute. With three processes for each core a second of the clock is a third of a second for any of
them, and such a limit measures the others. Here a second passes as fast as the machine lets a
process run: with R processes that want to run on C cores, at C/R of the clock's pace; and while
any process waits for a core or for the disk, as Linux counts that, hardly at all.

A limit that only keeps a test from hanging needs none of this: it is `HANG_S` of the clock.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

HANG_S: Final = 60.0
"""After so many seconds of the clock what has not come will never come, on any machine."""

SECOND: Final = 1.0
"""How long anything may be held after its end, in the machine's seconds."""

PAUSE_S: Final = 0.01
"""Between two looks at how busy the machine is."""

SLOWEST: Final = 1 / 20
"""The least part of the clock's pace: whatever the machine does, a limit is reached."""

_LOAD: Final = Path("/proc/loadavg")

_PRESSURE: Final = (Path("/proc/pressure/cpu"), Path("/proc/pressure/io"))
"""What Linux counts of processes that wait, where it does."""


def pace() -> float:
    """How fast the machine's seconds pass now, as a part of the clock's.

    The fourth field of `/proc/loadavg` has the tasks that can run at this moment; the caller is
    one of them. Where there is no such file the clock counts.
    """
    try:
        runnable = int(_LOAD.read_text().split()[3].partition("/")[0])
    except OSError:
        return 1.0
    cores = len(os.sched_getaffinity(0))
    return max(SLOWEST, min(1.0, cores / max(runnable, 1)))


def slowness() -> float:
    """By how much things take longer than on an idle machine, now and in the last minute."""
    cores = len(os.sched_getaffinity(0))
    return max(1.0, 1 / pace(), os.getloadavg()[0] / cores)


def waited() -> float:
    """Seconds since the machine's start in which some process waited, for a core or for the disk.

    The first line of each file is `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, in
    microseconds; see `Documentation/accounting/psi.rst` of Linux.
    """
    total = 0
    for each in _PRESSURE:
        with contextlib.suppress(OSError):
            total += int(each.read_text().partition("\n")[0].rpartition("=")[2])
    return total / 1_000_000


class Stopwatch:
    """Counts the machine's seconds, at every `read`; the more often, the more exactly."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._read_at = time.monotonic()
        self._waited = waited()

    def read(self) -> float:
        """The seconds since the beginning."""
        now, others = time.monotonic(), waited()
        seconds = now - self._read_at
        unhindered = seconds - (others - self._waited)
        self._seconds += max(seconds * SLOWEST, min(seconds * pace(), unhindered))
        self._read_at, self._waited = now, others
        return self._seconds


def until(is_so: Callable[[], bool], seconds: float = HANG_S) -> None:
    """Wait for something that can only be looked at, for so many of the machine's seconds."""
    watch = Stopwatch()
    while not is_so():
        assert watch.read() < seconds, f"not within {seconds} s"
        threading.Event().wait(PAUSE_S)


@contextlib.contextmanager
def within(limit: float) -> Iterator[None]:
    """Require of a block that it ends within so many of the machine's seconds."""
    watch = Stopwatch()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(PAUSE_S):
            watch.read()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
    took = watch.read()
    assert took < limit, f"it took {took:.2f} s of the machine's time, and may take {limit} s"
