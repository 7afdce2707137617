"""Whoever writes many lines waits for a client that reads slowly, as long as it is there."""

import asyncio
import types
from typing import Any

from server.api.pace import Pace


async def waits(pace: Pace) -> bool:
    """Whether it waits: many rounds of the loop have not ended it."""
    waiting = asyncio.ensure_future(pace.wait())
    for _ in range(20):
        await asyncio.sleep(0)
    is_waiting = not waiting.done()
    waiting.cancel()
    return is_waiting


def test_it_waits_under_pressure_until_relief_or_until_nobody_is_there() -> None:
    async def run() -> None:
        exchange: Any = types.SimpleNamespace()
        pace = Pace(exchange)
        assert not await waits(pace)
        exchange.on_pressure(1)
        assert await waits(pace)
        exchange.on_relief()
        assert not await waits(pace)
        exchange.on_pressure(1)
        exchange.on_gone(None)
        assert not await waits(pace)
        assert pace.is_gone

    asyncio.run(run())
