"""Listening, draining, closing: the life of `server.http.listener`."""

import asyncio
import contextlib
import gc
import os
import pathlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import structlog.testing
import uvloop

from server.http import connection, exchange as http, listener
from tests.support.client import inprocess
from tests.support.client.httpwire import CUT, get
from tests.support.client.inprocess import WAIT, Held, echo, rounds, serving

pytestmark = pytest.mark.slow


def test_a_free_port_is_bound_and_told() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            assert server.host == "127.0.0.1"
            assert server.port > 0

    uvloop.run(run())


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Only what nothing refers to goes away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.long(usual=("reset",))
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("leave", [inprocess.Client.close, inprocess.Client.reset])
def test_a_connection_goes_without_a_collection(
    leave: Callable[[inprocess.Client], Awaitable[None]],
) -> None:
    async def run() -> None:
        async with serving(echo) as server:
            for _ in range(5):
                client = await server.connect()
                await client.ask(get())
                await leave(client)
        await rounds()

    before = count_of_connections()
    uvloop.run(run())
    assert count_of_connections() == before


def count_of_connections() -> int:
    return sum(isinstance(found, connection.Connection) for found in gc.get_objects())


def test_a_port_in_use_is_an_error() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            second = listener.HttpServer(echo, http.Limits())
            with pytest.raises(OSError, match="in use"):
                await second.start(server.host, server.port)

    uvloop.run(run())


def _option_of_server_side(client: tuple[str, int], level: int, option: int) -> int:
    """A socket option, as the kernel has it, of the accepted end of a client's connection."""
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(int(entry.name))) as found,
        ):
            if found.getpeername() == client:
                return found.getsockopt(level, option)
    raise AssertionError("the server's socket was not found")


def test_small_writes_are_not_held_back() -> None:
    async def run() -> int:
        async with serving(echo) as server:
            client = await server.connect()
            await client.ask(get())
            return _option_of_server_side(client.address, socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert uvloop.run(run()) == 1


def test_draining_closes_idle_connections_and_finishes_busy_ones() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            idle, fresh, busy, begun = [await server.connect() for _ in range(4)]
            await idle.send(get("/idle"))
            (await held.next()).respond(200, [], b"")
            assert (await idle.response()).status == 200
            await busy.send(get("/busy"))
            answer_busy = await held.next()
            await begun.send(get("/begun"))
            answer_begun = await held.next()
            answer_begun.start(200, [])
            assert server.http.connections == 4

            drained = asyncio.create_task(server.http.drain(WAIT))
            assert await idle.rest() == await fresh.rest() == b""
            with pytest.raises(OSError, match="refused"):
                await server.connect()
            assert not drained.done()

            answer_busy.respond(200, [], b"done")
            busy_response = await busy.response()
            assert busy_response.body == b"done"
            assert busy_response.headers["connection"] == "close"
            assert await busy.rest() == b""
            await busy.close()
            await begun.send(get("/never-answered"))
            answer_begun.finish(b"whole")
            assert (await begun.response()).body == b"whole"
            assert await begun.rest() == b""
            await begun.close()
            async with asyncio.timeout(WAIT):
                assert await drained == 0

    uvloop.run(run())


def test_a_drain_ends_at_its_deadline() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            await client.send(get())
            exchange = await held.next()
            exchange.start(200, [])
            assert await server.http.drain(0.05) == 1
            exchange.finish(b"the last word")
            assert (await client.response()).body == b"the last word"

    uvloop.run(run())


def test_draining_nothing_is_done_at_once() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            assert await server.http.drain(WAIT) == 0

    uvloop.run(run())


def test_closing_cuts_streams_and_ends_their_handlers() -> None:
    async def run() -> None:
        ended = asyncio.Event()
        begun = asyncio.Event()

        async def endless(exchange: http.Exchange) -> None:
            exchange.start(200, [])
            exchange.write(b"some")
            begun.set()
            try:
                await exchange.finished()
            finally:
                ended.set()

        async with serving(endless) as server:
            client = await server.connect()
            await client.send(get())
            await begun.wait()
            await server.http.close()
            assert ended.is_set()
            assert server.http.connections == 0
            answer = await client.response()
            assert (answer.status, answer.body, answer.whole) == (200, b"some", False)

    uvloop.run(run())


def test_connections_above_the_limit_are_closed_as_they_come() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(max_connections=1)) as server:
            first, second = await server.connect(), await server.connect()
            assert (await second.ask(get())).status == CUT
            assert (await first.ask(get())).status == 200
            await first.close()
            await rounds()
            assert (await (await server.connect()).ask(get())).status == 200

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert [(line["event"], line["limit"]) for line in logs] == [("connections_full", 1)]
