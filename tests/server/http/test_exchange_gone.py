"""What becomes of a request, its handler and its socket when the client leaves."""

import asyncio
import gc
import pathlib
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from server.http import exchange as http
from tests.support.client.httpwire import chunked, get, post
from tests.support.client.inprocess import WAIT, Client, Held, echo, rounds, serving

Act = Callable[[Client], Awaitable[None]]


async def _close(client: Client) -> None:
    await client.close()


async def _reset(client: Client) -> None:
    await client.reset()


async def _half_close(client: Client) -> None:
    client.half_close()


@pytest.mark.parametrize("leave", [_close, _reset, _half_close])
@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_is_noticed_at_once(leave: Act, begun: bool) -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            await client.send(get())
            exchange = await held.next()
            if begun:
                exchange.start(200, [])
                exchange.write(b"some")
            await leave(client)
            assert await held.cause() == "left"
            exchange.write(b"nobody reads this")
            exchange.respond(200, [], b"nor this")
            exchange.finish()
            assert await held.ended.get() is http.Stage.LEFT
            assert await server.http.drain(WAIT) == 0
            assert held.gone.empty()

    uvloop.run(run())


def test_a_client_that_leaves_with_requests_in_flight_is_noticed() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            await client.send(get("/1") + get("/2") + get("/3"))
            await held.next()
            await client.close()
            assert await held.cause() == "left"
            assert await server.http.drain(WAIT) == 0
            assert held.exchanges.empty()

    uvloop.run(run())


def test_too_much_sent_ahead_is_left_in_the_socket_and_the_client_served() -> None:
    """Reading pauses; the answers still come, each in its turn."""

    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            sending = asyncio.create_task(client.send(get("/", "x-a: " + "x" * 30_000) * 1_000))
            first = await held.next()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sending), 0.3)
            first.respond(200, [], b"")
            for _ in range(999):
                (await held.next()).respond(200, [], b"")
            await sending
            for _ in range(1_000):
                assert (await client.response()).status == 200

    uvloop.run(run())


@pytest.mark.parametrize("leave", [_close, _reset, _half_close])
def test_a_client_that_leaves_behind_more_than_is_read_is_noticed(leave: Act) -> None:
    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            await client.send(get())
            exchange = await held.next()
            exchange.start(200, [])
            await client.send(get("/", "x-a: " + "x" * 30_000) * 5)
            await leave(client)
            assert await held.cause() == "left"
            assert await held.ended.get() is http.Stage.LEFT
            assert await server.http.drain(WAIT) == 0
            assert held.gone.empty()

    uvloop.run(run())


def test_a_handler_that_answers_at_once_answers_a_half_closed_client() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            await client.send(post(b"1") + chunked(b"2"))
            client.half_close()
            answers = await client.rest()
            assert answers.count(b" 200 OK") == 2
            assert answers.endswith(b"|2")

    uvloop.run(run())


def test_a_request_begun_after_a_half_close_has_lost_its_client() -> None:
    async def run() -> None:
        held = Held()

        async def quick_then_held(exchange: http.Exchange) -> None:
            if exchange.request.path == "/quick":
                exchange.respond(200, [], b"")
                await rounds()
            else:
                await held(exchange)

        async with serving(quick_then_held) as server:
            client = await server.connect()
            await client.send(get("/quick") + get("/held"))
            client.half_close()
            assert await held.cause() == "left"

    uvloop.run(run())


@pytest.mark.parametrize(
    "cut", [b"GET / HT", get("/", "content-length: 9", method="POST") + b"half"]
)
def test_a_request_cut_off_by_a_half_close_is_a_400(cut: bytes) -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            await client.send(cut)
            client.half_close()
            assert (await client.response()).code == "bad_http"

    uvloop.run(run())


def test_a_callback_set_after_the_client_left_is_called() -> None:
    async def run() -> None:
        causes: asyncio.Queue[str] = asyncio.Queue()
        arrived = asyncio.Event()

        async def late(exchange: http.Exchange) -> None:
            arrived.set()
            await exchange.finished()
            exchange.on_gone = causes.put_nowait

        async with serving(late) as server:
            client = await server.connect()
            await client.send(get())
            await arrived.wait()
            await client.close()
            async with asyncio.timeout(WAIT):
                assert await causes.get() == "left"

    uvloop.run(run())


def test_a_handler_that_outstays_its_client_is_cancelled() -> None:
    async def run() -> None:
        arrived, cancelled = asyncio.Event(), asyncio.Event()

        async def stubborn(exchange: http.Exchange) -> None:
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving(stubborn, http.Limits(gone_grace=0.05)) as server:
            client = await server.connect()
            await client.send(get())
            await arrived.wait()
            await client.close()
            async with asyncio.timeout(WAIT):
                await cancelled.wait()
            assert await server.http.drain(WAIT) == 0

    uvloop.run(run())


def test_a_handler_cleaning_up_within_its_grace_is_left_alone() -> None:
    async def run() -> None:
        arrived, cleaned = asyncio.Event(), asyncio.Event()

        async def tidy(exchange: http.Exchange) -> None:
            arrived.set()
            await exchange.finished()
            await asyncio.sleep(0.02)
            cleaned.set()

        async with serving(tidy, http.Limits(gone_grace=1.0)) as server:
            client = await server.connect()
            await client.send(get())
            await arrived.wait()
            await client.close()
            async with asyncio.timeout(WAIT):
                await cleaned.wait()

    uvloop.run(run())


def _open_files() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


@pytest.mark.long
def test_a_thousand_clients_that_leave_leave_nothing_behind() -> None:
    """Half of them before the head, half within the stream; some close, some reset."""

    async def leave(server_client: Client, held: Held, number: int) -> None:
        await server_client.send(get())
        exchange = await held.next()
        if number % 2:
            exchange.start(200, [])
            exchange.write(b"some")
        await (_reset if number % 3 else _close)(server_client)
        assert await held.cause() == "left"

    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            await leave(await server.connect(), held, 0)
            await rounds()
            files, tasks = _open_files(), len(asyncio.all_tasks())
            for number in range(1_000):
                await leave(await server.connect(), held, number)
            await rounds()
            assert server.http.connections == 0
            assert (_open_files(), len(asyncio.all_tasks())) == (files, tasks)

    gc.collect()
    uvloop.run(run())
