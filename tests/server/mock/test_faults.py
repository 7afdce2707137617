"""Faults: what a declaration means and what is none, who gets one, and what becomes of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from server.http import exchange as http
from server.mock import faults
from server.mock.faults import Ending, Fault
from tests.support.client import httpwire, inprocess

PATH = "/v1/chat/completions"

FRAMES = (b"data: 1\n\n", b": a comment\n\n", b"data: 2\n\n", b"data: 3\n\n", b"data: [DONE]\n\n")

BODY = b'{"n": 1}'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("disconnect-after=0", Fault(Ending("disconnect-after", 0))),
        ("stall-after=12", Fault(Ending("stall-after", 12))),
        ("error-after=1000000", Fault(Ending("error-after", 1_000_000))),
        (
            " truncate-after=3,slow=20 ,\tsplit=7,no-done",
            Fault(Ending("truncate-after", 3), no_done=True, slow=20, split=7),
        ),
        ("status=503, retry-after=0", Fault(status=503, retry_after=0)),
        ("times=2, scope=test_a[1], no-done", Fault(no_done=True, times=2, scope="test_a[1]")),
    ],
)
def test_a_declaration_is_words_with_whole_numbers(text: str, fault: Fault) -> None:
    assert faults.parse(text) == fault


NUMBERS = "it takes a whole number, 0 to 1000000"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "-1",
            "-0",
            "+1",
            "1.5",
            "1.0",
            "1e3",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "many",
            "0x10",
            "1_0",
        ),
        *("", " 1", "1 ", "\u0663", "\u00b2", "1000001", "9" * 9, "9" * 10, "9" * 5000),
    ],
)
def test_a_number_is_whole_and_within_limits(value: str) -> None:
    with pytest.raises(faults.FaultRefused) as refused:
        faults.declare([("disconnect-after", value)])
    assert refused.value.name == "disconnect-after"
    assert refused.value.problem == f"{value[:50]!r} is not accepted; {NUMBERS}"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("disconnect-after", 0, 1_000_000),
        ("stall-after", 0, 1_000_000),
        ("error-after", 0, 1_000_000),
        ("truncate-after", 0, 1_000_000),
        ("slow", 1, 600_000),
        ("split", 1, 1_048_576),
        ("status", 400, 599),
    ],
)
def test_both_limits_are_allowed_and_nothing_beyond(name: str, least: int, most: int) -> None:
    for value in (least, most):
        faults.parse(f"{name}={value}")
    for value in (least - 1, most + 1):
        with pytest.raises(faults.FaultRefused, match=f"whole number, {least} to {most}"):
            faults.parse(f"{name}={value}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ": is no fault; there are disconnect-after, stall-after, "),
        ("slow=1,", ": is no fault"),
        ("explode=1", "explode: is no fault"),
        ("Slow=1", "Slow: is no fault"),
        ("slow", "slow: nothing is not accepted"),
        ("slow=1, slow=1", "slow: is there twice"),
        ("no-done=1", "no-done: takes no value"),
        ("no-done=", "no-done: takes no value"),
        ("stall-after=1, disconnect-after=2", "stall-after: does not go with disconnect-after"),
        ("status=500, slow=1", "slow: does not go with status"),
        ("error-after=1, status=500", "error-after: does not go with status"),
        ("retry-after=1, slow=1", "retry-after: goes with status"),
        ("times=1", "times: goes with a fault"),
        ("slow=1, scope=a", "scope: goes with times"),
        ("slow=1, times=1, scope=", "scope: takes up to 200 characters"),
        ("slow=1, times=1, scope=" + "a" * 201, "scope: takes up to 200 characters"),
    ],
)
def test_what_says_nothing_together_is_refused(text: str, problem: str) -> None:
    with pytest.raises(faults.FaultRefused) as refused:
        faults.parse(text)
    assert str(refused.value).startswith(problem)


async def answer(exchange: http.Exchange) -> None:
    """A stream in two writes, or, where it is asked for, a body."""
    if exchange.request.query == "whole":
        exchange.respond(200, [("content-type", "application/json")], BODY)
        return
    exchange.start(200, [("content-type", "text/event-stream")])
    exchange.write(b"".join(FRAMES[:3]))
    exchange.finish(b"".join(FRAMES[3:]))


Scene = Callable[[inprocess.Server], Awaitable[None]]


# A handler that is left waiting must not be saved by the connection's patience.
LIMITS = http.Limits(gone_grace=60.0)


def play(scene: Scene, fault: Fault | None = None, handler: http.Handler = answer) -> None:
    """Run a scene with a server before which an injector stands."""

    async def run() -> None:
        async with inprocess.serving(faults.Injector(handler, fault).handle, LIMITS) as server:
            await scene(server)

    uvloop.run(run())


def post(fault: str | None = None, path: str = PATH) -> bytes:
    headers = [] if fault is None else [f"x-turntape-fault: {fault}"]
    return httpwire.post(b"{}", *headers, path=path)


async def ask(server: inprocess.Server, *asked: Any, **where: str) -> httpwire.Response:
    """One request on a connection of its own."""
    client = await server.connect()
    return await client.ask(post(*asked, **where), "POST")


def test_events_are_counted_and_comments_are_not() -> None:
    async def scene(server: inprocess.Server) -> None:
        for count, frames in ((0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (5, 5)):
            response = await ask(server, f"truncate-after={count}")
            assert (response.status, response.whole) == (200, True)
            assert response.body == b"".join(FRAMES[:frames])

    play(scene)


def test_only_answers_go_wrong() -> None:
    async def scene(server: inprocess.Server) -> None:
        assert (await ask(server)).status == 503
        assert (await ask(server, path="/v1/responses")).status == 503
        for path in ("/readyz", "/healthz", "/v1/responses/resp_1/cancel"):
            assert (await ask(server, path=path)).body == b"".join(FRAMES)
        client = await server.connect()
        listed = await client.ask(httpwire.get("/v1/models", "x-turntape-fault: explode"))
        assert listed.body == b"".join(FRAMES)

    play(scene, Fault(status=503))


def test_the_header_takes_the_place_of_the_command() -> None:
    async def scene(server: inprocess.Server) -> None:
        response = await ask(server, "no-done")
        assert (response.status, response.body) == (200, b"".join(FRAMES[:-1]))

    play(scene, Fault(status=503))


def test_several_headers_are_one() -> None:
    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        twice = [f"x-turntape-fault: {word}" for word in ("status=429", "retry-after=9")]
        response = await client.ask(httpwire.post(b"{}", *twice, path=PATH), "POST")
        assert (response.status, response.headers["retry-after"]) == (429, "9")

    play(scene)


def test_a_header_that_is_no_fault_is_refused_with_its_name() -> None:
    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        for value in ("disconnect-after=-1", "disconnect-after=NaN", "explode", ""):
            response = await client.ask(post(value), "POST")
            assert response.status == 400
            error = json.loads(response.body)["error"]
            assert error["param"] == "x-turntape-fault"
            assert error["type"] == "invalid_request_error"
            assert error["message"].startswith("x-turntape-fault: " + value.partition("=")[0])
        assert (await client.ask(post(), "POST")).body == b"".join(FRAMES)

    play(scene)


def test_times_counts_requests_for_the_same() -> None:
    async def scene(server: inprocess.Server) -> None:
        asked = [
            *("status=500, times=2",) * 3,
            *("times=2, status=500, scope=other",) * 3,
            *("status=502, times=1",) * 2,
        ]
        got = [(await ask(server, each)).status for each in asked]
        assert got == [500, 500, 200, 500, 500, 200, 502, 200]

    play(scene)


def test_times_of_the_command_counts_requests_without_a_header() -> None:
    async def scene(server: inprocess.Server) -> None:
        asked = (None, "no-done", None, None)
        assert [(await ask(server, each)).status for each in asked] == [503, 200, 503, 200]

    play(scene, Fault(status=503, times=2))


@pytest.mark.parametrize(
    ("fault", "response"),
    [
        ("truncate-after=5", (200, b"", True)),
        ("disconnect-after=5", (200, b"", False)),
        ("disconnect-after=0", (httpwire.CUT, b"", False)),
        ("error-after=5", (500, faults.ERROR, True)),
        ("no-done", (200, BODY, True)),
        ("slow=1", (200, BODY, True)),
        ("split=3", (200, BODY, True)),
    ],
)
def test_a_body_is_cut_whatever_the_count(fault: str, response: tuple[int, bytes, bool]) -> None:
    async def scene(server: inprocess.Server) -> None:
        got = await ask(server, fault, path=f"{PATH}?whole")
        assert (got.status, got.body, got.whole) == response

    play(scene)


def test_a_connection_that_was_not_broken_is_kept() -> None:
    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        for fault in ("truncate-after=1", "error-after=1", "no-done", "slow=1", "status=500"):
            assert (await client.ask(post(fault), "POST")).whole
        assert (await client.ask(post(), "POST")).body == b"".join(FRAMES)

    play(scene)


def test_a_request_is_read_whatever_becomes_of_it() -> None:
    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        large = httpwire.post(b" " * 1_000_000, "x-turntape-fault: status=500", path=PATH)
        response = await client.ask(large, "POST")
        assert (response.status, "connection" in response.headers) == (500, False)
        assert (await client.ask(post(), "POST")).body == b"".join(FRAMES)

    play(scene)


def test_a_client_may_leave_before_the_head() -> None:
    handler = inprocess.Held()

    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        await client.send(post("slow=1"))
        await handler.next()
        await client.close()
        assert await handler.cause() == "left"
        async with asyncio.timeout(inprocess.WAIT):
            while server.http.connections:
                await inprocess.rounds()

    play(scene, handler=handler)


async def nobody() -> bytes:
    """No body."""
    return b""


class Rounds(http.Exchange):
    """Remembers what was written, and the rounds of the loop between."""

    def __init__(self) -> None:
        self.request = http.Request("POST", PATH, http.Headers(()), "", nobody)
        self.seen: list[bytes] = []

    def start(self, status: int, headers: http.HeaderList) -> None:
        """Nothing to remember."""

    def write(self, data: bytes) -> None:
        self.seen.append(data)
        asyncio.get_running_loop().call_soon(self.seen.append, b"round")

    def finish(self, data: bytes = b"") -> None:
        self.seen.append(b"end")


def test_every_piece_is_a_write_of_its_own() -> None:
    async def scene() -> None:
        exchange = Rounds()
        faulty = faults.FaultyExchange(exchange, Fault(split=4))
        faulty.respond(200, [], b"0123456789")
        await faulty.send()
        assert exchange.seen == [b"0123", b"round", b"4567", b"round", b"89", b"round", b"end"]

    uvloop.run(scene())


class Slow(inprocess.Held):
    """Has begun a stream when it hands an exchange over."""

    async def __call__(self, exchange: http.Exchange) -> None:
        exchange.start(200, [])
        exchange.write(FRAMES[0])
        await super().__call__(exchange)


def test_whoever_answers_learns_of_a_reset_and_may_go_on() -> None:
    handler = Slow()

    async def scene(server: inprocess.Server) -> None:
        response = await ask(server, "disconnect-after=1")
        assert (response.body, response.whole) == (FRAMES[0], False)
        exchange = await handler.next()
        assert await handler.cause() == "left"
        assert await handler.ended.get() is http.Stage.LEFT
        exchange.write(FRAMES[2])
        exchange.finish()

    play(scene, handler=handler)


def test_a_client_may_leave_a_stall() -> None:
    handler = Slow()

    async def scene(server: inprocess.Server) -> None:
        client = await server.connect()
        await client.send(post("stall-after=1"))
        exchange = await handler.next()
        exchange.finish(FRAMES[2])
        async with asyncio.timeout(inprocess.WAIT):
            await client.until(FRAMES[0])
            await client.close()
        assert await handler.cause() == "left"

    play(scene, handler=handler)


def test_a_defect_of_the_handler_does_not_leave_the_client_waiting() -> None:
    async def broken(exchange: http.Exchange) -> None:
        raise RuntimeError("a defect")

    async def scene(server: inprocess.Server) -> None:
        assert (await ask(server, "slow=1")).code == "internal_error"

    play(scene, handler=broken)
