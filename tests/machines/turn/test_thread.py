"""A thread goes from state to state as it is declared, and leaves its place on the way out."""

import pytest

from machines.turn import thread
from tests.machines.stream import oracle


@pytest.mark.parametrize("seed", range(2))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    oracle.walk(thread.ThreadMachine, thread.TABLE, seed, 2_000)


@pytest.mark.parametrize("state", thread.TABLE.states)
def test_each_state_takes_and_refuses_what_the_declared_machine_does(state: str) -> None:
    """A walk by chance comes to `refusing` too rarely to try everything there."""
    for event in thread.TABLE.events:
        oracle.agree(thread.ThreadMachine, thread.TABLE, state, event)


def test_every_event_has_a_name() -> None:
    assert {event.value for event in thread.Event} == set(thread.TABLE.events)


def test_every_way_into_a_final_state_gives_the_place_back() -> None:
    gives = {thread.Action.LEAVE, thread.Action.ABANDON}
    for (state, event), after in thread.TABLE.transitions.items():
        if after in thread.TABLE.final:
            assert gives & set(thread.actions(after, thread.Event(event))), (state, event)


def test_nothing_is_done_that_no_step_asks_for() -> None:
    asked: set[thread.Action] = set()
    for (_, event), after in thread.TABLE.transitions.items():
        asked |= set(thread.actions(after, thread.Event(event)))
    assert asked == set(thread.Action)


@pytest.mark.parametrize("state", [s for s in thread.TABLE.states if s not in thread.TABLE.final])
def test_a_bug_on_the_way_out_ends_it_from_anywhere(state: str) -> None:
    assert thread.TABLE.next(state, thread.Event.RELEASE_FAILED) == thread.RELEASED
