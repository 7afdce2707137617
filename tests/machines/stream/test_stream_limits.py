"""Which calls go to the client: how many, no repeats, and what of the text behind them."""

from typing import Final

import pytest

from machines import events, outputs
from machines.events import TextDelta, ToolCallDelta, ToolCalled, TurnFinished
from machines.outputs import (
    Content,
    Done,
    Finish,
    Head,
    Role,
    ToolArguments,
    ToolBufferAborted,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
)
from machines.stream import choices, machine as stream
from tests.machines.tools.toolscene import ONE, block, called, tools
from tests.support.machines import stories
from tests.support.machines.playbook import Playbook

ENDLESS: Final[dict[str, list[events.StreamInput]]] = {
    "blocks": [TextDelta(block("a") * 2), TextDelta(block("b"))],
    "blocks in one text": [TextDelta("x" + block("a") * 3 + "y")],
    "whole calls": [ToolCalled(f"c{number}", "a", "{}") for number in range(3)],
    "fragments": [ToolCallDelta(number, f"c{number}", "a", "{}") for number in range(3)],
    "fragments that wait for an id": [ToolCallDelta(number, None, "a") for number in range(3)],
    "fragments without a name": [
        ToolCallDelta(number, f"c{number}", None, "{}") for number in range(3)
    ],
    "blocks and fragments": [
        TextDelta(block("a")),
        *(ToolCallDelta(number, f"c{number}", "a", "{}") for number in range(2)),
    ],
}
"""Three calls of an answer, by where they come from."""


def test_blocks_past_the_limit_are_withheld_and_counted() -> None:
    book = (
        called(block("a"), block("b"), block("b", 2), first=tools(max_calls=2))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(1, "call_1_0_1", "b", ONE)
        << ToolBufferStarted()
        << ToolBufferFlushed()
        >> TurnFinished("stop")
        << ToolCounts(2, truncated=True)
        << Finish("tool_calls")
        << Done()
    )
    assert book
    assert choices.are_withheld(book.stream.choices)
    assert book.stream.tool_totals()["tool_calls_withheld"] == 1


