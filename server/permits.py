"""How many streams may be open at once: `PROXY_SSE_MAX_CONCURRENCY`.

A permit is owned. Whoever took it gives it back by itself and once, so nobody has to find out
from an ending whether one was taken: an upstream that uses our own error codes changes nothing.
"""

import enum


class Hold(enum.Enum):
    """Whether a permit still counts."""

    TAKEN = enum.auto()
    RELEASED = enum.auto()


class Permit:
    """The right to have some streams open; `Permits.take` makes it."""

    def __init__(self, permits: "Permits", count: int) -> None:
        self._permits = permits
        self._count = count
        self._hold = Hold.TAKEN

    def release(self) -> None:
        """Give it back. Safe to repeat."""
        if self._hold is Hold.TAKEN:
            self._hold = Hold.RELEASED
            self._permits.taken -= self._count


class Permits:
    """The permits of a server.

    Args:
        limit: how many streams may be open; 0 for no limit.

    Attributes:
        taken: how many are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, count: int) -> Permit | None:
        """A permit for `count` streams; None while there are not so many."""
        if self.limit and self.taken + count > self.limit:
            return None
        self.taken += count
        return Permit(self, count)
