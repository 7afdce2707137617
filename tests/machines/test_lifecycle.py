"""The server takes requests exactly while it should, and always comes to an end."""

import itertools

import pytest

from machines import errors, lifecycle
from machines.lifecycle import (
    AnnounceNotReady,
    AnnounceReady,
    AwaitDelay,
    BeginDrain,
    DelayOver,
    DrainTimedOut,
    EndStreams,
    Shutdown,
    Started,
    StopAsked,
    StreamsDrained,
)
from tests.machines.stream import oracle


def after(*events: lifecycle.AnyEvent, delay_ms: int = 0) -> lifecycle.Lifecycle:
    """A life that has taken these events."""
    life = lifecycle.Lifecycle(drain_timeout_ms=30_000, drain_delay_ms=delay_ms)
    for event in events:
        life.step(event)
    return life


@pytest.mark.parametrize("seed", range(4))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    tried = oracle.walk(lifecycle.LifecycleMachine, lifecycle.TABLE, seed, 500)
    assert tried == set(itertools.product(lifecycle.TABLE.states, lifecycle.TABLE.events))


def test_a_life_from_start_to_drained() -> None:
    life = after()
    assert life.state == "starting"
    assert life.step(Started()) == (AnnounceReady(),)
    assert life.state == "ready"
    assert life.step(StopAsked()) == (AnnounceNotReady(), BeginDrain(timeout_ms=30_000))
    assert life.state == "draining"
    assert life.step(StreamsDrained()) == (Shutdown(),)
    assert life.state == "stopped"


@pytest.mark.parametrize("event", [DrainTimedOut(), StopAsked()], ids=["deadline", "asked twice"])
def test_a_drain_that_is_cut_short_tells_the_streams(event: lifecycle.AnyEvent) -> None:
    life = after(Started(), StopAsked())
    assert life.step(event) == (EndStreams(), Shutdown())
    assert life.state == "stopped"


def test_with_a_delay_readiness_falls_before_the_drain_begins() -> None:
    life = after(Started(), delay_ms=5_000)
    assert life.step(StopAsked()) == (AnnounceNotReady(), AwaitDelay(delay_ms=5_000))
    assert life.state == "leaving"
    assert life.step(DelayOver()) == (AnnounceNotReady(), BeginDrain(timeout_ms=30_000))
    assert life.state == "draining"


def test_each_further_request_to_stop_ends_one_wait() -> None:
    life = after(Started(), StopAsked(), delay_ms=5_000)
    assert life.step(StopAsked()) == (AnnounceNotReady(), BeginDrain(timeout_ms=30_000))
    assert life.step(StopAsked()) == (EndStreams(), Shutdown())
    assert life.state == "stopped"


def test_a_start_that_is_stopped_waits_for_no_delay() -> None:
    assert after(delay_ms=5_000).step(StopAsked()) == (Shutdown(),)


def test_a_server_stopped_while_it_starts_just_stops() -> None:
    life = after()
    assert life.step(StopAsked()) == (Shutdown(),)
    assert life.state == "stopped"


@pytest.mark.parametrize(
    "events",
    [
        (StreamsDrained(),),
        (DelayOver(),),
        (Started(), StopAsked(), DelayOver()),
        (Started(), Started()),
        (Started(), DrainTimedOut()),
        (StopAsked(), StopAsked()),
        (Started(), StopAsked(), StopAsked(), StreamsDrained()),
    ],
)
def test_what_does_not_belong_is_refused_and_changes_nothing(
    events: tuple[lifecycle.AnyEvent, ...],
) -> None:
    life = after(*events[:-1])
    state = life.state
    with pytest.raises(errors.IllegalEvent, match=f"lifecycle: event .* in state '{state}'"):
        life.step(events[-1])
    assert life.state == state
