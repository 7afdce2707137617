"""When each chunk of many streams is due: the same for every program that says chunks here."""

import heapq
import itertools
import time
from typing import Final, Generic, TypeVar

GOLDEN_SECTION: Final = 0.6180339887498949
"""Multiples of it spread streams evenly over an interval, however many there are."""

T = TypeVar("T")


class Schedule(Generic[T]):
    """Streams, each with the time its next chunk is due. Times are of `time.monotonic`."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._added = itertools.count(1)

    def add(self, stream: T, interval: float) -> None:
        """Have a stream begin within its interval: not all of them in the same moment."""
        phase = next(self._added) * GOLDEN_SECTION % 1
        self._push(stream, time.monotonic() + interval * phase)

    def wait(self) -> float | None:
        """Seconds until a chunk is due; None where there is no stream."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def take(self) -> list[tuple[float, T]]:
        """The streams that are due, each with the time it was; they are no longer scheduled."""
        now = time.monotonic()
        taken = []
        while self._due and self._due[0][0] <= now:
            due, _, stream = heapq.heappop(self._due)
            taken.append((due, stream))
        return taken

    def again(self, stream: T, due: float, interval: float) -> None:
        """Have a stream that was due at `due` say its next chunk an interval later."""
        self._push(stream, due + interval)

    def _push(self, stream: T, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), stream))


def stamp(number: int) -> str:
    """The text of a chunk that carries when it was said, and which of its stream it is.

    Args:
        number: of chunks before it; the time is in microseconds since the epoch.
    """
    return f"{time.time_ns() // 1000} {number} "
