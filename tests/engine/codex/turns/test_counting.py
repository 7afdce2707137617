"""A turn's tokens are those of its own steps, whatever its thread has taken before."""

import pytest

from engine.codex.protocol.notifications import TokenCounts
from engine.codex.turns import counting
from machines.events import Usage


def counts(factor: int) -> TokenCounts:
    return TokenCounts(100 * factor, 30 * factor, 10 * factor, 2 * factor, 110 * factor)


def test_the_first_turn_of_a_thread_has_taken_all_of_it() -> None:
    turn = counting.TurnCounts(counting.ThreadTotals())
    turn.thread_counted(counts(1))
    assert (turn.usage, turn.steps) == (Usage(100, 10, 30, 2), 1)


def test_a_later_turn_has_taken_what_came_since() -> None:
    totals = counting.ThreadTotals()
    counting.TurnCounts(totals).thread_counted(counts(1))
    later = counting.TurnCounts(totals)
    later.thread_counted(counts(4))
    assert later.usage == Usage(300, 30, 90, 6)


def test_a_turn_that_nobody_counted_is_unknown() -> None:
    assert counting.TurnCounts().usage is None
    told_none = counting.TurnCounts(by_step=True)
    told_none.step_counted(None)
    assert (told_none.usage, told_none.steps) == (None, 1)


def test_a_step_of_its_own_counts_and_the_threads_do_not() -> None:
    turn = counting.TurnCounts(counting.ThreadTotals(), by_step=True)
    turn.thread_counted(counts(7))
    turn.step_counted(counts(1))
    assert (turn.usage, turn.steps) == (Usage(100, 10, 30, 2), 1)


@pytest.mark.parametrize(
    ("told", "usage"), [((), None), ((2,), Usage(200, 20, 60, 4)), ((2, 5), Usage(300, 30, 90, 6))]
)
def test_a_step_that_was_cut_has_taken_what_the_thread_has_since(
    told: tuple[int, ...], usage: Usage | None
) -> None:
    totals = counting.ThreadTotals()
    turn = counting.TurnCounts(totals, by_step=True)
    for factor in told:
        turn.thread_counted(counts(factor))
    turn.cut()
    assert turn.usage == usage


def test_counts_of_turns_that_came_to_nothing_are_added() -> None:
    turn = counting.TurnCounts(earlier=Usage(10, 5, 3, 1))
    assert turn.usage is None
    turn.thread_counted(counts(1))
    assert turn.usage == Usage(110, 15, 33, 3)


@pytest.mark.parametrize(("reasoning", "speaks"), [(10, False), (2, True)])
def test_tokens_beside_the_reasoning_are_words(reasoning: int, speaks: bool) -> None:
    turn = counting.TurnCounts()
    turn.thread_counted(TokenCounts(1, 0, 10, reasoning, 11))
    assert turn.speaks is speaks
