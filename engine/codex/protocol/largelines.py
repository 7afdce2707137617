"""Takes a worker's long lines out of the way of the short ones.

The problem: a line may hold an answer of megabytes, and every turn of the process is behind it in
the same read. So a line over `LARGE_BYTES` is taken in a round of the loop of its own. Lines of
the same thread that come meanwhile wait behind it, so a stream's order is what it was; those of
all other threads do not wait.

Whose a long line is, its first and its last bytes say: it is not decoded for that. Lines that no
turn wants are never decoded at all, and the largest that come are of that kind: the echo of what
was injected into a thread.
"""

import asyncio
import collections
import re
from collections.abc import Callable, Container
from typing import Final

LARGE_BYTES: Final = 1 << 20
"""Longest line that is taken with its read: its decoding costs about a millisecond."""

EVENT_BYTES: Final = 64 << 20
"""Longest line that is decoded for a turn: an item's end repeats all of its text."""

ECHO: Final = b'"turnId":"auto-compact-'
"""How the turn begins that an echo of injected items names."""

_SEEN: Final = 512
"""Bytes at either end of a line that are looked at."""

_HEAD: Final = re.compile(rb'\{"method":"[^"]{1,100}","params":\{"threadId":"([^"\\]{1,100})"')
_TAIL: Final = re.compile(rb'"threadId":"([^"\\]{1,100})"')


def thread_of(line: bytes) -> str | None:
    """The thread that a line is about, as far as its ends tell."""
    head = _HEAD.match(line[:_SEEN])
    if head is not None:
        return head[1].decode("utf-8", "replace")
    found = _TAIL.findall(line[-_SEEN:])
    return found[-1].decode("utf-8", "replace") if found else None


class LargeLines:
    """The long lines of one process, and what waits behind them.

    Args:
        take: takes one line; never raises.
        threads: those that somebody listens to.
        too_large: told of a thread one of whose lines is over `EVENT_BYTES`.

    Attributes:
        waiting: the lines that wait, by thread; None for those that name none.
    """

    def __init__(
        self,
        take: Callable[[bytes], None],
        threads: Container[str],
        too_large: Callable[[str], None],
    ) -> None:
        self._take = take
        self._threads = threads
        self._too_large = too_large
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[str | None, collections.deque[bytes]] = {}

    def divert(self, lines: list[bytes]) -> list[bytes]:
        """The lines that are taken now; the others are kept."""
        return [line for line in lines if not self._keeps(line)]

    def finish(self) -> None:
        """Take everything that waits now: nothing more will come."""
        for thread in list(self.waiting):
            while thread in self.waiting:
                self._next(thread)

    def _keeps(self, line: bytes) -> bool:
        large = len(line) > LARGE_BYTES
        if not large and not self.waiting:
            return False
        thread = thread_of(line)
        waiting = self.waiting.get(thread)
        if waiting is not None:
            waiting.append(line)
        elif large:
            self.waiting[thread] = collections.deque((line,))
            self._loop.call_soon(self._work, thread)
        return large or waiting is not None

    def _work(self, thread: str | None) -> None:
        if thread in self.waiting:  # not where everything was taken at once meanwhile
            self._next(thread)
        if thread in self.waiting:
            self._loop.call_soon(self._work, thread)

    def _next(self, thread: str | None) -> None:
        waiting = self.waiting[thread]
        line = waiting.popleft()
        if not waiting:
            del self.waiting[thread]
        if len(line) <= LARGE_BYTES or thread is None:
            self._take(line)
        elif thread in self._threads and ECHO not in line[:_SEEN]:
            if len(line) > EVENT_BYTES:
                self._too_large(thread)
            else:
                self._take(line)
