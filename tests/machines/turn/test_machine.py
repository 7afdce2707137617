"""What happens to a turn is told to its thread, and every story of both comes to an end."""

from pathlib import Path

import pytest

from machines import errors
from machines.turn import machine, thread as threads, turn as turns
from machines.turn.machine import Change, TurnOnThread
from tests.machines.turn import product

NAMED = {
    product.Mode.WORDS: "words",
    product.Mode.TOOLS: "words or calls",
    product.Mode.REQUIRED: "calls alone",
}

PAGE = (Path(__file__).parents[3] / "docs" / "machines.md").read_text(encoding="utf-8")


def running() -> TurnOnThread:
    its = TurnOnThread()
    its.take_thread_event(threads.Event.START_SENT)
    its.take_thread_event(threads.Event.STARTED)
    return its


def test_the_end_of_a_turn_releases_its_thread() -> None:
    its = running()
    its.take_turn_event(turns.Event.SPOKE)
    step = its.take_turn_event(turns.Event.COMPLETED)
    assert step.changes == (
        Change("turn", "completed", "speaking", "over"),
        Change("thread", "turn_over", "running", "released"),
    )
    assert step.actions == (threads.Action.UNSUBSCRIBE, threads.Action.LEAVE)


def test_a_turn_that_leaves_nothing_beside_its_answer_leaves_its_thread_to_the_next() -> None:
    its = running()
    its.take_turn_event(turns.Event.SPOKE)
    step = its.take_turn_event(turns.Event.CONCLUDED)
    assert step.changes[1:] == (Change("thread", "turn_concluded", "running", "idle"),)
    assert step.actions == (threads.Action.REST,)
    assert (its.turn, its.heard) == (turns.OVER, True)
    its.take_thread_event(threads.Event.REUSED)
    assert (its.turn, its.thread, its.heard) == (turns.SILENT, threads.RUNNING, False)


@pytest.mark.parametrize(
    "why", [threads.Event.NOT_KEPT, threads.Event.EXPIRED, threads.Event.EVICTED]
)
def test_an_idle_thread_is_released_without_an_interrupt(why: threads.Event) -> None:
    its = running()
    its.take_turn_event(turns.Event.SPOKE)
    its.take_turn_event(turns.Event.CONCLUDED)
    step = its.take_thread_event(why)
    assert (its.thread, step.actions) == (threads.RELEASED, (threads.Action.UNSUBSCRIBE,))


@pytest.mark.parametrize(
    ("answerable", "state"), [(True, threads.WAITING), (False, threads.INTERRUPTING)]
)
def test_a_step_with_calls_waits_for_results_that_can_come(answerable: bool, state: str) -> None:
    its = running()
    its.take_turn_event(turns.Event.STEP_CALLED, answerable)
    assert (its.turn, its.thread) == (turns.CALLING, state)


def test_a_turn_that_is_stopped_here_is_interrupted_there() -> None:
    its = running()
    step = its.take_turn_event(turns.Event.STOPPED)
    assert (its.turn, its.thread) == (turns.FAILED, threads.INTERRUPTING)
    assert step.actions == (threads.Action.INTERRUPT, threads.Action.UNSUBSCRIBE)


def test_what_its_client_was_told_is_remembered_until_the_next_client() -> None:
    its = running()
    its.take_turn_event(turns.Event.KEPT_BACK)
    assert not its.heard
    its.take_turn_event(turns.Event.SPOKE)
    its.take_turn_event(turns.Event.CALL_MISSING)
    its.take_turn_event(turns.Event.DEMANDED)
    assert (its.turn, its.heard) == (turns.SILENT, True)
    its.take_turn_event(turns.Event.STEP_CALLED)
    its.take_thread_event(threads.Event.RESUMED)
    assert (its.turn, its.heard) == (turns.SILENT, False)


def test_a_step_that_changes_nothing_is_no_change() -> None:
    its = running()
    assert its.take_turn_event(turns.Event.ITEM_STARTED) == machine.Step(())


def test_an_event_that_does_not_belong_changes_nothing() -> None:
    its = running()
    with pytest.raises(errors.IllegalEvent):
        its.take_turn_event(turns.Event.DEMANDED)
    assert (its.turn, its.thread) == (turns.SILENT, threads.RUNNING)


def test_changes_that_the_declaration_has_are_legal_and_no_others() -> None:
    assert machine.legal(Change("turn", "spoke", "silent", "speaking"))
    assert not machine.legal(Change("turn", "spoke", "silent", "over"))
    assert not machine.legal(Change("thread", "spoke", "silent", "speaking"))
    assert not machine.legal(Change("turn", "no such event", "silent", "over"))


@pytest.mark.long(usual=("WORDS-usage", "TOOLS-usage", "REQUIRED-usage"))
@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no usage"])
@pytest.mark.parametrize("mode", product.Mode, ids=lambda mode: mode.name)
def test_every_order_of_events_keeps_the_rules_and_comes_to_an_end(
    mode: product.Mode, usage: bool
) -> None:
    space = product.Space(mode, usage)  # raises where a rule is broken, with the story
    stories = ["\n  ".join(space.story(key)) for key in space.dead_ends()[:3]]
    assert not stories, f"nothing leads out of:\n  {stories[0]}"
    assert f"| {NAMED[mode]} | {len(space.states):,} | {space.steps:,} |" in PAGE or not usage
    reached = {(lane[0], lane[1]) for key in space.states for lane in key[-1]}
    of_turns, of_threads = set(turns.TABLE.states), set(threads.TABLE.states)
    if mode is product.Mode.WORDS:
        of_turns -= {turns.LACKING, turns.OWING, turns.CALLING}
        of_threads -= {threads.ASKED, threads.REFUSING, threads.WAITING}
    elif mode is product.Mode.TOOLS:
        of_turns -= {turns.LACKING, turns.OWING}
    else:
        of_turns -= {turns.WHOLE, turns.OVER}
        of_threads -= {threads.IDLE}
    assert {state for state, _ in reached} == of_turns
    assert {state for _, state in reached} == of_threads
