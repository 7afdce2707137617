"""A turn goes from state to state as it is declared, and no other way."""

import itertools

import pytest

from machines.turn import turn as turns
from tests.machines.stream import oracle


@pytest.mark.parametrize("seed", range(2))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    tried = oracle.walk(turns.TurnMachine, turns.TABLE, seed, 4_000)
    assert tried == set(itertools.product(turns.TABLE.states, turns.TABLE.events))


def test_every_event_has_a_name() -> None:
    assert {event.value for event in turns.Event} == set(turns.TABLE.events)


@pytest.mark.parametrize("state", sorted(turns.ENDED))
def test_what_has_ended_is_not_brought_back_by_what_codex_says(state: str) -> None:
    said = set(turns.Event) - {turns.Event.DEMANDED}
    reached = {turns.TABLE.transitions.get((state, event)) for event in said} - {None}
    assert reached <= turns.TABLE.final


def test_only_a_whole_answer_outlives_its_process() -> None:
    survives = {
        state
        for state in turns.TABLE.states
        if turns.TABLE.transitions.get((state, turns.Event.LOST)) == turns.OVER
    }
    assert survives == {turns.WHOLE}
