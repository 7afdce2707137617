"""Whose the longest silence of a stream was, and what else its clock says."""

import asyncio

import pytest

from engine import failures, looplag
from engine.stream.times import Times
from machines import events
from machines.turn import thread as threads
from tests.support.machines import virtualtime

SECOND = 1_000_000
STARTED = events.TurnStarted("th", "tu")
BEGUN = events.ThreadChanged(threads.Event.START_SENT, threads.NEW, threads.STARTING)
RUNS = events.ThreadChanged(threads.Event.STARTED, threads.STARTING, threads.RUNNING)
FULL = failures.BUSY.event(0)
FAILED = failures.NOT_READY.event(0)
RETRY = events.RetryScheduled(1, 500, "worker_exited")


def told(*happened: tuple[int, events.StreamEvent]) -> Times:
    """The times of a stream that was told of events, each at its second."""
    at = Times(0, 0, 0)
    for second, event in happened:
        at.saw(event, second * SECOND)
    return at


@pytest.mark.parametrize(
    ("happened", "owner", "seconds"),
    [
        ([(9, STARTED), (12, events.ReasoningDelta("hm"))], "worker", 9),
        ([(9, BEGUN), (9, events.RpcSent("thread/start", 1)), (12, STARTED)], "queued", 9),
        ([(9, events.RpcSent("thread/start", 1)), (12, STARTED)], "queued", 9),
        ([(9, events.TurnResumed("th")), (12, STARTED)], "queued", 9),
        ([(9, FULL)], "queued", 9),
        ([(9, FAILED)], "worker", 9),
        ([(1, BEGUN), (9, RUNS)], "worker", 8),
        ([(1, RETRY), (9, BEGUN), (12, STARTED)], "server", 8),
        ([(1, RETRY), (2, BEGUN), (12, STARTED)], "worker", 10),
        ([(15, events.TimerFired("heartbeat")), (20, STARTED)], "worker", 20),
    ],
)
def test_a_silence_has_an_owner(
    happened: list[tuple[int, events.StreamEvent]], owner: str, seconds: int
) -> None:
    at = told(*happened)
    assert (at.gap_owner, at.longest_gap) == (owner, seconds * SECOND)


def test_a_client_that_does_not_read_owns_the_silence() -> None:
    at = told((2, STARTED))
    at.pressed = 3 * SECOND
    at.saw(events.TextDelta("one more"), 4 * SECOND)
    at.relieved(30 * SECOND)
    at.saw(events.TextDelta("and"), 31 * SECOND)
    assert (at.gap_owner, at.longest_gap) == ("client", 27 * SECOND)
    assert at.pressed is None


def test_a_client_that_never_reads_again_owns_the_last_silence() -> None:
    at = told((2, STARTED))
    at.pressed = 3 * SECOND
    at.ended(33 * SECOND, looplag.LoopLag(), 33.0)
    assert (at.gap_owner, at.longest_gap) == ("client", 30 * SECOND)


def test_a_stream_that_ends_while_another_try_is_due_was_silent_by_us() -> None:
    at = told((1, RETRY))
    at.ended(31 * SECOND, looplag.LoopLag(), 31.0)
    assert (at.gap_owner, at.longest_gap) == ("server", 30 * SECOND)


def test_heartbeats_are_counted_and_are_no_sign_of_life() -> None:
    at = told((1, STARTED), (5, events.TimerFired("heartbeat")), (9, events.TimerFired("idle")))
    assert (at.heartbeats, at.event) == (1, SECOND)


def test_the_wait_for_results_is_what_the_turn_says() -> None:
    assert told((1, events.TurnResumed("th", parked_us=7_000))).parked == 7_000


@pytest.mark.parametrize(("held", "owner"), [(6.0, "server"), (4.0, "worker")])
def test_a_loop_that_was_held_for_most_of_a_silence_owns_it(held: float, owner: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtualtime.VirtualLoop)
        lag = looplag.LoopLag()
        watching = loop.create_task(lag.watch())
        await asyncio.sleep(1)
        at = Times(0, 0, 0)
        loop.hold(held)
        await asyncio.sleep(10 - held)
        at.saw_event(10 * SECOND)
        await asyncio.sleep(3)
        at.ended(13 * SECOND, lag, loop.time())
        assert (at.gap_owner, at.longest_gap) == (owner, 10 * SECOND)
        watching.cancel()

    virtualtime.run(main())


def test_the_process_is_that_of_the_last_turn() -> None:
    first = (1, events.TurnStarted("th", "tu", process="wk_1"))
    assert told(first).process == "wk_1"
    assert told(first, (2, events.TurnResumed("th", process="wk_2"))).process == "wk_2"
    assert told(first, (2, events.FallbackTaken("m", "upstream", "x"))).process == ""
