"""How many streams may be open at once: `PROXY_SSE_MAX_CONCURRENCY`, and the limit of each key.

A permit is owned. Whoever took it gives it back by itself and once, so nobody has to find out
from an ending whether one was taken: an upstream that uses our own error codes changes nothing.
"""

import enum


class Hold(enum.Enum):
    """Whether a permit still counts."""

    TAKEN = enum.auto()
    RELEASED = enum.auto()


class Permit:
    """The right to have some streams open; `Permits.take` and `take_all` make it."""

    def __init__(self, shares: "tuple[tuple[Permits, int], ...]") -> None:
        self._shares = shares
        self._hold = Hold.TAKEN

    def release(self) -> None:
        """Give it back. Safe to repeat."""
        if self._hold is Hold.TAKEN:
            self._hold = Hold.RELEASED
            for permits, count in self._shares:
                permits.taken -= count


class Permits:
    """The permits of a server, or of a key.

    Args:
        limit: how many streams may be open; 0 for no limit.

    Attributes:
        taken: how many are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def counts(self, before: int) -> dict[str, int]:
        """Return how many were taken before one was asked for, how many are since, and the
        limit."""
        return {"before": before, "after": self.taken, "limit": self.limit}

    def has_room(self, count: int) -> bool:
        """Whether there is a permit for `count` streams."""
        return not self.limit or self.taken + count <= self.limit

    def take(self, count: int) -> Permit | None:
        """A permit for `count` streams; None while there are not so many."""
        return take_all((self, count))


def take_all(*shares: tuple[Permits, int]) -> Permit | None:
    """One permit for streams that count for several limits; None while any of them has no room,
    and then nothing is taken of the others."""
    if not all(permits.has_room(count) for permits, count in shares):
        return None
    for permits, count in shares:
        permits.taken += count
    return Permit(shares)
