"""What a connection has received: in order, bounded, and waited for."""

import asyncio

import pytest

from server.http import inbox
from tests.support.machines import virtualtime


def test_pieces_are_taken_together_and_in_order() -> None:
    async def scene() -> None:
        box = inbox.Inbox()
        box.put(b"one")
        box.put(b"two")
        assert await box.take(None) == [b"one", b"two"]
        box.put(b"")
        assert await box.take(None) == [b""]

    virtualtime.run(scene())


def test_who_takes_waits_for_what_comes() -> None:
    async def scene() -> None:
        box = inbox.Inbox()
        asyncio.get_running_loop().call_later(5, box.put, b"late")
        assert await box.take(10) == [b"late"]
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)

    virtualtime.run(scene())


def test_who_waits_for_nothing_gives_up() -> None:
    async def scene() -> None:
        box = inbox.Inbox()
        with pytest.raises(TimeoutError):
            await box.take(3)

    virtualtime.run(scene())


def test_it_is_full_at_the_limit_until_something_is_taken() -> None:
    async def scene() -> None:
        box = inbox.Inbox()
        box.put(b"x" * (inbox.AHEAD_BYTES - 1))
        assert not box.is_full
        box.put(b"x")
        assert box.is_full
        await box.take(None)
        assert not box.is_full

    virtualtime.run(scene())


def test_who_put_can_wait_until_it_is_taken() -> None:
    async def scene() -> None:
        box = inbox.Inbox()
        box.put(b"x")
        with pytest.raises(TimeoutError):
            await box.taken(3)
        asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(box.take(None)))
        await box.taken(3)
        box.put(b"y")
        with pytest.raises(TimeoutError):
            await box.taken(3)

    virtualtime.run(scene())
