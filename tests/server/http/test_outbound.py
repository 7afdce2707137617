"""Clients that read slowly or not at all, against `server.http.outbound`."""

import asyncio
import contextlib
import socket

import pytest
import uvloop

from server.http import exchange as http, outbound
from tests.support.client.httpwire import get, post
from tests.support.client.inprocess import WAIT, Held, Server, rounds, serving

pytestmark = pytest.mark.slow

FLOOD = b"x" * 16_000_000
"""More than the kernel's buffers on both sides take."""

STALL = 0.2
"""Seconds that a test waits for a stall."""


async def _stream(server: Server, held: Held) -> tuple[socket.socket, http.Exchange]:
    """A client that has asked and reads nothing, and its begun response."""
    client = await server.slow_socket()
    await asyncio.get_running_loop().sock_sendall(client, get())
    exchange = await held.next()
    exchange.start(200, [])
    return client, exchange


async def _read(client: socket.socket, length: int) -> int:
    """Read up to `length` bytes; fewer mean that the connection has ended."""
    loop = asyncio.get_running_loop()
    got = 0
    async with asyncio.timeout(WAIT):
        with contextlib.suppress(ConnectionError):
            while got < length and (data := await loop.sock_recv(client, 1 << 20)):
                got += len(data)
    return got


@pytest.mark.parametrize(
    "limits",
    [
        http.Limits(over_limit_stall=STALL, write_stall=60.0),
        http.Limits(over_limit_stall=60.0, write_stall=STALL, buffer_bytes=1 << 30),
    ],
    ids=["over the buffer's limit", "any byte"],
)
def test_a_client_that_stops_reading_is_cut(limits: http.Limits) -> None:
    async def run() -> None:
        held = Held()
        async with serving(held, limits) as server:
            client, exchange = await _stream(server, held)
            with client:
                loop = asyncio.get_running_loop()
                exchange.write(FLOOD)
                began = loop.time()
                assert exchange.buffered > 1_000_000
                assert await held.cause() == "write_stall"
                assert loop.time() - began >= STALL
                assert await held.ended.get() is http.Stage.WRITE_STALL
                assert await server.http.drain(WAIT) == 0
                assert await _read(client, len(FLOOD)) < len(FLOOD)

    uvloop.run(run())


def test_bytes_below_the_buffer_limit_wait_for_the_longer_stall() -> None:
    limits = http.Limits(over_limit_stall=STALL / 4, write_stall=60.0, buffer_bytes=1 << 30)

    async def run() -> None:
        held = Held()
        async with serving(held, limits) as server:
            client, exchange = await _stream(server, held)
            with client:
                exchange.write(FLOOD)
                await asyncio.sleep(STALL)
                assert held.gone.empty()
                exchange.finish()
                assert await _read(client, len(FLOOD)) >= len(FLOOD)

    uvloop.run(run())


def test_one_large_delta_to_a_slow_reader_is_not_cut() -> None:
    """It reads too little for the kernel to take more from us, but it reads."""

    async def run() -> None:
        held = Held()
        stall = 4 * STALL  # longer than a busy machine keeps this process from reading
        async with serving(held, http.Limits(over_limit_stall=stall, write_stall=stall)) as server:
            client, exchange = await _stream(server, held)
            with client:
                exchange.write(FLOOD)
                exchange.finish()
                loop = asyncio.get_running_loop()
                got, until = 0, loop.time() + 1.5 * stall
                while loop.time() < until:
                    got += len(await loop.sock_recv(client, 4_096))
                    await asyncio.sleep(STALL / 20)
                assert got < 1_000_000
                assert server.http.connections == 1
                assert got + await _read(client, len(FLOOD) - got) >= len(FLOOD)

    uvloop.run(run())


def test_an_answer_nobody_reads_is_given_up_after_its_end() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held, http.Limits(over_limit_stall=STALL)) as server:
            client, exchange = await _stream(server, held)
            with client:
                exchange.finish(FLOOD)
                assert await held.ended.get() is http.Stage.COMPLETE
                assert await server.http.drain(WAIT) == 0
                assert held.gone.empty()

    uvloop.run(run())


