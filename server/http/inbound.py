"""The receiving half of a connection: its stream is read until the end, whatever else goes on.

So a client's leaving is noticed at once. Reading pauses when too much has come ahead of whoever
takes it. Then the end stands behind the rest, and the socket is asked now and then whether the
client is still there.
"""

import asyncio
import select
import socket
from typing import Final

from engine import containment
from server.http import outbound

AHEAD_BYTES: Final = 64 * 1024
"""Bytes that may be received ahead of who takes them before the socket is read no more."""

READ_BYTES: Final = 64 * 1024
"""Most bytes that one read takes from the stream."""

LOOK_S: Final = 0.25
"""Seconds between two looks at a socket that is not read, to see whether its client has left."""

CLIENT_GONE: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
"""The poll(2) events of a socket whose client closed or reset it; POLLRDHUP is Linux's own."""


class Inbound:
    """Hold received bytes in the order in which they came; an empty piece is the input's end.

    Args:
        reader: the connection's stream.
        writer: of the same connection; its socket is asked whether the client is there.
        listener: hears that the client has left, at least once.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listener: outbound.Listener,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._listener = listener
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    async def read(self) -> None:
        """Read until the client's end of the stream, with pauses where too much came ahead.

        It is a task of its own, whose owner lets go of it in the end: a task that was cancelled
        keeps the error, and by its traceback all of this.
        """
        try:
            while data := await self._reader.read(READ_BYTES):
                self._put(data)
                while self._bytes >= AHEAD_BYTES:
                    await self._pause()
        except OSError:
            # A reset ends the input as a close does.
            pass
        except Exception as error:
            containment.report(containment.Boundary.CONNECTION, error)
        # Whoever waits for more must learn that none comes, whatever ended it.
        self._put(b"")
        asyncio.get_running_loop().call_soon(self._listener.lost)

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

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._bytes += len(data)
        self._taken.clear()
        self._arrived.set()

    async def _pause(self) -> None:
        """Wait until the bytes were taken, or for as long as a client may leave unnoticed."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._taken.wait()
        except TimeoutError:
            if self._has_left():
                self._listener.lost()

    def _has_left(self) -> bool:
        """Whether the client has closed its side, though not all that it sent was read."""
        connected: socket.socket = self._writer.get_extra_info("socket")
        if connected.fileno() < 0:  # closed on our side, which ends the reading too
            return False
        poll = select.poll()
        poll.register(connected.fileno(), CLIENT_GONE)
        return bool(poll.poll(0))
