"""Samples of a process's memory and of its answering times, while something else loads it."""

import asyncio
import re
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import load

PROBE_S: Final = 0.1
"""Time between two questions for the health."""

_FIGURES: Final = re.compile(r"^(VmRSS|Threads):\s+(\d+)", re.MULTILINE)


_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment.

    Attributes:
        second: of the clock `time.monotonic`.
        cpu: seconds that it has used since it began.
    """

    second: float
    rss_kib: int
    threads: int
    fds: int
    cpu: float


class Lag(msgspec.Struct, frozen=True):
    """How late a server's loop was in its last minute, in milliseconds."""

    p99: float = 0.0
    max: float = 0.0


class _Health(msgspec.Struct):
    streams: int
    loop_lag_ms: Lag


_HEALTH: Final = msgspec.json.Decoder(_Health)


def sample(pid: int) -> Sample:
    """A process now.

    Raises:
        FileNotFoundError: there is none.
    """
    figures = dict(_FIGURES.findall(Path(f"/proc/{pid}/status").read_text()))
    return Sample(
        second=time.monotonic(),
        rss_kib=int(figures["VmRSS"]),
        threads=int(figures["Threads"]),
        fds=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        cpu=load.cpu_seconds([pid]),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much y grows with x, by least squares; 0 where x does not grow."""
    if not points:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    together = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return together / spread if spread else 0.0


class Probe:
    """Asks a server for its health, over and over on one connection.

    What an answer takes is what a request waits for its turn in the server's loop, and in the
    loop of the asking process too: how late that one is is measured beside it.

    Attributes:
        answers: microseconds that each took.
        lateness: microseconds that this process's loop was late for each question.
        streams: that were open at the last answer.
        lag: of the server's loop, at its most.
    """

    def __init__(self, url: str) -> None:
        self.answers: list[int] = []
        self.lateness: list[int] = []
        self.streams = 0
        self.lag = Lag()
        self._where = urllib.parse.urlsplit(url)

    async def run(self) -> None:
        """Ask until cancelled.

        Raises:
            OSError, EOFError: the server has gone.
        """
        where = self._where
        request = f"GET /healthz HTTP/1.1\r\nhost: {where.netloc}\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            while True:
                due = time.monotonic() + PROBE_S
                await asyncio.sleep(PROBE_S)
                asked = time.monotonic()
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_LENGTH.findall(head)[0]))
                health = _HEALTH.decode(body)
                self.streams, lag = health.streams, health.loop_lag_ms
                self.lag = Lag(max(self.lag.p99, lag.p99), max(self.lag.max, lag.max))
                self.lateness.append(round((asked - due) * 1e6))
                self.answers.append(round((time.monotonic() - asked) * 1e6))
        finally:
            writer.close()
