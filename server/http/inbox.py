"""What a connection has received and its server has not taken yet."""

import asyncio
from typing import Final

AHEAD_BYTES: Final = 64 * 1024
"""Bytes that may be received ahead of the reader before the socket is read no more."""


class Inbox:
    """Bytes in the order in which they came; an empty piece is the input's end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be read until something is taken."""
        return self._bytes >= AHEAD_BYTES

    def put(self, data: bytes) -> None:
        """Add received bytes."""
        self._pieces.append(data)
        self._bytes += len(data)
        self._taken.clear()
        self._arrived.set()

    async def take(self, timeout: float | None) -> list[bytes]:
        """Take all bytes that came since the last call, waiting for some if there are none.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        if not self._pieces:
            self._arrived.clear()
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        taken, self._pieces = self._pieces, []
        self._bytes = 0
        self._taken.set()
        return taken

    async def taken(self, timeout: float) -> None:
        """Wait until all received bytes were taken.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            await self._taken.wait()
