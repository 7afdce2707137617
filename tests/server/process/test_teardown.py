"""What ends a server: every step is tried, in reverse order, and none for ever."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog

from engine import containment
from server.process import teardown

LONG_S = 30.0
SHORT_S = 0.01


def step(order: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def undo() -> None:
        order.append(name)

    return undo


async def fail() -> None:
    raise RuntimeError("planted")


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def deaf() -> None:
    """Go on after being cancelled, once."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await asyncio.get_running_loop().create_future()


def test_steps_are_done_in_reverse_order() -> None:
    async def live() -> list[str]:
        order: list[str] = []
        async with teardown.Teardown() as parts:
            for name in ("log", "workers", "sockets"):
                parts.add(name, LONG_S, step(order, name))
        assert parts.undone == []
        return order

    assert asyncio.run(live()) == ["sockets", "workers", "log"]


@pytest.mark.parametrize("undo", [fail, never, deaf])
def test_a_step_that_fails_or_takes_too_long_stops_no_other(
    undo: Callable[[], Awaitable[None]],
) -> None:
    async def live() -> tuple[list[str], list[str]]:
        order: list[str] = []
        async with teardown.Teardown() as parts:
            parts.add("log", LONG_S, step(order, "log"))
            parts.add("workers", SHORT_S if undo is not fail else LONG_S, undo)
            parts.add("sockets", LONG_S, step(order, "sockets"))
        return order, parts.undone

    with structlog.testing.capture_logs() as lines:
        order, undone = asyncio.run(live())
    assert (order, undone) == (["sockets", "log"], ["workers"])
    # A task that an earlier test left behind may be collected, and spoken of, at any time.
    (line,) = [line for line in lines if "step" in line]
    assert line["step"] == "workers"
    assert line["event"] == ("defect" if undo is fail else "stop_step_timed_out")
    if undo is fail:
        assert line["boundary"] == containment.Boundary.SHUTDOWN.value


def test_the_steps_are_done_for_a_start_that_failed_and_its_error_is_what_is_raised() -> None:
    async def live(order: list[str]) -> None:
        async with teardown.Teardown() as parts:
            parts.add("log", LONG_S, step(order, "log"))
            parts.add("workers", LONG_S, fail)
            raise OSError("no port")

    order: list[str] = []
    with structlog.testing.capture_logs(), pytest.raises(OSError, match="no port"):
        asyncio.run(live(order))
    assert order == ["log"]
