"""A change of a turn or a thread is held against its machine, and against the one before it."""

import pytest

from engine.log import changes
from machines.events import LateChange, ThreadChanged, TurnChanged


def first_wrong(*told: LateChange) -> str:
    its = changes.Changes()
    return next((wrong for change in told if (wrong := its.wrong(change))), "")


def test_a_story_of_two_attempts_is_right() -> None:
    assert not first_wrong(
        ThreadChanged("start_sent", "new", "starting"),
        ThreadChanged("started", "starting", "running", thread_id="1"),
        TurnChanged("stopped", "silent", "failed"),
        ThreadChanged("given_up", "running", "interrupting", thread_id="1"),
        ThreadChanged("start_sent", "new", "starting"),
        ThreadChanged("started", "starting", "running", thread_id="2"),
        ThreadChanged("interrupted", "interrupting", "released", thread_id="1"),
        TurnChanged("spoke", "silent", "speaking"),
        TurnChanged("completed", "speaking", "over"),
        ThreadChanged("turn_over", "running", "released", thread_id="2"),
    )


def test_choices_have_turns_of_their_own() -> None:
    assert not first_wrong(
        TurnChanged("spoke", "silent", "speaking"),
        TurnChanged("spoke", "silent", "speaking", 1),
        TurnChanged("completed", "speaking", "over"),
    )


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ([TurnChanged("spoke", "silent", "over")], "no such change"),
        ([TurnChanged("spoken", "silent", "speaking")], "no such change"),
        ([ThreadChanged("spoke", "silent", "speaking")], "no such change"),
        ([TurnChanged("completed", "speaking", "over")], "it was silent"),
        (
            [
                ThreadChanged("started", "starting", "running", thread_id="1"),
                ThreadChanged("interrupted", "interrupting", "released", thread_id="1"),
            ],
            "it was running",
        ),
    ],
)
def test_a_change_that_cannot_be_is_found(told: list[LateChange], wrong: str) -> None:
    assert first_wrong(*told) == wrong


def test_what_comes_late_goes_on_with_a_stream_that_is_elsewhere() -> None:
    late = ThreadChanged("expired", "waiting", "interrupting", late_of="st_1", thread_id="1")
    assert not first_wrong(late)


def test_a_change_is_told_as_it_is_drawn() -> None:
    assert changes.describe(TurnChanged("spoke", "silent", "speaking")) == (
        "turn: silent -spoke-> speaking"
    )
