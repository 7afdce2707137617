"""Whether a process answers: what is told of answers that are late."""

import asyncio
from collections.abc import Callable

import pytest

from engine import lateness
from engine.codex.child import pings
from tests.support.machines import virtualtime


class Process:
    """Answers after so many seconds each time; keeps what is told of it and when."""

    def __init__(self, *delays: float) -> None:
        self._delays = iter(delays)
        self._loop = asyncio.get_running_loop()
        self.asked: list[float] = []
        self.told: list[tuple[str, float]] = []
        self.over = asyncio.Event()

    async def ask(self) -> None:
        delay = next(self._delays, None)
        if delay is None:
            self.over.set()
            await asyncio.Event().wait()
            return
        self.asked.append(round(self._loop.time(), 3))
        await asyncio.sleep(delay)

    def telling(self, what: str) -> Callable[[], None]:
        return lambda: self.told.append((what, round(self._loop.time(), 3)))


@pytest.mark.parametrize(
    ("delays", "asked", "told"),
    [
        ((0.1, 2.9), [1.5, 3.1], []),
        ((3.05,), [1.5], []),  # what waits to be read is read before a process is missed
        ((4.0,), [1.5], [("missed", 4.6), ("answered", 5.5)]),
        ((20.0, 0.1), [1.5, 23.0], [("missed", 4.6), ("answered", 21.5)]),
    ],
)
def test_a_late_answer_is_told_once_and_so_is_its_coming(
    delays: tuple[float, ...], asked: list[float], told: list[tuple[str, float]]
) -> None:
    async def scene() -> None:
        process = Process(*delays)
        each = pings.Pings(process.ask, process.telling("missed"), process.telling("answered"))
        running = asyncio.ensure_future(each.run())
        await process.over.wait()
        running.cancel()
        assert (process.asked, process.told) == (asked, told)

    virtualtime.run(scene())


def test_a_process_that_stops_is_missed_within_the_limit_of_readiness() -> None:
    """It may stop in the moment after it has answered."""
    assert pings.INTERVAL_S + pings.LIMIT_S + lateness.READ_S < 5.0


def test_no_question_is_left_behind() -> None:
    async def scene() -> None:
        process = Process()
        each = pings.Pings(process.ask, process.telling("missed"), process.telling("answered"))
        running = asyncio.ensure_future(each.run())
        await process.over.wait()
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtualtime.run(scene())
