"""Connections in memory do what sockets do: pieces, pressure, ends and resets, in their rounds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.simulator import clock, net


class Product(asyncio.Protocol):
    """The product's end of a connection: it notes what happens to it, in order."""

    def __init__(self, stays_open: bool = False) -> None:
        self.happened: list[Any] = []
        self.stays_open = stays_open
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.happened.append(data)

    def eof_received(self) -> bool:
        self.happened.append("eof")
        return self.stays_open

    def pause_writing(self) -> None:
        self.happened.append("pause")

    def resume_writing(self) -> None:
        self.happened.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.happened.append(type(error).__name__ if error is not None else "closed")


Scene = Callable[[net.Wire, Product], Awaitable[None]]


def play(scene: Scene, room: int | None = None, stays_open: bool = False) -> list[Any]:
    """What happened to the product in a scene, with a peer that takes `room` bytes."""
    loop = clock.VirtualLoop()
    product = Product(stays_open)

    async def played() -> None:
        wire = net.Wire(loop, product, room)
        await scene(wire, product)
        await asyncio.sleep(1)

    try:
        loop.run_until_complete(played())
        assert loop.complaints == []
    finally:
        loop.close()
    return product.happened


def test_each_piece_comes_in_a_round_of_its_own() -> None:
    async def scene(wire: net.Wire, product: Product) -> None:
        wire.send(b"one")
        wire.send(b"two")
        assert (product.happened, wire.undelivered) == ([], 6)
        await asyncio.sleep(0)
        assert (product.happened, wire.delivered) == ([b"one"], 3)

    assert play(scene) == [b"one", b"two"]


def test_a_product_that_pauses_reading_gets_the_rest_when_it_resumes() -> None:
    async def scene(wire: net.Wire, product: Product) -> None:
        wire.send(b"one")
        wire.pause_reading()
        await asyncio.sleep(1)
        assert (product.happened, wire.undelivered, wire.is_reading()) == ([], 3, False)
        wire.resume_reading()

    assert play(scene) == [b"one"]


def test_what_a_slow_peer_has_no_room_for_waits_and_presses() -> None:
    async def scene(wire: net.Wire, product: Product) -> None:
        wire.set_write_buffer_limits(high=10, low=4)
        wire.write(b"x" * 25)
        assert (bytes(wire.received), wire.get_write_buffer_size()) == (b"x" * 5, 20)
        await asyncio.sleep(1)
        wire.take(10)
        assert product.happened == ["pause"]
        wire.take(7)
        assert wire.get_write_buffer_size() == 3
        assert wire.most_waiting == 20

    assert play(scene, room=5) == ["pause", "resume"]


def test_arrivals_say_when_how_much_had_come() -> None:
    async def scene(wire: net.Wire, _: Product) -> None:
        wire.write(b"abc")
        await asyncio.sleep(2)
        wire.write(b"de")
        (first, three), (second, five) = wire.arrivals
        assert (three, five) == (3, 5)
        assert second - first == pytest.approx(2, abs=0.001)
        assert wire.news.is_set()

    assert play(scene) == []


def test_a_close_sends_what_waits_and_an_abort_does_not() -> None:
    async def closing(wire: net.Wire, product: Product) -> None:
        wire.write(b"rest")
        wire.close()
        assert (wire.is_closing(), wire.over) == (True, False)
        wire.write(b"more")  # is lost: the product has closed
        wire.take(100)
        assert (bytes(wire.received), wire.over) == (b"rest", True)

    async def aborting(wire: net.Wire, product: Product) -> None:
        wire.write(b"rest")
        wire.abort()
        wire.take(100)
        assert (bytes(wire.received), wire.over) == (b"", True)

    assert play(closing, room=0) == ["closed"]
    assert play(aborting, room=0) == ["closed"]


def test_an_end_of_writing_is_the_peers_end_and_the_product_reads_on() -> None:
    async def scene(wire: net.Wire, _: Product) -> None:
        wire.write(b"answer")
        wire.write_eof()
        assert wire.over
        wire.send(b"more")

    assert play(scene) == [b"more"]


@pytest.mark.parametrize(("stays_open", "after"), [(False, ["eof", "closed"]), (True, ["eof"])])
def test_a_half_closed_connection_ends_unless_the_product_keeps_it(
    stays_open: bool, after: list[str]
) -> None:
    async def scene(wire: net.Wire, _: Product) -> None:
        wire.half_close()

    assert play(scene, stays_open=stays_open) == after


def test_a_peer_that_leaves_with_unread_data_resets() -> None:
    async def scene(wire: net.Wire, _: Product) -> None:
        wire.write(b"unread")
        wire.leave()

    assert play(scene, room=0) == ["ConnectionResetError"]


def test_who_writes_to_a_peer_that_left_hears_of_it_afterwards() -> None:
    async def scene(wire: net.Wire, product: Product) -> None:
        wire.leave()
        await asyncio.sleep(1)
        assert product.happened == ["eof"]
        wire.write(b"x")

    assert play(scene, stays_open=True) == ["eof", "BrokenPipeError"]


def test_a_reset_comes_at_once_and_once() -> None:
    over: list[str] = []

    async def scene(wire: net.Wire, _: Product) -> None:
        wire.on_over = lambda: over.append("over")
        wire.send(b"never read")
        wire.reset()
        wire.reset()
        wire.close()

    assert play(scene) == ["ConnectionResetError"]
    assert over == ["over"]


def test_a_port_takes_connections_while_it_listens() -> None:
    loop = clock.VirtualLoop()
    port = net.Port(loop)
    assert port.connect(None) is None
    port.listen(Product)
    assert port.connect(None) is not None
    port.close()
    assert port.connect(None) is None
    loop.close()


def test_what_is_written_on_a_tick_is_read_at_the_next() -> None:
    assert [net.next_tick(now, 0.5) for now in (0.0, 0.1, 0.5, 0.9)] == [0.5, 0.5, 1.0, 1.0]
