"""Which deadlines count in which state of a stream, and when they pass."""

import msgspec
import pytest

from engine.stream import deadlines, times
from machines import events, tooloptions
from machines.stream import machine as stream, states

LIMITS = deadlines.Deadlines(
    heartbeat=1,
    head_hold=2,
    first_chunk=3,
    idle=4,
    total=5,
    finish_grace=6,
    truncate=7,
    tool_grace=8,
)
"""Each of another length, so that a time says what it is the sum of."""

AT = times.Times(opened=100, event=200, output=300, finished=400, called=500)

CALL = events.TextDelta("<use_tool><name>f</name></use_tool>")

STORIES: dict[str, tuple[events.StreamInput, ...]] = {
    states.HELD: (),
    states.ROLE: (events.TimerFired("head_hold"),),
    states.CONTENT: (events.TextDelta("a"),),
    states.TOOL_BUFFERING: (CALL,),
    states.FINISH: (events.TextDelta("a"), events.TurnFinished("stop", followed=True)),
}
"""What leads to each state that a stream rests in."""


def after(state: str, streaming: bool = True) -> stream.Stream:
    """A stream in this state."""
    found = stream.Stream(
        events.Opened(
            request_id="req_1",
            completion_id="chatcmpl-1",
            created=0,
            model="m",
            target="m",
            worker="w",
            streaming=streaming,
            include_usage=True,
            tools=tooloptions.ToolOptions(("f",), stop_after="burst"),
        )
    )
    for event in STORIES[state]:
        found.step(event)
    assert found.position == state
    return found


@pytest.mark.parametrize(
    ("state", "passing"),
    [
        (states.HELD, {"first_chunk": 103, "head_hold": 102, "total": 105}),
        (states.ROLE, {"first_chunk": 103, "heartbeat": 301, "total": 105}),
        (states.CONTENT, {"heartbeat": 301, "idle": 204, "total": 105}),
        (
            states.TOOL_BUFFERING,
            {"heartbeat": 301, "idle": 204, "tool_grace": 508, "total": 105},
        ),
        (states.FINISH, {"finish_grace": 406, "heartbeat": 301}),
    ],
)
def test_a_state_has_its_deadlines(state: str, passing: dict[str, int]) -> None:
    assert deadlines.due(LIMITS, after(state), AT) == passing


def test_an_answer_in_one_piece_has_no_heartbeat_and_may_be_cut() -> None:
    held = deadlines.due(LIMITS, after(states.HELD, streaming=False), AT)
    assert held == {"first_chunk": 103, "total": 105, "truncate": 107}


def test_a_turn_that_was_held_back_for_its_client_is_not_idle() -> None:
    at = msgspec.structs.replace(AT, pressed=1)
    assert "idle" not in deadlines.due(LIMITS, after(states.CONTENT), at)


def test_a_limit_of_zero_is_none_but_for_the_wait_for_counts() -> None:
    zeros = deadlines.Deadlines(**dict.fromkeys(deadlines.Deadlines.__struct_fields__, 0))
    for state in STORIES:
        passing = {"finish_grace": 400} if state == states.FINISH else {}
        assert deadlines.due(zeros, after(state), AT) == passing


def test_a_head_is_not_due_early_where_no_heartbeat_would_follow() -> None:
    limits = msgspec.structs.replace(LIMITS, heartbeat=0)
    assert "head_hold" not in deadlines.due(limits, after(states.HELD), AT)


def test_a_deadline_that_fails_a_stream_counts_where_it_can() -> None:
    for timer, (where, _, _) in states.TIMEOUTS.items():
        counts = {
            state
            for state, found in deadlines.DEADLINES.items()
            if timer in [deadline.timer for deadline in found]
        }
        assert counts == where
