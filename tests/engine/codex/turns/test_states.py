"""What changes is recorded, then done; a state that must not last ends by its deadline."""

import asyncio
from typing import Any

import pytest

from engine.codex.turns import states
from machines.turn import machine, thread as threads, turn as turns
from tests.support.machines import virtualtime


class Kept:
    """States, and everything that they led to, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        loop = asyncio.get_running_loop()
        self.states = states.States(
            self.told.append, self.told.append, lambda event: self.told.append(event), loop
        )
        for event in (threads.Event.START_SENT, threads.Event.STARTED):
            self.states.take_thread_event(event)
        self.told.clear()


def test_changes_are_recorded_before_anything_is_done_about_them() -> None:
    async def scene() -> None:
        kept = Kept()
        kept.states.take_turn_event(turns.Event.COMPLETED)
        assert kept.told == [
            machine.Change("turn", "completed", "silent", "over"),
            machine.Change("thread", "turn_over", "running", "released"),
            threads.Action.UNSUBSCRIBE,
            threads.Action.LEAVE,
        ]
        assert kept.states.ended.is_set()

    virtualtime.run(scene())


@pytest.mark.parametrize(
    ("event", "grace_s"),
    [
        (turns.Event.ANSWER_WHOLE, states.STEP_GRACE_S),
        (turns.Event.ITEM_WHOLE, states.ITEM_GRACE_S),  # the model may think before another
    ],
)
def test_a_whole_answer_is_overdue_after_its_grace_and_no_sooner(
    event: turns.Event, grace_s: float
) -> None:
    async def scene() -> None:
        kept = Kept()
        kept.states.take_turn_event(event)
        await asyncio.sleep(grace_s - 0.1)
        assert turns.Event.OVERDUE not in kept.told
        await asyncio.sleep(0.2)
        assert kept.told[-1] is turns.Event.OVERDUE

    virtualtime.run(scene())


def test_a_state_that_is_left_in_time_has_no_deadline() -> None:
    async def scene() -> None:
        kept = Kept()
        kept.states.take_turn_event(turns.Event.ITEM_WHOLE)
        kept.states.take_thread_event(threads.Event.RESULT_ASKED)
        kept.states.take_turn_event(turns.Event.ITEM_STARTED)
        kept.states.take_turn_event(turns.Event.STEP_CALLED)
        await asyncio.sleep(10 * states.STEP_GRACE_S)
        assert threads.Event.PATIENCE_LOST not in kept.told
        assert turns.Event.OVERDUE not in kept.told

    virtualtime.run(scene())


def test_the_two_deadlines_do_not_touch_each_other() -> None:
    async def scene() -> None:
        kept = Kept()
        kept.states.take_turn_event(turns.Event.SPOKE)
        kept.states.take_turn_event(turns.Event.STEP_WHOLE)
        kept.states.take_thread_event(threads.Event.RESULT_ASKED)
        kept.states.take_turn_event(turns.Event.ITEM_STARTED)
        await asyncio.sleep(10 * states.STEP_GRACE_S)
        assert kept.told[-1] is threads.Event.PATIENCE_LOST

    virtualtime.run(scene())


def test_what_cannot_be_recorded_is_done_all_the_same() -> None:
    async def scene() -> None:
        done: list[Any] = []

        def broken(_: machine.Change) -> None:
            raise OSError

        loop = asyncio.get_running_loop()
        its = states.States(broken, done.append, done.append, loop)
        its.take_thread_event(threads.Event.GIVEN_UP)
        assert done == [threads.Action.LEAVE]

    virtualtime.run(scene())


def test_a_demand_and_a_result_begin_anew() -> None:
    async def scene() -> None:
        kept = Kept()
        kept.states.take_turn_event(turns.Event.CALL_MISSING)
        assert kept.states.ended.is_set()
        kept.states.take_turn_event(turns.Event.DEMANDED)
        assert not kept.states.ended.is_set()
        kept.states.take_turn_event(turns.Event.STEP_CALLED)
        assert (kept.states.ended.is_set(), kept.states.thread) == (True, threads.WAITING)
        kept.states.take_thread_event(threads.Event.RESUMED)
        assert not kept.states.ended.is_set()

    virtualtime.run(scene())


def test_a_turn_that_ends_as_a_change_of_it_is_recorded_has_no_deadline() -> None:
    """A stream may break at what it is told, and its turn is cancelled from within."""

    async def scene() -> None:
        kept = Kept()

        def breaks(change: machine.Change) -> None:
            if change.after == turns.WHOLE:
                kept.states.take_turn_event(turns.Event.CANCEL)

        kept.states._record = breaks
        kept.states.take_turn_event(turns.Event.ITEM_WHOLE)
        assert kept.states.ended.is_set()
        await asyncio.sleep(2 * states.ITEM_GRACE_S)
        assert turns.Event.OVERDUE not in kept.told

    virtualtime.run(scene())
