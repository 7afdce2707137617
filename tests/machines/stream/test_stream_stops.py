"""Answers that are cut after their calls: after the first, or when no further one follows."""

from typing import Any

from machines import tooloptions
from machines.events import TextDelta, TimerFired, ToolCallDelta, ToolCalled, TurnFinished
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Finish,
    Head,
    Role,
    ToolArguments,
    ToolBlock,
    ToolBufferAborted,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
)
from tests.machines.tools.toolscene import ONE, block, called, tools
from tests.support.machines.playbook import Playbook, opened


def test_after_its_first_call_an_answer_is_cut() -> None:
    book = (
        called("x", block("a"), "y<use_tool>", block("b"), "<use", first=tools(stop_after="first"))
        << Content("x")
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
        << CancelTurn()
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
        >> TextDelta("z")
        >> TurnFinished("stop")
    )
    assert book
    assert book.stream.kind == "completed"
    assert book.stream.emission_trigger == "text_delta"


def test_after_its_first_call_one_choice_is_cut_and_the_other_goes_on() -> None:
    first = opened(n=2, tools=tooloptions.ToolOptions(names=("a",), stop_after="first"))
    assert (
        Playbook(first)
        >> TextDelta(block("a"), 1)
        << Head()
        << Role(0)
        << Role(1)
        << ToolBufferStarted(1)
        << ToolBufferFlushed(1)
        << ToolCall(0, "call_1_1_0", "a", ONE, 1)
        << CancelTurn(1)
        << ToolCounts(1, truncated=False, choice=1)
        << Finish("tool_calls", 1)
        >> TextDelta("x", 0)
        << Content("x", 0)
        >> TurnFinished("stop", 0)
        << Finish("stop", 0)
        << Done()
    )


def test_of_whole_calls_the_first_goes_out() -> None:
    assert (
        Playbook(tools(stop_after="first"))
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


def test_a_first_call_in_fragments_is_cut_when_it_is_whole_and_another_begins() -> None:
    first = tooloptions.ToolOptions(output_mode="obsidian-xml", stop_after="first")
    assert (
        Playbook(opened(tools=first))
        >> TextDelta("x<")
        << Head()
        << Role()
        << Content("x")
        >> ToolCallDelta(0, "c1", "a", '{"x":')
        << Content("<")
        << ToolCall(0, "c1", "a", '{"x":')
        >> TextDelta(f"never said {block('b')}")
        >> ToolCallDelta(0, None, None, "1}")
        << ToolArguments(0, "1}")
        >> ToolCallDelta(1, "c2", "b", "{")
        << ToolBlock("a", '{"x":1}')
        << CancelTurn()
        << ToolCounts(1, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


def test_a_first_call_in_fragments_is_not_cut_in_its_arguments() -> None:
    assert (
        Playbook(tools(stop_after="first"))
        >> ToolCallDelta(0, "c1", "a", '{"x":')
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", '{"x":')
        >> ToolCallDelta(1, "c2", "b", "{}")
        >> ToolCallDelta(0, None, None, "1}")
        << ToolArguments(0, "1}")
        >> TurnFinished("tool_calls")
        << ToolCounts(1, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


def burst(**options: Any) -> Playbook:
    """A stream that is cut once no further call follows, with a call."""
    return (
        called(block("a"), first=tools(stop_after="burst", **options))
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "a", ONE)
    )


def test_after_a_burst_of_calls_an_answer_is_cut() -> None:
    book = burst()
    assert book
    assert book.stream.bursts
    assert (
        book
        >> TextDelta("and<")
        << Content("and")
        >> TimerFired("tool_grace")
        << Content("<")
        << CancelTurn()
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )
    assert book.stream.emission_trigger == "timer_fired"
    assert not book.stream.bursts


def test_a_burst_goes_on_while_a_call_is_on_its_way() -> None:
    book = burst() >> TextDelta("<use_tool>") << ToolBufferStarted() >> TimerFired("tool_grace")
    assert book
    assert not book.stream.bursts
    assert (
        book
        >> TextDelta("</use_tool>")
        << ToolBufferAborted("malformed")
        << Content("<use_tool></use_tool>")
    )
    assert book.stream.bursts
    book = burst() >> ToolCallDelta(0, "c1", "b", "{") << ToolCall(1, "c1", "b", "{")
    assert book >> TimerFired("tool_grace")
    assert not book.stream.bursts


def test_a_burst_ends_the_choices_with_calls_and_no_other() -> None:
    first = opened(n=3, tools=tooloptions.ToolOptions(names=("a",), stop_after="burst"))
    book = (
        Playbook(first)
        >> TextDelta(block("a"), 1)
        << Head()
        << Role(0)
        << Role(1)
        << Role(2)
        << ToolBufferStarted(1)
        << ToolBufferFlushed(1)
        << ToolCall(0, "call_1_1_0", "a", ONE, 1)
        >> ToolCalled("c1", "a", "{}", 2)
        >> TimerFired("tool_grace")
        << CancelTurn(1)
        << ToolCounts(1, truncated=False, choice=1)
        << Finish("tool_calls", 1)
        >> TimerFired("tool_grace")
    )
    assert book
    assert not book.stream.bursts
