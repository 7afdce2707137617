"""A thread goes from state to state as it is declared, and leaves its place on the way out."""

import pytest

from machines import errors
from machines.turn import thread as threads
from tests.machines.stream import oracle


@pytest.mark.parametrize("seed", range(2))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    oracle.walk(threads.ThreadMachine, threads.TABLE, seed, 2_000)


@pytest.mark.parametrize("state", threads.TABLE.states)
def test_each_state_takes_and_refuses_what_the_declared_machine_does(state: str) -> None:
    """A walk by chance comes to `refusing` too rarely to try everything there."""
    for event in threads.TABLE.events:
        oracle.agree(threads.ThreadMachine, threads.TABLE, state, event)


def test_every_event_has_a_name() -> None:
    assert {event.value for event in threads.Event} == set(threads.TABLE.events)


def test_every_way_into_a_final_state_gives_the_place_back() -> None:
    gives = {threads.Action.LEAVE, threads.Action.REST, threads.Action.ABANDON}
    assert gives & set(threads.actions(threads.IDLE, threads.Event.TURN_CONCLUDED))
    for (state, event), after in threads.TABLE.transitions.items():
        if after in threads.TABLE.final and state != threads.IDLE:
            assert gives & set(threads.actions(after, threads.Event(event))), (state, event)


def test_nothing_is_done_that_no_step_asks_for() -> None:
    asked: set[threads.Action] = set()
    for (_, event), after in threads.TABLE.transitions.items():
        asked |= set(threads.actions(after, threads.Event(event)))
    assert asked == set(threads.Action)


ON_ITS_WAY_OUT = {threads.IDLE, threads.INTERRUPTING, threads.ORPHANED}


@pytest.mark.parametrize("state", sorted(ON_ITS_WAY_OUT))
def test_a_bug_on_the_way_out_ends_it(state: str) -> None:
    assert threads.TABLE.next(state, threads.Event.RELEASE_FAILED) == threads.RELEASED


@pytest.mark.parametrize("state", sorted(set(threads.TABLE.states) - ON_ITS_WAY_OUT))
def test_a_thread_that_is_wanted_is_not_on_its_way_out(state: str) -> None:
    """A turn that runs could not be told of it, and its client would wait for ever."""
    with pytest.raises(errors.IllegalEvent):
        threads.TABLE.next(state, threads.Event.RELEASE_FAILED)
