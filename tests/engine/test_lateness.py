"""A deadline that fires late lets what waits be read before it counts."""

import asyncio
import time

from engine import lateness


def scene(held_s: float, answers: bool) -> list[str]:
    """What happens by a deadline of 20 ms on a loop that is held for so long."""
    told: list[str] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        passed = asyncio.Event()

        def act() -> None:
            told.append("overdue")
            passed.set()

        deadline = lateness.Deadline(loop, 0.02, act)

        def answered() -> None:
            told.append("answered")
            deadline.cancel()
            passed.set()

        time.sleep(held_s)  # noqa: ASYNC251 - the loop is held up
        if answers:
            loop.call_soon(loop.call_later, 0.01, answered)
        await passed.wait()

    asyncio.run(play())
    return told


def test_it_passes_on_a_loop_that_turns() -> None:
    assert scene(0.0, answers=False) == ["overdue"]


def test_what_waits_to_be_read_comes_before_one_that_is_late() -> None:
    assert scene(0.3, answers=True) == ["answered"]


def test_one_that_is_late_passes_all_the_same() -> None:
    assert scene(0.3, answers=False) == ["overdue"]
