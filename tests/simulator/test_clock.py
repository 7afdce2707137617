"""The loop of a run: its time jumps, it never waits, and it says when nothing can happen."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulator import clock


@contextlib.contextmanager
def loop() -> Iterator[clock.VirtualLoop]:
    """A loop, closed afterwards."""
    made = clock.VirtualLoop()
    try:
        yield made
    finally:
        made.unstick()
        made.close()


def test_a_deadline_of_an_hour_costs_nothing_and_comes_when_it_is_due() -> None:
    async def wait() -> float:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - begun

    with loop() as virtual:
        begun = time.process_time()
        assert virtual.run_until_complete(wait()) == pytest.approx(3600, abs=0.001)
        assert virtual.wall_us() == pytest.approx((clock.START + 3600) * 1_000_000, abs=1000)
        assert time.process_time() - begun < 1


def test_timers_go_off_in_the_order_of_their_times() -> None:
    order: list[int] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    async def wait_for_all() -> None:
        await asyncio.gather(wait(3), wait(1), wait(2))

    with loop() as virtual:
        virtual.run_until_complete(wait_for_all())
    assert order == [1, 2, 3]


def test_no_two_rounds_are_at_the_same_time() -> None:
    async def look() -> list[float]:
        times = []
        for _ in range(5):
            times.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
        return times

    with loop() as virtual:
        times = virtual.run_until_complete(look())
    assert times == sorted(set(times))


def test_a_run_in_which_nothing_can_happen_any_more_is_stuck() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with loop() as virtual, pytest.raises(clock.Stuck, match="nothing will ever happen"):
        virtual.run_until_complete(wait())


def test_a_run_that_goes_round_in_circles_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "ROUNDS_MOST", 100)

    def turn(virtual: clock.VirtualLoop) -> None:
        virtual.call_soon(turn, virtual)

    with loop() as virtual, pytest.raises(clock.Stuck, match="in circles"):
        turn(virtual)
        virtual.run_forever()


def test_another_threads_failure_is_its_chores_own() -> None:
    done: list[str] = []

    def chore(name: str) -> str:
        done.append(name)
        if name == "bad":
            raise ValueError(name)
        return name

    async def ask() -> list[Any]:
        running = asyncio.get_running_loop()
        chores = [running.run_in_executor(None, chore, name) for name in ("one", "bad", "three")]
        return await asyncio.gather(*chores, return_exceptions=True)

    with loop() as virtual:
        first, second, third = virtual.run_until_complete(ask())
        assert virtual.time() == pytest.approx(3 * clock.CHORE_S, abs=0.0001)
    assert (first, repr(second), third) == ("one", "ValueError('bad')", "three")
    assert done == ["one", "bad", "three"]


def test_a_timer_is_listed_until_it_is_cancelled_or_goes_off() -> None:
    def names(virtual: clock.VirtualLoop) -> int:
        return len(virtual.timers())

    async def live(virtual: clock.VirtualLoop) -> list[int]:
        first = virtual.call_later(1, print_nothing)
        virtual.call_later(2, print_nothing)
        counts = [names(virtual)]
        first.cancel()
        counts.append(names(virtual))
        await asyncio.sleep(3)
        return [*counts, names(virtual)]

    with loop() as virtual:
        assert virtual.run_until_complete(live(virtual)) == [2, 1, 0]


def print_nothing() -> None:
    """What a timer does."""


@pytest.mark.parametrize("when", [0.0, 5.0])
def test_what_reaches_the_loops_handler_is_kept(when: float) -> None:
    def fail() -> None:
        raise KeyError("lost")

    async def live(later: Callable[..., Any]) -> None:
        later(when, fail)
        await asyncio.sleep(when + 1)

    with loop() as virtual:
        virtual.run_until_complete(live(virtual.call_later))
        (complaint,) = virtual.complaints
    assert "KeyError('lost')" in complaint
