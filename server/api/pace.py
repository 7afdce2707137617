"""The pace of an answer of many lines: a client that reads slowly is waited for."""

import asyncio

from server.http.exchange import Exchange


class Pace:
    """Waits while a client reads more slowly than lines are made.

    Attributes:
        is_gone: whether there is no client any more.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.is_gone = False
        self._free = asyncio.Event()
        self._free.set()
        exchange.on_pressure = lambda _: self._free.clear()
        exchange.on_relief = self._free.set
        exchange.on_gone = lambda _: self._leave()

    async def wait(self) -> None:
        """Wait until the client has taken most of what was written, or has left."""
        await asyncio.sleep(0)  # pressure is told in the loop's next round
        await asyncio.sleep(0)
        await self._free.wait()

    def _leave(self) -> None:
        self.is_gone = True
        self._free.set()
