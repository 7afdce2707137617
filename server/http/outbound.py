"""The sending half of a connection: bytes to the transport, and a watch on what it cannot send.

A healthy client costs nothing here: the transport writes at once, its buffer stays empty, and no
timer runs. Only when bytes are left behind does the watch begin to sample, until they are gone.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Protocol

from engine import containment

SAMPLES_A_STALL = 4
"""How often within the shorter stall limit the buffer is looked at: a stall is found a quarter of
that limit late at most."""

DELIVERY_LOOK_S = 0.001
"""How often one looks whether the client's system has acknowledged all: no event tells of it."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""`SO_LINGER` with a timeout of zero: closing sends a reset."""


class Listener(Protocol):
    """A listener that learns how the client takes its bytes, and that it leaves. None of its
    methods may raise."""

    def pressed(self, buffered: int) -> None:
        """More than the buffer's limit waits for the client."""

    def relieved(self) -> None:
        """The waiting bytes have fallen below half the limit."""

    def stalled(self) -> None:
        """The client has taken no byte for longer than it may."""

    def lost(self) -> None:
        """The client has left, or something was to be sent and the connection is no more."""


class StallWatch:
    """Decides from samples whether a client has stopped reading.

    Args:
        buffer_bytes: above this the shorter limit counts.
        over_limit_stall: seconds without a byte drained, buffer over its limit.
        write_stall: seconds without a byte drained, any byte buffered.
        now: when the first bytes were left behind.
        drained: bytes that had reached the client by then.
    """

    def __init__(
        self,
        buffer_bytes: int,
        over_limit_stall: float,
        write_stall: float,
        now: float,
        drained: int,
    ) -> None:
        self._buffer_bytes = buffer_bytes
        self._over_limit_stall = over_limit_stall
        self._write_stall = write_stall
        self._moved_at = now
        self._drained = drained

    def stalled(self, now: float, buffered: int, drained: int) -> bool:
        """Whether the client has been silent for too long, `buffered` bytes waiting for it."""
        if drained != self._drained:
            self._drained = drained
            self._moved_at = now
        over = buffered > self._buffer_bytes
        return now - self._moved_at >= (self._over_limit_stall if over else self._write_stall)


class Outbound:
    """The outgoing side of one connection, which its responses are written to.

    Args:
        writer: the connection's stream writer; its transport is written to directly.
        listener: hears of pressure, relief, stall and loss.
        buffer_bytes, over_limit_stall, write_stall: as `StallWatch` has them.
    """

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        listener: Listener,
        *,
        buffer_bytes: int,
        over_limit_stall: float,
        write_stall: float,
    ) -> None:
        self._writer = writer
        self._transport = writer.transport
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._transport.set_write_buffer_limits(high=buffer_bytes, low=buffer_bytes // 2)
        self._listener = listener
        self._buffer_bytes = buffer_bytes
        self._over_limit_stall = over_limit_stall
        self._write_stall = write_stall
        self._loop = asyncio.get_running_loop()
        self._sent = 0
        self._watch: StallWatch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._relief: asyncio.Task[None] | None = None

    @property
    def buffered(self) -> int:
        """Bytes written and not yet taken by the operating system."""
        return self._transport.get_write_buffer_size()

    def transmit(self, data: bytes) -> None:
        """Hand bytes to the transport; nothing happens once the connection is closing."""
        if self._transport.is_closing():
            self._loop.call_soon(self._listener.lost)
            return
        self._transport.write(data)
        self._sent += len(data)
        if self._transport.get_write_buffer_size():
            self._left_behind()

    def close(self) -> None:
        """Close the connection once everything was sent."""
        self._transport.close()

    def close_with_reset(self) -> None:
        """The same, but the client's system reports a failure instead of an end."""
        if not self._transport.is_closing():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.close()

    async def flush(self) -> None:
        """Wait until every byte was taken, or the connection is gone."""
        if self._transport.is_closing():
            return
        self._transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def drained(self) -> None:
        """Wait until no more than half the limit waits for the client, or the connection is
        gone."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def delivered(self) -> None:
        """Wait until the client's system has every byte, or the connection is gone."""
        await self.flush()
        while not self._transport.is_closing() and self._held():  # noqa: ASYNC110 - no event
            await asyncio.sleep(DELIVERY_LOOK_S)

    def stop(self) -> None:
        """End the watch, when the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._relief is not None:
            self._relief.cancel()

    def _left_behind(self) -> None:
        buffered = self.buffered
        if self._watch is None:
            self._watch = StallWatch(
                self._buffer_bytes,
                self._over_limit_stall,
                self._write_stall,
                self._loop.time(),
                self._acknowledged(),
            )
            self._sample_later()
        if buffered > self._buffer_bytes and self._relief is None:
            # Not at once: the writer is in the middle of a write.
            self._relief = self._loop.create_task(self._await_relief(buffered))

    def _acknowledged(self) -> int:
        """Bytes that have reached the client's system.

        What the transport could pass on is too coarse a sign of life: the kernel takes more only
        when a third of its own buffer, of megabytes, is free. A client that reads 200 kB/s looks
        dead for seconds. So what the kernel still holds is counted as not drained.
        """
        return self._sent - self.buffered - self._held()

    def _held(self) -> int:
        """Bytes that the kernel has, and the client's system has not acknowledged."""
        held = bytes(4)
        with contextlib.suppress(OSError):
            held = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, held)
        return int.from_bytes(held, sys.byteorder)

    async def _await_relief(self, buffered: int) -> None:
        # In this order whatever happens: who is told of pressure last would wait for ever.
        connection = containment.Boundary.CONNECTION
        containment.each(connection, self._listener.pressed, (buffered,))
        # The transport's low-water mark, set in the constructor, is what ends this wait.
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self._relief = None
        if not self._transport.is_closing():
            self._listener.relieved()

    def _sample_later(self) -> None:
        shorter = min(self._over_limit_stall, self._write_stall)
        self._timer = self._loop.call_later(shorter / SAMPLES_A_STALL, self._sample)

    def _sample(self) -> None:
        buffered = self.buffered
        if self._watch is None or not buffered:
            self._watch = self._timer = None
        elif self._watch.stalled(self._loop.time(), buffered, self._acknowledged()):
            self._listener.stalled()
        else:
            self._sample_later()