def test_a_connection_that_closes_flushes_first() -> None:
    """A large answer outlives the linger, even if the client goes on sending meanwhile."""
    limits = http.Limits(linger=0.02, buffer_bytes=1 << 30)
    body = b"x" * 100_000

    async def run() -> None:
        held = Held()
        async with serving(held, limits) as server:
            loop = asyncio.get_running_loop()
            with await server.slow_socket() as client:
                request = post(body)
                await loop.sock_sendall(client, request[: -len(body) // 2])
                exchange = await held.next()
                exchange.start(200, [])
                exchange.finish(FLOOD)
                await asyncio.sleep(5 * limits.linger)
                await loop.sock_sendall(client, request[-len(body) // 2 :])
                assert await _read(client, 2 * len(FLOOD)) > len(FLOOD)
                assert await server.http.drain(WAIT) == 0

    uvloop.run(run())


def test_a_drain_waits_for_what_is_being_flushed() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held, http.Limits(linger=0.02)) as server:
            client, exchange = await _stream(server, held)
            with client:
                exchange.finish(FLOOD)
                draining = asyncio.create_task(server.http.drain(WAIT))
                assert await _read(client, 2 * len(FLOOD)) > len(FLOOD)
                assert await draining == 0

    uvloop.run(run())


def test_a_client_that_reads_no_answers_is_asked_no_more_questions() -> None:
    """Pipelined requests wait until the answers before them have been taken."""
    answer, requests = b"x" * 1_000_000, 60

    async def run() -> None:
        served: list[str] = []

        async def large(exchange: http.Exchange) -> None:
            served.append(exchange.request.path)
            exchange.respond(200, [], answer)

        async with serving(large) as server:
            with await server.slow_socket() as client:
                await asyncio.get_running_loop().sock_sendall(client, get() * requests)
                await rounds()
                assert 0 < len(served) < requests / 2
                length = requests * len(answer)
                assert await _read(client, length) >= length
                assert len(served) == requests

    uvloop.run(run())


def test_pressure_and_relief_are_told_once_a_crossing() -> None:
    async def run() -> None:
        held = Held()
        told: asyncio.Queue[str] = asyncio.Queue()
        limit = 100_000
        async with serving(held, http.Limits(buffer_bytes=limit)) as server:
            client, exchange = await _stream(server, held)
            exchange.on_pressure = lambda buffered: told.put_nowait(f"pressed {buffered > limit}")
            exchange.on_relief = lambda: told.put_nowait(f"relieved {exchange.buffered < limit}")
            with client:
                for _ in range(2):
                    exchange.write(FLOOD)
                    exchange.write(b"more")
                    async with asyncio.timeout(WAIT):
                        assert await told.get() == "pressed True"
                    assert told.empty()
                    await _read(client, len(FLOOD))
                    async with asyncio.timeout(WAIT):
                        assert await told.get() == "relieved True"
                    assert told.empty()

    uvloop.run(run())


def test_pressure_is_not_told_within_the_write_that_causes_it() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client, exchange = await _stream(server, held)
            pressed = asyncio.Event()
            exchange.on_pressure = lambda _: pressed.set()
            with client:
                exchange.write(FLOOD)
                assert not pressed.is_set()
                async with asyncio.timeout(WAIT):
                    await pressed.wait()

    uvloop.run(run())


def test_a_slow_client_holds_up_no_other() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            slow, slow_exchange = await _stream(server, held)
            with slow:
                slow_exchange.write(FLOOD)
                client = await server.connect()
                for _ in range(100):
                    await client.send(get())
                    (await held.next()).respond(200, [], b"quick")
                    assert (await client.response()).body == b"quick"
                assert slow_exchange.buffered > 0

    uvloop.run(run())


@pytest.mark.parametrize(
    ("samples", "stalled"),
    [
        ([(4.9, 200, 0)], False),
        ([(5.0, 200, 0)], True),
        ([(29.9, 50, 0)], False),
        ([(30.0, 50, 0)], True),
        ([(4.0, 200, 1), (8.9, 200, 1)], False),
        ([(4.0, 200, 1), (9.0, 200, 1)], True),
        ([(20.0, 50, 0), (20.1, 200, 0)], True),
        ([(4.0, 200, 1), (8.0, 999, 2), (12.0, 9_999, 3)], False),
    ],
)
def test_when_a_client_counts_as_stalled(
    samples: list[tuple[float, int, int]], stalled: bool
) -> None:
    """Limits: 100 bytes, 5 s above them, 30 s below; samples are time, buffered, drained."""
    watch = outbound.StallWatch(100, 5.0, 30.0, 0.0, 0)
    assert [watch.stalled(*sample) for sample in samples][-1] is stalled
