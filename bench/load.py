"""A load generator: many streams at once against one server, and what they cost.

    python -m bench.load --url http://127.0.0.1:11435/v1 --streams 64 --pid PID

prints a report as JSON. Every stream has a connection of its own. Where a chunk's text is a time
in microseconds since the epoch, as a source that stamps its chunks writes it, the report has the
latency that was added between source and client.
"""

import argparse
import asyncio
import collections
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop


class Api(msgspec.Struct, frozen=True):
    """How answers of one API are asked for and read.

    Attributes:
        path: of its endpoint.
        body: members of a request, of a prompt.
        content: the text of a chunk, unless it is empty, and its stamp if it is one.
        error: the end of an answer that failed within.
    """

    path: str
    body: Callable[[str], dict[str, object]]
    content: re.Pattern[bytes]
    error: re.Pattern[bytes]


APIS: Final = {
    "chat": Api(
        "/chat/completions",
        lambda prompt: {"messages": [{"role": "user", "content": prompt}]},
        re.compile(rb'"content": ?"(?!")(?:(\d{16}) )?'),
        re.compile(rb'data: \{"error": ?'),
    ),
    "responses": Api(
        "/responses",
        lambda prompt: {"input": prompt},
        re.compile(
            rb'"type": ?"response\.output_text\.delta"[^\n]*?"delta": ?"(?!")(?:(\d{16}) )?'
        ),
        re.compile(rb'data: \{"type": ?"response\.failed"'),
    ),
}
"""The APIs by the names that a plan gives them."""

SENTINEL: Final = b"data: [DONE]"
"""The end of an answer, which is whole unless it said that it failed."""

PERCENTILES: Final = (50, 90, 99, 100)
"""The percentiles of a distribution that a report gives; the last is its maximum."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The requests to make of a server.

    Attributes:
        url: of the API, such as `http://127.0.0.1:11435/v1`.
        streams: at once, each on its own connection.
        requests: of each stream, one after the other.
        endpoint: that is asked; a name of `APIS`.
        pids: processes whose CPU time is counted.
        timeout: seconds that all of it may take.
    """

    url: str
    streams: int = 64
    requests: int = 1
    model: str = "gpt-5.5"
    prompt: str = "hi"
    endpoint: str = "chat"
    pids: tuple[int, ...] = ()
    timeout: float = 600.0

    def request(self) -> bytes:
        """The bytes of one request."""
        parts = urllib.parse.urlsplit(self.url)
        api = APIS[self.endpoint]
        body = msgspec.json.encode({"model": self.model, **api.body(self.prompt), "stream": True})
        head = (
            f"POST {parts.path}{api.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a plan.

    Attributes:
        outcomes: how many answers ended how: `done`, `error`, `cut`, or an HTTP status.
        chunks: with content, of all answers.
        seconds: from the first request to the last end.
        ttft_ms: from a request to its first content, by percentile.
        latency_ms: from a chunk's stamp to its arrival, by percentile; empty without stamps.
        cpu_us: CPU time of the plan's processes together, a chunk.
    """

    outcomes: dict[str, int]
    chunks: int
    seconds: float
    ttft_ms: dict[str, float]
    latency_ms: dict[str, float]
    cpu_us: float | None


class NotChunked(Exception):
    """Raised for a body that is not what its server said it would be."""


class ChunkedBody:
    """Takes the `chunked` coding off a body without trailers (RFC 9112 §7.1).

    Attributes:
        ended: whether its last byte was fed.
    """

    def __init__(self) -> None:
        self.ended = False
        self._held = b""
        self._size = 0
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body among these.

        Raises:
            NotChunked: they do not follow the coding.
        """
        data = self._held + data
        pieces = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left == 0:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                self._size = _chunk_size(data[at:end])
                self._left = self._size + 2
                at = end + 2
            pieces.append(data[at : at + max(0, self._left - 2)])
            taken = min(self._left, len(data) - at)
            at += taken
            self._left -= taken
            self.ended = self._size == self._left == 0
        self._held = data[at:]
        return b"".join(pieces)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line, 16)
    except ValueError:
        raise NotChunked(repr(line[:40])) from None


