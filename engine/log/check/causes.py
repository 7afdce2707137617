"""Groups divergences by their cause: one change of the code may make a million streams differ."""

from collections.abc import Iterable

import msgspec

from engine.log import replay


class Group(msgspec.Struct):
    """The streams that differ by one cause.

    Attributes:
        first_us: when the first of them differed, as recorded; `last_us` when the last did.
        example: the first of them.
    """

    cause: replay.Cause
    count: int
    first_us: int
    last_us: int
    example: replay.Divergence


class Groups:
    """All divergences of a log; in whatever order they come, the result is the same."""

    def __init__(self) -> None:
        self._groups: dict[replay.Cause, Group] = {}

    def take(self, found: replay.Divergence) -> None:
        """Add a divergence."""
        self.join([Group(found.cause, 1, found.t, found.t, found)])

    def join(self, groups: Iterable[Group]) -> None:
        """Add those that somebody else has grouped."""
        for other in groups:
            own = self._groups.setdefault(other.cause, other)
            if own is not other:
                own.count += other.count
                own.first_us = min(own.first_us, other.first_us)
                own.last_us = max(own.last_us, other.last_us)
                own.example = min(own.example, other.example, key=_order)

    @property
    def count(self) -> int:
        """The number of streams that differ."""
        return sum(each.count for each in self._groups.values())

    def sorted(self) -> list[Group]:
        """The groups, the largest first; of equal ones the earliest."""
        return sorted(self._groups.values(), key=lambda each: (-each.count, _order(each.example)))


def _order(found: replay.Divergence) -> tuple[int, str]:
    return found.t, found.stream
