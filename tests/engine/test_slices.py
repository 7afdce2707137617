"""Long work leaves room for everything else, in turns, and its result is what it would be."""

import asyncio
import gc
import itertools

import pytest

from engine import slices
from engine.slices import Slice, Steps
from tests.support.process import machinetime


def count(most: int, seen: list[int] | None = None) -> Steps[int]:
    """Count to `most`, a step each."""
    for number in range(most):
        if seen is not None:
            seen.append(number)
        yield
    return most


def fail() -> Steps[None]:
    yield
    raise ValueError("the work is wrong")


def test_the_result_is_the_same_at_once_and_in_slices() -> None:
    assert slices.at_once(count(1000)) == 1000
    assert asyncio.run(slices.in_slices(count(1000))) == 1000


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="the work is wrong"):
        slices.at_once(fail())
    with pytest.raises(ValueError, match="the work is wrong"):
        asyncio.run(slices.in_slices(fail()))


def ten_steps() -> Slice:
    """A slice whose time is up at every tenth look at the clock."""
    clock = itertools.count()
    return Slice(10, lambda: float(next(clock)))


def test_short_work_never_waits() -> None:
    async def main() -> list[str]:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "another")
        await slices.in_slices(count(10))
        return [*order, "the work"]

    assert asyncio.run(main()) == ["the work"]


def test_others_run_between_two_slices() -> None:
    async def main() -> list[int]:
        """How far the work is in each round of the loop."""
        seen: list[int] = []
        rounds: list[int] = []
        work = asyncio.ensure_future(slices.in_slices(count(100, seen), ten_steps()))
        while not work.done():
            rounds.append(len(seen))
            await asyncio.sleep(0)
        return rounds

    rounds = asyncio.run(main())
    steps = [after - before for before, after in itertools.pairwise(rounds)]
    assert max(steps) <= 11
    assert sum(map(bool, steps)) <= 11
    assert sum(steps) == 100


def test_of_several_one_slice_runs_in_a_round_and_each_has_its_turn() -> None:
    async def main() -> list[list[int]]:
        seen: list[list[int]] = [[] for _ in range(5)]
        works = [
            asyncio.ensure_future(slices.in_slices(count(100, each), ten_steps())) for each in seen
        ]
        rounds = []
        await asyncio.sleep(0)  # the first slice of each is not waited for
        while not all(work.done() for work in works):
            rounds.append([len(each) for each in seen])
            await asyncio.sleep(0)
        return rounds

    rounds = asyncio.run(main())
    for before, after in itertools.pairwise(rounds):
        moved = [b - a for a, b in zip(before, after, strict=True)]
        assert sum(step > 0 for step in moved) <= 1
        assert max(after) - min(after) <= 2 * 11


def test_a_cancelled_wait_holds_nobody_up() -> None:
    async def main() -> None:
        first, second = Slice(0), Slice(0)
        waiting = [asyncio.ensure_future(each.pause()) for each in (first, second)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait_for(waiting[1], machinetime.HANG_S)
        await asyncio.wait_for(first.pause(), machinetime.HANG_S)

    asyncio.run(main())


def test_a_cancelled_work_is_closed() -> None:
    closed = []

    def endless() -> Steps[None]:
        try:
            while True:
                yield
        finally:
            closed.append(True)

    async def main() -> None:
        work = asyncio.ensure_future(slices.in_slices(endless()))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(main())
    assert closed == [True]


def test_the_collector_is_off_within_a_slice_and_on_between_two() -> None:
    states = []

    def look() -> Steps[None]:
        for _ in range(2):
            states.append(gc.isenabled())
            yield
            end = Slice()
            while not end.spent:
                pass

    async def main() -> None:
        work = asyncio.ensure_future(slices.in_slices(look()))
        while not work.done():
            await asyncio.sleep(0)
            states.append(gc.isenabled())

    asyncio.run(main())
    assert states[:2] == [False, False]
    assert set(states[2:]) == {True}


def test_the_collector_comes_back_as_it_was() -> None:
    with slices.GcPaused():
        with slices.GcPaused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError), slices.GcPaused():
        raise ValueError
    assert gc.isenabled()
    gc.disable()
    try:
        with slices.GcPaused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_list_is_emptied_in_steps() -> None:
    numbers: list[object] = list(range(3))
    steps = slices.emptied(numbers)
    assert [len(numbers) for _ in steps] == [2, 1, 0]
