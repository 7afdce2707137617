"""Whose a silence was, by the events around it."""

import pytest

from machines import events, silences
from machines.turn import thread as threads

BEGUN = events.ThreadChanged(threads.Event.START_SENT, threads.NEW, threads.STARTING)
STARTED = events.ThreadChanged(threads.Event.STARTED, threads.STARTING, threads.RUNNING)


@pytest.mark.parametrize(
    ("before", "event", "owner"),
    [
        (events.RetryScheduled, events.TextDelta("a"), "server"),
        (events.RetryScheduled, None, "server"),
        (events.Opened, BEGUN, "queued"),
        (events.Opened, STARTED, "worker"),
        (events.Opened, events.RpcSent("turn/start", 1), "queued"),
        (events.Opened, events.TurnResumed("th"), "queued"),
        (events.Opened, events.TurnFailed("rejected", silences.BUSY, "Busy."), "queued"),
        (events.Opened, events.TurnFailed("rejected", "other", "No."), "worker"),
        (events.TextDelta, events.TextDelta("a"), "worker"),
        (events.TextDelta, None, "worker"),
    ],
)
def test_the_owner_of_a_silence(
    before: type[events.StreamEvent], event: events.StreamEvent | None, owner: str
) -> None:
    assert silences.owner(before, event) == owner
