"""Notices are recorded and change nothing: the machine of a stream answers none of them."""

import typing

import pytest

from machines import events, notices, outputs
from machines.stream import machine as stream
from tests.support.machines.playbook import opened

NOTICES: tuple[type[events.StreamInput], ...] = typing.get_args(notices.Notice)


@pytest.mark.parametrize("kind", NOTICES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["", "so far"])
def test_a_notice_has_no_output_and_leaves_the_answer_as_it_was(
    kind: type[events.StreamInput], text: str
) -> None:
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    machine, untouched = stream.Stream(opened()), stream.Stream(opened())
    for each in (machine, untouched):
        if text:
            each.step(events.TextDelta(text))
    assert machine.step(kind(*range(required))) == outputs.Step(untouched.position, ())
    rest = (events.TextDelta("."), events.TurnFinished("stop"))
    assert [machine.step(event) for event in rest] == [untouched.step(event) for event in rest]
    assert machine.ended


def test_what_the_machine_has_a_method_for_is_no_notice() -> None:
    handled = set(stream._STEPS) | {events.ToolCallDropped}  # counted, though it has no output
    assert set(NOTICES) == set(typing.get_args(events.StreamInput)) - handled


@pytest.mark.parametrize("kind", NOTICES, ids=lambda kind: kind.__name__)
def test_a_notice_has_its_name_among_events(kind: type[events.StreamInput]) -> None:
    assert getattr(events, kind.__name__) is kind
