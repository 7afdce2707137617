"""Lets the small reads of a busy pipe gather into larger ones.

With hundreds of paced streams a worker writes a line every few dozen microseconds, and each is a
wake-up: a read, a write of the log, a round of the loop. From `BUSY` lines a second on, a read
that brought little is followed by a pause of `PAUSE_S`, in which the next lines gather. That is
the most it adds to a token's latency; at lower rates it adds nothing.
"""

import asyncio
from typing import Final, Protocol

BUSY: Final = 5_000
"""Lines a second: below, pauses would delay tokens and spare next to nothing."""

WINDOW_S: Final = 0.02
"""Over how long lines are counted."""

SMALL_BYTES: Final = 16 << 10
"""A read that brought more is worth its wake-up: in a flood there is nothing to gain."""

PAUSE_S: Final = 0.001
"""How long lines gather."""


class Pipe(Protocol):
    """The methods of a read transport that are needed here."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again."""


class ReadCoalescer:
    """Counts the lines of one pipe, and pauses it where small reads come too fast."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: Pipe) -> None:
        self._loop = loop
        self._pipe = pipe
        self._since = loop.time()
        self._lines = 0
        self._rate = 0.0

    def on_read(self, data: bytes) -> None:
        """Count what a read brought; the next may have to wait."""
        if len(data) >= SMALL_BYTES:
            return
        self._lines += data.count(b"\n")
        elapsed = self._loop.time() - self._since
        if elapsed >= WINDOW_S:
            self._rate = self._lines / elapsed
            self._since += elapsed
            self._lines = 0
        if self._rate >= BUSY:
            self._pipe.pause_reading()
            self._loop.call_later(PAUSE_S, self._pipe.resume_reading)
