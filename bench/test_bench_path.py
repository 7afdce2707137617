"""The cost of each part of the token path, in numbers for people.

    python -m pytest bench/test_bench_path.py

They tell one version from another on one machine; what must hold everywhere is in `test_guards`.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench import source, tokenpath
from engine.log import event_log as eventlog, settings as logsettings
from machines import events, outputs
from machines.stream import machine as stream
from server.chat import sse

BURST = 256
"""Tokens that one read of a pipe brings at most: 64 KiB of them."""

OPENED = source.OPENED
DELTA = events.TextDelta(tokenpath.TEXT)


class Deaf:
    """A feed that does nothing with what it is fed."""

    def event(self, event: events.StreamInput) -> None:
        """Do nothing."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs when a benchmark says so."""
    with contextlib.closing(uvloop.new_event_loop()) as created:
        yield created


@pytest.fixture
def in_content() -> stream.Stream:
    """A stream whose answer has begun."""
    begun = stream.Stream(OPENED)
    begun.step(DELTA)
    return begun


def test_lines_to_events(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop) -> None:
    async def deaf_channel() -> tuple[tokenpath.PipelessWorker, bytes]:
        runner = tokenpath.PipelessWorker()
        runner.listen(Deaf(), choice=0)
        return runner, runner.frames[0].deltas((tokenpath.TEXT,))[0] * BURST

    runner, data = loop.run_until_complete(deaf_channel())
    benchmark(runner.channel.feed, data)


def test_step(benchmark: BenchmarkFixture, in_content: stream.Stream) -> None:
    benchmark(in_content.step, DELTA)


def test_records_to_file(
    benchmark: BenchmarkFixture, in_content: stream.Stream, tmp_path: Path
) -> None:
    event_log = eventlog.EventLog(logsettings.LogSettings(tmp_path), lambda: 0)
    event_log.open()
    record = event_log.stream("st_000000000000000000000000")
    record.open(OPENED)
    step = in_content.step(DELTA)

    def burst() -> None:
        for _ in range(BURST):
            record.append(DELTA, step)
        event_log.flush()

    benchmark(burst)
    event_log.close()


def test_frame(benchmark: BenchmarkFixture) -> None:
    benchmark(sse.ChatChunks(OPENED).render, outputs.Content(tokenpath.TEXT))


@pytest.mark.parametrize("frames", [1, BURST])
def test_h11_data(benchmark: BenchmarkFixture, frames: int) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    connection.next_event()
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")]))
    data = sse.ChatChunks(OPENED).render(outputs.Content(tokenpath.TEXT)) * frames
    benchmark(lambda: connection.send(h11.Data(data=data)))


@pytest.mark.parametrize(("streams", "lines"), [(1, 1), (1, BURST), (8, BURST // 8), (64, 1)])
def test_wake_up(
    benchmark: BenchmarkFixture,
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    streams: int,
    lines: int,
) -> None:
    running = tokenpath.running(tmp_path, streams)
    path = loop.run_until_complete(running.__aenter__())
    burst = path.burst(lines)
    benchmark.pedantic(  # type: ignore[no-untyped-call] # it has no types; `benchmark()` has
        lambda: loop.run_until_complete(path.wake(burst)),
        setup=lambda: path.received() and None,
        rounds=1000,
        warmup_rounds=100,
    )
    loop.run_until_complete(running.__aexit__(None, None, None))
