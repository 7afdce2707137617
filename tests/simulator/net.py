"""Connections in memory: the product's transport, and what its peer at the other end can do.

The product is the server of its clients, and the client of its upstream: it has the same
transport for both.
"""

import asyncio
import collections
import math
import socket
from collections.abc import Callable
from typing import Any, Final

NO_DESCRIPTOR: Final = 1 << 30
"""A number that no file is open under: asking the kernel about it fails, as it may."""


def next_tick(now: float, tick: float) -> float:
    """When what is written now is read, where that is done so often."""
    return math.floor(now / tick + 1) * tick


class _Socket:
    """What is asked of a transport's socket."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return NO_DESCRIPTOR

    def setsockopt(self, *_: Any) -> None:
        """A reset on close is what `Wire.close` does anyway: nothing is lost in memory."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 11435


class Port:
    """What a server listens on; it is also the `asyncio.Server` that the server is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sockets = [_Socket()]
        self._loop = loop
        self._factory: Callable[[], Any] | None = None

    def listen(self, factory: Callable[[], Any]) -> None:
        """Accept connections from now on."""
        self._factory = factory

    async def start_serving(self) -> None:
        """Nothing: connections are accepted already."""

    def close(self) -> None:
        """Refuse connections from now on."""
        self._factory = None

    def connect(self, room: int | None) -> "Wire | None":
        """A connection; None where it is refused."""
        if self._factory is None:
            return None
        return Wire(self._loop, self._factory(), room)


class Wire(asyncio.Transport):
    """One connection: the methods of a transport are the product's, the others its peer's.

    Args:
        room: bytes that the peer and its system take before it reads on; None: all there are.

    Attributes:
        received: what has come to the peer.
        arrivals: times, and how many bytes had come by then.
        delivered: how many bytes have come to the product.
        most_waiting: how many bytes have waited for the peer at most.
        over: set when no more will come.
        news: set when something has come; the peer clears it.
        on_write: called when the product has written.
        on_over: called when the connection is no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, room: int | None) -> None:
        super().__init__()
        self.received = bytearray()
        self.arrivals: list[tuple[float, int]] = []
        self.delivered = 0
        self.most_waiting = 0
        self.over = False
        self.news = asyncio.Event()
        self.on_write: Callable[[], None] | None = None
        self.on_over: Callable[[], None] | None = None
        self._loop = loop
        self._protocol = protocol
        self._room = room
        self._out = bytearray()
        self._in: collections.deque[bytes] = collections.deque()
        self._arrival: asyncio.Handle | None = None
        self._high, self._low = 64 * 1024, 16 * 1024
        self._writing = "open"
        self._peer = "there"
        self._ending = False
        self._held_back = False
        self._reading = True
        self._lost = False
        protocol.connection_made(self)

    # The peer's side.

    def send(self, data: bytes) -> None:
        """Bytes on their way to the product."""
        self._in.append(data)
        self._come()

    @property
    def undelivered(self) -> int:
        """Bytes that the product has not read."""
        return sum(map(len, self._in))

    def take(self, room: int | None) -> None:
        """Read on: so many bytes more, or all there will be."""
        self._room = None if room is None or self._room is None else self._room + room
        self._move()

    def leave(self) -> None:
        """Close both directions; what it has not read by then is answered with a reset."""
        self._peer = "gone"
        if self._out:
            self._loop.call_soon(self._lose, ConnectionResetError("closed with unread data"))
        self._out.clear()
        self.half_close()

    def half_close(self) -> None:
        """Send no more, but read on."""
        self._in.append(b"")
        self._come()

    def reset(self) -> None:
        """Break the connection off."""
        self._peer = "gone"
        self._lose(ConnectionResetError("reset by peer"))

    # The product's side.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost or self._ending:
            return
        if self._peer == "gone":
            self._loop.call_soon(self._lose, BrokenPipeError("nobody reads"))
            return
        self._out += data
        self._move()
        self.most_waiting = max(self.most_waiting, len(self._out))
        if len(self._out) > self._high and not self._held_back:
            self._held_back = True
            self._protocol.pause_writing()
        if self.on_write is not None:
            self.on_write()

    def write_eof(self) -> None:
        self._writing = "ended"
        self._move()

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self._ending or self._lost

    def close(self) -> None:
        if not self._ending:
            self._ending = True
            self._reading = False
            self._move()

    def abort(self) -> None:
        self._out.clear()
        self._lose(None)

    def get_write_buffer_size(self) -> int:
        return len(self._out)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "socket": _Socket()}.get(name, default)

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._ending:
            self._reading = True
            self._come()

    def is_reading(self) -> bool:
        return self._reading

    # Between the two.

    def _come(self) -> None:
        """Have the next piece arrive."""
        if self._in and self._arrival is None:
            self._arrival = self._loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        """What the peer sent comes to the product, one piece a round of the loop."""
        self._arrival = None
        if not self._in or not self._reading or self._lost:
            return
        data = self._in.popleft()
        if data:
            self.delivered += len(data)
            self._protocol.data_received(data)
        else:
            self._reading = False
            if not self._protocol.eof_received():
                self.close()
        self._come()

    def _move(self) -> None:
        """What the product wrote comes to the peer, as far as that takes it."""
        if self._lost:
            return
        count = len(self._out) if self._room is None else min(len(self._out), self._room)
        if count:
            self.received += self._out[:count]
            self.arrivals.append((self._loop.time(), len(self.received)))
            del self._out[:count]
            if self._room is not None:
                self._room -= count
            self.news.set()
        if self._held_back and len(self._out) <= self._low:
            self._held_back = False
            self._protocol.resume_writing()
        if self._out:
            return
        if self._writing == "ended" and not self.over:
            self.over = True
            self.news.set()
        if self._ending:
            self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        if self._lost:
            return
        self._lost = self._ending = self.over = True
        self.news.set()
        if self.on_over is not None:
            self.on_over()
        self._loop.call_soon(self._protocol.connection_lost, error)
