"""What is kept otherwise ends in time, and is of one key or of all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from server.logcontent import LogContent, Override
from tests.support.machines import virtualtime


def lived(scene: Callable[[LogContent], Awaitable[None]]) -> list[dict[str, Any]]:
    """Have something happen; the lines that were written."""

    async def live() -> None:
        await scene(LogContent("masked", lambda: 1_769_860_800.0))

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(live())
    return [dict(line) for line in lines]


def test_it_ends_by_itself_when_its_minutes_are_over() -> None:
    async def scene(content: LogContent) -> None:
        content.change(Override("full", None, 5))
        assert content.status()["until"] == "2026-01-31T12:05:00Z"
        await asyncio.sleep(299)
        assert content.of("K") == "full"
        await asyncio.sleep(2)
        assert content.of("K") == "masked"
        assert content.status() == {"content": "masked", "key": None, "until": None}

    lines = lived(scene)
    assert [line["cause"] for line in lines] == ["admin", "until"]
    assert [line["content"] for line in lines] == ["full", "masked"]


def test_a_later_one_takes_its_place_with_minutes_of_its_own() -> None:
    async def scene(content: LogContent) -> None:
        content.change(Override("full", None, 1))
        content.change(Override("full", "K", 5))
        await asyncio.sleep(120)
        assert (content.of("K"), content.of("L"), content.of("")) == ("full", "masked", "masked")
        content.change(None)
        assert content.of("K") == "masked"
        await asyncio.sleep(600)

    assert [line["cause"] for line in lived(scene)] == ["admin"] * 3


def test_one_of_all_is_of_those_without_a_key_too() -> None:
    async def scene(content: LogContent) -> None:
        content.change(Override("full", None, 1))
        assert (content.of("K"), content.of(""), content.of(None)) == ("full",) * 3
        content.close()

    lived(scene)
