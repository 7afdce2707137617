"""A turn goes from state to state as it is declared, and no other way."""

import itertools

import pytest

from machines.turn import turn
from tests.machines.stream import oracle


@pytest.mark.parametrize("seed", range(2))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    tried = oracle.walk(turn.TurnMachine, turn.TABLE, seed, 4_000)
    assert tried == set(itertools.product(turn.TABLE.states, turn.TABLE.events))


def test_every_event_has_a_name() -> None:
    assert {event.value for event in turn.Event} == set(turn.TABLE.events)


@pytest.mark.parametrize("state", sorted(turn.ENDED))
def test_what_has_ended_is_not_brought_back_by_what_codex_says(state: str) -> None:
    said = set(turn.Event) - {turn.Event.DEMANDED}
    reached = {turn.TABLE.transitions.get((state, event)) for event in said} - {None}
    assert reached <= turn.TABLE.final


def test_only_a_whole_answer_outlives_its_process() -> None:
    survives = {
        state
        for state in turn.TABLE.states
        if turn.TABLE.transitions.get((state, turn.Event.LOST)) == turn.OVER
    }
    assert survives == {turn.WHOLE}
