"""How late the event loop is, which is how late every stream's next token may be.

A timer wants to fire every tenth of a second; by how much it does so late is the lag. A callback
that holds the loop for two seconds keeps twenty of them waiting, so it counts for as many.
"""

import asyncio
import collections
from typing import Final

import msgspec

from engine import lateness

PERIOD_S: Final = 0.1
"""Between two looks at the loop: 10 wake-ups a second, 20 µs of CPU time each."""

WINDOW_S: Final = 60
"""Seconds that the figures cover."""


STALLS: Final = 64
"""The latest times that the loop was held, each longer than a callback may take."""


class Figures(msgspec.Struct, frozen=True):
    """The lag of the last `WINDOW_S`, in milliseconds; 0 before the first look."""

    p99: float
    max: float


class LoopLag:
    """Measures the running loop, once `watch` runs."""

    def __init__(self) -> None:
        looks = round(WINDOW_S / PERIOD_S)
        self._lags: collections.deque[float] = collections.deque(maxlen=looks)
        self._held: collections.deque[tuple[float, float]] = collections.deque(maxlen=STALLS)

    async def watch(self) -> None:
        """Look at the loop until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            now = loop.time()
            self.late(now - due)
            if now - due > lateness.LATE_S:
                self._held.append((due, now))

    def late(self, seconds: float) -> None:
        """Note that a look was so late."""
        self._lags.append(max(0.0, seconds))
        while (seconds := seconds - PERIOD_S) > 0:  # a look that there was no time for
            self._lags.append(seconds)

    def held(self, since: float, until: float) -> float:
        """Seconds between two times of the loop in which one callback held it."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in self._held)

    def figures(self) -> Figures:
        """The lag of the last minute."""
        lags = sorted(self._lags) or [0.0]
        p99 = lags[(len(lags) * 99 - 1) // 100]
        return Figures(round(p99 * 1000, 1), round(lags[-1] * 1000, 1))