class Tally:
    """Counts of the streams of a plan so far; times are in microseconds."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.chunks = 0
        self.ttft: list[int] = []
        self.latency: list[int] = []


class Answer:
    """One answer on its way, counted as it comes.

    Attributes:
        outcome: how it ended; None while it has not.
    """

    def __init__(self, tally: Tally) -> None:
        self.outcome: str | None = None
        self._tally = tally
        self._asked_at = _now()
        self._spoken = False
        self._head = b""
        self._body: ChunkedBody | None = None
        self._rest = b""
        self._last_word = "cut"

    def feed(self, data: bytes) -> None:
        """Take a piece of it."""
        if self._body is None:
            self._head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                return
            status = self._head.split(b" ", 2)[1].decode()
            if status != "200":
                self.outcome = status
                return
            self._body = ChunkedBody()
        events, _, self._rest = (self._rest + self._body.feed(data)).rpartition(b"\n\n")
        if events:
            self._take(events)
        if self._body.ended:
            self.outcome = self._last_word

    def _take(self, events: bytes) -> None:
        """Count the chunks of whole events."""
        now = _now()
        tally = self._tally
        stamps = tally.api.content.findall(events)
        tally.chunks += len(stamps)
        tally.latency += [now - int(stamp) for stamp in stamps if stamp]
        if stamps and not self._spoken:
            self._spoken = True
            tally.ttft.append(now - self._asked_at)
        if tally.api.error.search(events):
            self._last_word = "error"
        elif SENTINEL in events and self._last_word != "error":
            self._last_word = "done"


class Client(asyncio.Protocol):
    """One connection. It is closed where an answer was not a whole one."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._ended = asyncio.get_running_loop().create_future()

    @property
    def usable(self) -> bool:
        """Whether a request may be made."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> None:
        """Make a request and see its answer to the end, however it ends."""
        assert self._transport is not None
        self._ended = asyncio.get_running_loop().create_future()
        self._answer = Answer(self._tally)
        self._transport.write(request)
        outcome = await self._ended
        self._tally.outcomes[outcome] += 1
        if outcome != "done":
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        # uvloop's transports do not say that they are what they are.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        """The connection is closed, whoever closed it."""
        self._end("cut")

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        if self._answer is not None:
            self._answer.feed(data)
            if self._answer.outcome is not None:
                self._end(self._answer.outcome)

    def _end(self, outcome: str) -> None:
        if not self._ended.done():
            self._ended.set_result(outcome)


def _now() -> int:
    return time.time_ns() // 1000


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of processes with all of their threads, since each began.

    Raises:
        FileNotFoundError: there is no such process.
    """
    nanoseconds = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            # `stat` counts in hundredths of a second, which a short run is over in.
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def percentiles(values: list[int]) -> dict[str, float]:
    """Percentiles of times in microseconds, as milliseconds; of none, none."""
    ordered = sorted(values)
    return {
        f"p{percent}": ordered[(len(ordered) - 1) * percent // 100] / 1000
        for percent in PERCENTILES
        if ordered
    }


async def run(plan: Plan) -> Report:
    """Carry out a plan.

    Raises:
        OSError: the server cannot be reached.
        TimeoutError: it took too long.
    """
    tally = Tally(APIS[plan.endpoint])
    cpu_before = cpu_seconds(plan.pids)
    began = time.monotonic()
    async with asyncio.timeout(plan.timeout), asyncio.TaskGroup() as streams:
        for _ in range(plan.streams):
            streams.create_task(_stream(plan, tally))
    seconds = time.monotonic() - began
    cpu = cpu_seconds(plan.pids) - cpu_before
    return Report(
        outcomes=dict(tally.outcomes),
        chunks=tally.chunks,
        seconds=round(seconds, 3),
        ttft_ms=percentiles(tally.ttft),
        latency_ms=percentiles(tally.latency),
        cpu_us=round(cpu * 1e6 / tally.chunks, 3) if plan.pids and tally.chunks else None,
    )


async def _stream(plan: Plan, tally: Tally) -> None:
    parts = urllib.parse.urlsplit(plan.url)
    request = plan.request()
    loop = asyncio.get_running_loop()
    client = Client(tally)
    for _ in range(plan.requests):
        if not client.usable:
            _, client = await loop.create_connection(
                lambda: Client(tally), parts.hostname or "127.0.0.1", parts.port or 80
            )
        await client.ask(request)
    client.close()


def _parse(arguments: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(prog="bench.load", description="Load a server.")
    parser.add_argument("--url", required=True, help="of the API, such as http://host:port/v1")
    parser.add_argument("--streams", type=int, default=64, help="at once (64)")
    parser.add_argument("--requests", type=int, default=1, help="of each stream (1)")
    parser.add_argument("--model", default="gpt-5.5", help="to ask for (gpt-5.5)")
    parser.add_argument("--endpoint", choices=APIS, default="chat", help="to ask (chat)")
    parser.add_argument("--prompt", default="hi", help="what to say (hi)")
    parser.add_argument("--pid", type=int, action="append", default=[], help="count its CPU time")
    options = parser.parse_args(arguments)
    return Plan(
        url=options.url,
        streams=options.streams,
        requests=options.requests,
        model=options.model,
        prompt=options.prompt,
        endpoint=options.endpoint,
        pids=tuple(options.pid),
    )


def main(arguments: Sequence[str]) -> int:
    """Run one plan from the command line: 0 if every answer was whole."""
    plan = _parse(arguments)
    report = uvloop.run(run(plan))
    print(msgspec.json.format(msgspec.json.encode(report)).decode())
    return 0 if report.outcomes == {"done": plan.streams * plan.requests} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