def test_a_block_of_an_undeclared_tool_is_text_past_the_limit_too() -> None:
    other = block("c")
    assert (
        called(block("a"), other, first=tools(max_calls=1))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << Content(other)
        >> TurnFinished("stop")
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def test_whole_calls_past_the_limit_are_withheld() -> None:
    book = (
        Playbook(tools(max_calls=1))
        >> ToolCalled("c1", "a", "{}")
        << Head()
        << Role()
        >> ToolCalled("c2", "b", "{}")
        >> TurnFinished("stop")
        << ToolCall(0, "c1", "a", "{}")
        << ToolCounts(1, truncated=True)
        << Finish("tool_calls")
        << Done()
    )
    assert book
    assert choices.are_withheld(book.stream.choices)


def test_fragments_of_calls_past_the_limit_are_withheld() -> None:
    assert (
        Playbook(tools(max_calls=1))
        >> ToolCallDelta(0, "c1", "a", '{"x":')
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", '{"x":')
        >> ToolCallDelta(1, "c2", "b", "{")
        >> ToolCallDelta(1, None, None, "}")
        >> ToolCallDelta(0, None, None, "1}")
        << ToolArguments(0, "1}")
        >> TurnFinished("tool_calls")
        << ToolCounts(1, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


def test_all_sources_share_one_limit_and_one_numbering() -> None:
    assert (
        called(block("a"), first=tools(max_calls=3))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        >> ToolCalled("c1", "a", "{}")
        >> ToolCalled("c2", "b", "{}")
        >> ToolCallDelta(0, None, "b", "{}")
        << ToolCall(1, "call_1_0_1", "b", "{}")
        >> TurnFinished("stop")
        << ToolCall(2, "c1", "a", "{}")
        << ToolCounts(3, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


@pytest.mark.parametrize(
    ("arguments", "repeats"),
    [
        ('{"x":1,"y":[2]}', True),
        ('{ "y": [ 2 ], "x": 1 }', True),
        ('{"x":1}', False),
        ('{"x":1,"y":[2.5]}', False),
        ('{"x":"1","y":[2]}', False),
        ('{"x":1,"y":[2]', False),
    ],
)
@pytest.mark.parametrize("dedup", [True, False])
def test_a_whole_call_that_repeats_an_earlier_one_is_withheld_if_asked(
    arguments: str, repeats: bool, dedup: bool
) -> None:
    book = (
        Playbook(tools(dedup=dedup))
        >> ToolCalled("c1", "a", '{"x":1,"y":[2]}')
        << Head()
        << Role()
        >> ToolCalled("c2", "b", '{"x":1,"y":[2]}')
        >> ToolCalled("c3", "a", arguments)
        >> TurnFinished("stop")
        << ToolCall(0, "c1", "a", '{"x":1,"y":[2]}')
        << ToolCall(1, "c2", "b", '{"x":1,"y":[2]}')
    )
    if not (repeats and dedup):
        book = book << ToolCall(2, "c3", "a", arguments)
    withheld = repeats and dedup
    assert book << ToolCounts(2 if withheld else 3, withheld) << Finish("tool_calls") << Done()


@pytest.mark.parametrize("wild", ['{"x":' * 100_000, '"\ud800"', "1" * 5000, "1e999"])
def test_arguments_that_cannot_be_compared_as_json_are_compared_as_text(wild: str) -> None:
    assert (
        Playbook(tools(dedup=True))
        >> ToolCalled("c1", "a", wild)
        << Head()
        << Role()
        >> ToolCalled("c2", "a", wild)
        >> TurnFinished("stop")
        << ToolCall(0, "c1", "a", wild)
        << ToolCounts(1, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


def test_a_block_that_repeats_an_earlier_one_is_withheld_and_so_is_the_same_whole_call() -> None:
    spaced = "<use_tool>\n  <name>a</name>\n  <x>1</x>\n</use_tool>"
    book = (
        called(block("a"), spaced, block("a", 2), first=tools(dedup=True))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(1, "call_1_0_1", "a", '{"x":"2"}')
        >> ToolCalled("c1", "a", '{"x": "1"}')
        >> TurnFinished("stop")
        << ToolCounts(2, truncated=True)
        << Finish("tool_calls")
        << Done()
    )
    assert book
    assert book.stream.tool_totals()["tool_calls_withheld"] == 2


def test_the_text_after_the_last_call_can_be_dropped() -> None:
    assert (
        called("x", block("a"), "y", first=tools(suppress_tail=True))
        << Content("x")
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        >> TextDelta("z")
        >> TextDelta(block("b"))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << Content("yz")
        << ToolCall(1, "call_1_0_1", "b", ONE)
        >> TextDelta("tail")
        >> TextDelta("<use_tool>")
        << ToolBufferStarted()
        >> TurnFinished("stop")
        << ToolBufferAborted("unclosed")
        << ToolCounts(2, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def test_a_text_that_is_no_tail_is_said_before_a_waiting_call() -> None:
    book = (
        Playbook(tools(suppress_tail=True))
        >> ToolCallDelta(0, "c1", "a", "{}")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "{}")
        >> ToolCalled("c2", "b", "{}")
        >> TextDelta("x")
    )
    assert book
    assert not book.stream.passes(0, "y")
    assert (
        book
        >> TurnFinished("stop")
        << Content("x")
        << ToolCall(1, "c2", "b", "{}")
        << ToolCounts(2, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def outcome(happened: list[events.StreamInput], **options: object) -> list[outputs.AnyOutput]:
    """What a stream answers, and a replay of its masked log as well, but for the letters."""
    first = tools(**options)
    machine, again = stream.Stream(first), stream.Stream(first)
    found: list[outputs.AnyOutput] = []
    for event, step in stories.steps(machine, (*happened, TurnFinished("tool_calls"))):
        replayed = again.step(stories.masked(event), step.decision)
        assert (replayed.state, len(replayed.outputs)) == (step.state, len(step.outputs))
        found += step.outputs
    assert again.kind == machine.kind
    return found


@pytest.mark.parametrize("source", ENDLESS)
def test_an_answer_of_more_calls_than_the_limit_is_an_error_and_never_whole(source: str) -> None:
    within = outcome(ENDLESS[source], call_limit=3)
    assert any(isinstance(output, Finish) for output in within)
    beyond = outcome(ENDLESS[source], call_limit=2)
    failure = beyond[-1]
    assert isinstance(failure, outputs.Failure)
    assert failure.code == "too_many_tool_calls"
    assert not any(isinstance(output, Finish) for output in beyond)
    assert Content("y") not in beyond
    assert sum(isinstance(output, ToolCall) for output in beyond) <= 3


def test_calls_that_are_withheld_count_towards_the_limit() -> None:
    beyond = outcome(ENDLESS["blocks"], call_limit=2, max_calls=1)
    assert isinstance(beyond[-1], outputs.Failure)
    assert sum(isinstance(output, ToolCall) for output in beyond) == 1


def test_text_that_only_looks_like_calls_has_no_limit() -> None:
    found = outcome([TextDelta(block("c") * 3)], call_limit=2)
    assert isinstance(found[-1], Done)
