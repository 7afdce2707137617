"""The yardstick of a wake-up of the token path: the least that any server would do for it.

For each token it reads a line of JSON and writes a chunk of JSON; for each wake-up it appends to
a file and sends to a socket for each stream, and lets the event loop go round once. It suffers
from a busy machine as the path does: its JSON from a cold cache, its system calls from the kernel.
"""

import asyncio
import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple, Self

from bench import tokenpath


class Sample(NamedTuple):
    """CPU nanoseconds of one wake-up and, right after it, of the yardstick for as many tokens."""

    path: int
    yardstick: int


class Yardstick:
    """The least work, on a file and on connections of its own."""

    def __init__(self, directory: Path, streams: int) -> None:
        self._file = os.open(directory / "yardstick", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._pairs = [_connected(listener) for _ in range(streams)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        for pair in self._pairs:
            for end in pair:
                end.close()

    async def measure(self, line: bytes, chunk: dict[str, object], lines_a_stream: int) -> int:
        """CPU nanoseconds of one wake-up."""
        began = time.process_time_ns()
        for sender, _ in self._pairs:
            for _ in range(lines_a_stream):
                json.loads(line)
                text = json.dumps(chunk)
            sender.send(text.encode() * lines_a_stream)
        os.write(self._file, line * lines_a_stream * len(self._pairs))
        await asyncio.sleep(0)
        took = time.process_time_ns() - began
        for _, receiver in self._pairs:
            with contextlib.suppress(BlockingIOError):
                receiver.recv(tokenpath.RECEIVE_BYTES)
        return took


def _connected(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection, neither of which blocks."""
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    sender.setblocking(False)
    receiver.setblocking(False)
    return sender, receiver


async def samples(
    directory: Path, streams: int, lines_a_stream: int, count: int, slowdown: float = 0.0
) -> list[Sample]:
    """Wake-ups of a path with so many streams, each with the yardstick's beside it.

    Args:
        slowdown: part of its own time that each wake-up takes longer, to see that it is noticed.
    """
    found = []
    async with tokenpath.running(directory, streams) as path:
        burst = path.burst(lines_a_stream)
        with Yardstick(directory, streams) as least:
            for _ in range(count):
                took = await path.wake(burst)
                assert path.received() == streams * lines_a_stream
                took += _waste(took * slowdown)
                found.append(
                    Sample(took, await least.measure(path.line, path.chunk, lines_a_stream))
                )
    return found


def _waste(nanoseconds: float) -> int:
    """Spend CPU time, and say how much it was."""
    if not nanoseconds:
        return 0
    began = time.process_time_ns()
    while (took := time.process_time_ns() - began) < nanoseconds:
        pass
    return took
