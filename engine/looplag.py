"""How late the event loop is, which is how late every stream's next token may be.

A timer wants to fire every tenth of a second; by how much it does so late is the lag. A callback
that holds the loop for two seconds keeps twenty of them waiting, so it counts for as many.
"""

import asyncio
import collections
from typing import Final

import msgspec

PERIOD_S: Final = 0.1
"""Between two looks at the loop: 10 wake-ups a second, 20 µs of CPU time each."""

WINDOW_S: Final = 60
"""Seconds that the figures cover."""


class Figures(msgspec.Struct, frozen=True):
    """The lag of the last `WINDOW_S`, in milliseconds; 0 before the first look."""

    p99: float
    max: float


class LoopLag:
    """Measures the running loop, once `watch` runs."""

    def __init__(self) -> None:
        looks = round(WINDOW_S / PERIOD_S)
        self._lags: collections.deque[float] = collections.deque(maxlen=looks)

    async def watch(self) -> None:
        """Look at the loop until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.late(loop.time() - due)

    def late(self, seconds: float) -> None:
        """Note that a look was so late."""
        self._lags.append(max(0.0, seconds))
        while (seconds := seconds - PERIOD_S) > 0:  # a look that there was no time for
            self._lags.append(seconds)

    def figures(self) -> Figures:
        """The lag of the last minute."""
        lags = sorted(self._lags) or [0.0]
        p99 = lags[(len(lags) * 99 - 1) // 100]
        return Figures(round(p99 * 1000, 1), round(lags[-1] * 1000, 1))
