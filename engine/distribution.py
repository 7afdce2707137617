"""Observations counted into buckets, as a histogram hands them over."""

import bisect

import msgspec


class Distribution(msgspec.Struct):
    """The observations of one thing.

    Attributes:
        counts: observations in each bucket, the last of them beyond every bound; not cumulated.
    """

    counts: list[int]
    sum: float = 0.0

    def observe(self, value: float, bounds: tuple[float, ...], times: int = 1) -> None:
        """Count a value: a bound belongs to the bucket that it ends."""
        self.counts[bisect.bisect_left(bounds, value)] += times
        self.sum += value * times

    def copy(self) -> "Distribution":
        """Return what was seen so far."""
        return Distribution([*self.counts], self.sum)


def empty(bounds: tuple[float, ...]) -> Distribution:
    """Return a distribution that has seen nothing."""
    return Distribution([0] * (len(bounds) + 1))
