"""The states of a choice: the table against its declaration, and what may come late in each."""

import itertools

import msgspec
import pytest

from machines import errors, events, outputs
from machines.events import (
    ClientGone,
    ReasoningDelta,
    ServerStopping,
    TextDelta,
    TimerFired,
    TokensCounted,
    TokensEstimated,
    ToolCallDelta,
    ToolCalled,
    TurnFailed,
    TurnFinished,
    Usage,
)
from machines.outputs import (
    Content,
    Head,
    Role,
)
from machines.stream import declared, machine as stream, states
from tests.machines.stream import oracle
from tests.support.machines.playbook import opened

COUNTS = Usage(10, 5)

LOST = TurnFailed("worker_lost", "worker_exited", "Gone.")


@pytest.mark.parametrize("seed", range(4))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    tried = oracle.walk(declared.StreamMachine, states.TABLE, seed, 4000)
    assert tried == set(itertools.product(states.TABLE.states, states.TABLE.events))


def test_each_name_is_that_of_the_declaration() -> None:
    named = {value for name, value in vars(states).items() if name == str(value).upper()}
    assert named == {*states.TABLE.states, *states.TABLE.events}


EVENTS: dict[str, tuple[events.StreamInput, ...]] = {
    "head_due": (TimerFired("head_hold"),),
    "text": (
        TextDelta("x"),
        ReasoningDelta("x"),
        events.ReasoningPartStarted(),
        events.ReasoningCompleted("x"),
        events.MessageStarted("commentary"),
        events.MessageCompleted("final_answer"),
        events.RefusalDelta("x"),
        events.ExtraMembers("delta", msgspec.Raw(b'{"a":1}')),
    ),
    "call": (ToolCalled("c1", "a", "{}"), ToolCallDelta(0, "c1", "a", "{}")),
    "finished": (TurnFinished("stop"), events.ChoiceMissing()),
    "counted": (TokensCounted(COUNTS), TokensEstimated(COUNTS)),
    "fail": (LOST, ServerStopping()),
    "abandon": (ClientGone("left"), ClientGone("write_stall"), ClientGone("cancelled")),
    "keepalive": (TimerFired("heartbeat"),),
    "notice": (
        events.TurnStarted("th", "tu"),
        events.ToolCallDropped("c1", "readNote"),
        events.TurnResumed("th"),
        events.ParkMissed("expired"),
        events.ThreadReused("th"),
        events.ReuseMissed("expired"),
        events.ThreadForked("th"),
        events.CallDemanded(1),
        events.TurnChanged("spoke", "silent", "speaking"),
        events.ThreadChanged("started", "starting", "running"),
        events.ItemStarted("reasoning"),
        events.ModelRerouted("m", "r"),
        events.UpstreamGarbled("{"),
        events.MembersDropped(("choice.logprobs",)),
        events.RpcSent("turn/start", 1),
        events.RpcReplied(1),
        events.RetryScheduled(1, 500, "upstream_error"),
        events.FallbackTaken("m", "codex", "upstream_error"),
        events.FallbackSkipped("m", "codex", "unsupported_content"),
        events.BufferPressure(1),
    ),
    "deadline": (
        TimerFired("first_chunk"),
        TimerFired("idle"),
        TimerFired("total"),
        TimerFired("finish_grace"),
        TimerFired("truncate"),
        TimerFired("tool_grace"),
    ),
}
"""Every event of the vocabulary, by the trigger it is to the machine."""

LATE = {
    "done": "head_due text call finished counted fail abandon keepalive notice deadline",
    "failed": "head_due text call finished counted fail abandon keepalive notice deadline",
    "abandoned": "head_due text call finished counted fail abandon keepalive notice deadline",
    "finish": "head_due text call finished",
    "tool_buffering": "head_due",
    "content": "head_due",
    "role": "head_due",
}
"""What may come late, by state."""

REACHED: dict[str, tuple[events.StreamInput, ...]] = {
    "held": (),
    "role": (TimerFired("head_hold"),),
    "content": (TextDelta("x"),),
    "tool_buffering": (ToolCalled("c1", "a", "{}"),),
    "finish": (TurnFinished("stop"),),
    "done": (TokensCounted(COUNTS), TurnFinished("stop")),
    "failed": (LOST,),
    "abandoned": (ClientGone("left"),),
}
"""How to come into each state."""


def reach(state: str) -> stream.Stream:
    """A stream with usage in this state."""
    machine = stream.Stream(opened(include_usage=True))
    for event in REACHED[state]:
        machine.step(event)
    assert machine.choices[0].state == state
    return machine


def test_every_event_of_the_vocabulary_is_tried() -> None:
    tried = {type(event) for group in EVENTS.values() for event in group}
    assert tried == set(events.StreamInput.__args__)


@pytest.mark.parametrize(("state", "triggers"), LATE.items())
def test_what_comes_late_changes_nothing(state: str, triggers: str) -> None:
    for event in (event for trigger in triggers.split() for event in EVENTS[trigger]):
        machine = reach(state)
        kind, trigger, usage = machine.kind, machine.emission_trigger, machine.totals
        assert machine.step(event) == outputs.Step(state, ())
        assert (machine.kind, machine.emission_trigger, machine.totals) == (kind, trigger, usage)


def test_what_may_come_late_is_named() -> None:
    named = {state: set(triggers) for state, triggers in states.IGNORED.items()}
    expected = {state: set(late.split()) - {"deadline"} for state, late in LATE.items()}
    assert named == expected


def test_what_belongs_nowhere_names_state_and_event_and_changes_nothing() -> None:
    machine = reach("held")
    with pytest.raises(errors.IllegalEvent) as refused:
        machine.step(TimerFired("heartbeat"))
    assert str(refused.value) == "stream: event 'keepalive' is illegal in state 'held'"
    assert machine.step(TextDelta("x")).outputs == (Head(), Role(), Content("x"))


@pytest.mark.parametrize("trigger", sorted(EVENTS.keys() - {"deadline"}))
def test_a_late_event_that_is_not_named_would_be_refused(
    trigger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(states.IGNORED, "done", states.IGNORED["done"] - {trigger})
    for event in EVENTS[trigger]:
        with pytest.raises(errors.IllegalEvent, match=f"'{trigger}' is illegal in state 'done'"):
            reach("done").step(event)


@pytest.mark.parametrize("state", REACHED)
def test_every_other_event_is_taken_in_every_state(state: str) -> None:
    for event in (event for group in EVENTS.values() for event in group):
        if (state, event) != ("held", TimerFired("heartbeat")):
            reach(state).step(event)
