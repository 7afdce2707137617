"""Deadlines of what others say, which give what waits to be read a moment where they fire late.

A loop that was held up, or a server that was stopped, finds its timers over before it has read a
line: the reply may be there. So a timer that fires late does not count yet.
"""

import asyncio
from collections.abc import Callable
from typing import Final

LATE_S: Final = 0.05
"""Seconds by which a timer may be late on a loop that turns; the limit of one callback's time."""

READ_S: Final = 0.1
"""Seconds in which what waits is read."""


class Deadline:
    """One call after so many seconds, or after what waits to be read by then.

    Args:
        seconds: from now.
        act: called once, unless the deadline was cancelled before.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._due = loop.time() + seconds
        self._act = act
        self._timer = loop.call_later(seconds, Deadline._passed, self)

    def __repr__(self) -> str:
        """Return the name of what is called: a timer that is left is known by it."""
        return str(getattr(self._act, "func", self._act).__qualname__)

    def cancel(self) -> None:
        """Have it never pass; safe to repeat."""
        self._timer.cancel()

    def _passed(self) -> None:
        if self._loop.time() - self._due > LATE_S:
            self._timer = self._loop.call_later(READ_S, self._act)
        else:
            self._act()
