"""The lag of the loop is what a callback that holds it does to everything else."""

import asyncio

import pytest

from engine import looplag
from tests.support.machines import virtualtime


def test_before_the_first_look_there_is_none() -> None:
    assert looplag.LoopLag().figures() == looplag.Figures(0.0, 0.0)


@pytest.mark.parametrize(
    ("lags", "p99", "most"),
    [
        ([0.001], 1.0, 1.0),
        ([-0.001], 0.0, 0.0),
        ([0.001] * 99 + [0.05], 1.0, 50.0),
        ([0.001] * 98 + [0.05] * 2, 50.0, 50.0),
        ([0.0] * 600 + [0.002] * 600, 2.0, 2.0),
        ([0.5] + [0.001] * 600, 1.0, 1.0),
    ],
)
def test_figures(lags: list[float], p99: float, most: float) -> None:
    lag = looplag.LoopLag()
    for each in lags:
        lag.late(each)
    assert lag.figures() == looplag.Figures(p99, most)


def test_a_long_hold_counts_for_every_look_that_it_kept_waiting() -> None:
    lag = looplag.LoopLag()
    for _ in range(100):
        lag.late(0.0)
    lag.late(2.0)
    assert lag.figures() == looplag.Figures(1900.0, 2000.0)


def test_a_callback_that_holds_the_loop_is_seen() -> None:
    async def main() -> None:
        lag = looplag.LoopLag()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtualtime.VirtualLoop)
        watching = loop.create_task(lag.watch())
        await asyncio.sleep(1.05)
        assert lag.figures() == looplag.Figures(0.0, 0.0)
        loop.hold(0.35)
        await asyncio.sleep(0.5)
        assert lag.figures() == looplag.Figures(300.0, 300.0)
        watching.cancel()

    virtualtime.run(main())
