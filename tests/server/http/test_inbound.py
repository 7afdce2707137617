"""The receiving half of a connection: read on ahead, but not too far, and until the end."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
import structlog

from server.http import inbound, outbound
from tests.support.client.inprocess import rounds
from tests.support.machines import virtualtime

WAIT = 10.0
"""Seconds of virtual time, for what should have come at once."""

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The server's end of a connection, and the client's."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


class Scene:
    """A stream that a test feeds, and what was heard of its client."""

    def __init__(self, ends: Ends) -> None:
        self.losses = 0
        self.stream = asyncio.StreamReader()
        self.inbound = inbound.Inbound(
            self.stream, cast(asyncio.StreamWriter, self), cast(outbound.Listener, self)
        )
        self.reading = asyncio.get_running_loop().create_task(self.inbound.read())
        self._server = ends[0]

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self._server}[name]

    def lost(self) -> None:
        self.losses += 1


def test_what_came_is_taken_in_order_and_the_end_is_an_empty_piece(ends: Ends) -> None:
    async def run() -> None:
        scene = Scene(ends)
        scene.stream.feed_data(b"one")
        assert await scene.inbound.take(WAIT) == [b"one"]
        asyncio.get_running_loop().call_later(5, scene.stream.feed_data, b"two")
        assert await scene.inbound.take(WAIT) == [b"two"]
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)
        scene.stream.feed_data(b"three")
        await rounds()
        scene.stream.feed_eof()
        await rounds()
        assert await scene.inbound.take(WAIT) == [b"three", b""]
        assert (scene.reading.done(), scene.losses) == (True, 1)

    virtualtime.run(run())


def test_who_waits_for_nothing_gives_up(ends: Ends) -> None:
    async def run() -> None:
        scene = Scene(ends)
        with pytest.raises(TimeoutError):
            await scene.inbound.take(3)
        scene.reading.cancel()
        await rounds()
        assert (scene.reading.done(), scene.losses) == (True, 0)

    virtualtime.run(run())


def test_no_more_is_read_ahead_than_may_be(ends: Ends) -> None:
    async def run() -> None:
        scene = Scene(ends)
        piece = b"x" * inbound.READ_BYTES
        scene.stream.feed_data(piece * 3)
        for _ in range(3):
            await rounds()
            assert await scene.inbound.take(WAIT) == [piece]
        scene.stream.feed_data(b"x")
        await rounds()
        scene.stream.feed_data(b"y")
        await rounds()
        assert await scene.inbound.take(WAIT) == [b"x", b"y"]

    virtualtime.run(run())


@pytest.mark.parametrize("has_left", [True, False])
def test_a_client_that_leaves_behind_what_is_not_read_is_noticed(
    ends: Ends, has_left: bool
) -> None:
    async def run() -> None:
        scene = Scene(ends)
        if has_left:
            ends[1].close()
        scene.stream.feed_data(b"x" * (inbound.AHEAD_BYTES + 1))
        await asyncio.sleep(inbound.LOOK_S * 1.5)
        assert (scene.losses, scene.reading.done()) == (int(has_left), False)

    virtualtime.run(run())


def test_a_reset_ends_the_input_as_a_close_does(ends: Ends) -> None:
    async def run() -> None:
        scene = Scene(ends)
        scene.stream.set_exception(ConnectionResetError())
        with structlog.testing.capture_logs() as logged:
            await rounds()
        assert logged == []
        assert await scene.inbound.take(WAIT) == [b""]
        assert (scene.reading.done(), scene.losses) == (True, 1)

    virtualtime.run(run())
