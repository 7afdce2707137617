"""Events of a provider's items are inputs of a stream, under the names of all events."""

from typing import get_args

import pytest

from machines import events, itemevents, outputs, tooloptions
from machines.stream import machine as stream
from tests.support.machines import playbook

BOUNDARIES = get_args(itemevents.ItemBoundary)


def test_every_boundary_has_its_name_among_the_events() -> None:
    assert {getattr(events, each.__name__) for each in BOUNDARIES} == set(BOUNDARIES)
    assert set(BOUNDARIES) <= set(get_args(events.StreamInput))
    assert set(itemevents.MESSAGE_BOUNDARIES) <= set(BOUNDARIES)


@pytest.mark.parametrize(
    ("event", "output"),
    [
        (events.ReasoningPartStarted(), outputs.ReasoningPart()),
        (events.ReasoningCompleted("e"), outputs.ReasoningDone("e")),
        (events.MessageStarted("commentary"), outputs.MessageBegun("commentary")),
        (events.MessageCompleted("final_answer"), outputs.MessageDone("final_answer")),
    ],
)
def test_a_boundary_is_told_and_begins_an_answer(
    event: events.ItemBoundary, output: outputs.AnyOutput
) -> None:
    machine = stream.Stream(playbook.opened())
    assert machine.step(event).outputs == (outputs.Head(), outputs.Role(), output)
    assert machine.step(event).outputs == (output,)


def test_held_text_is_of_the_message_before() -> None:
    tools = tooloptions.ToolOptions(names=("f",))
    machine = stream.Stream(playbook.opened(tools=tools))
    machine.step(events.TextDelta("a <use"))
    told = machine.step(events.MessageStarted()).outputs
    assert told == (outputs.Content("<use"), outputs.MessageBegun())
