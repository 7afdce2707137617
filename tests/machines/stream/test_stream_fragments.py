"""Calls that an upstream sends in fragments: faults 22 to 25 as the machine meets them."""

import msgspec
import pytest

from machines.events import (
    ReasoningDelta,
    TextDelta,
    TimerFired,
    ToolCallDelta,
    TurnFailed,
    TurnFinished,
)
from machines.outputs import (
    AnyOutput,
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Reasoning,
    Role,
    ToolArguments,
    ToolBlock,
    ToolBufferAborted,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
)
from machines.stream.machine import Stream
from machines.tooloptions import ToolOptions
from tests.support.machines.playbook import Playbook, opened

HIDE = str.maketrans("x12", "***")

LOST = TurnFailed("upstream_error", "upstream_disconnected", "Gone.")


def test_fault_22_fragments_of_two_calls_are_told_apart() -> None:
    assert (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", "a", "")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "")
        >> ToolCallDelta(1, "c2", "b", "")
        << ToolCall(1, "c2", "b", "")
        >> ToolCallDelta(0, None, None, '{"x":')
        << ToolArguments(0, '{"x":')
        >> ToolCallDelta(1, None, None, '{"y":')
        << ToolArguments(1, '{"y":')
        >> ToolCallDelta(0, None, None, " 1}")
        << ToolArguments(0, " 1}")
        >> ToolCallDelta(1, None, None, "2}")
        << ToolArguments(1, "2}")
        >> TurnFinished("tool_calls")
        << ToolCounts(2, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def folded(*fragments: ToolCallDelta) -> dict[int, tuple[str, str, str]]:
    """Id, name and arguments of each call that a client puts together, by index."""
    machine = Stream(opened())
    said: list[AnyOutput] = []
    for fragment in fragments:
        said += machine.step(fragment).outputs
    said += machine.step(TurnFinished("tool_calls")).outputs
    calls: dict[int, tuple[str, str, str]] = {}
    for out in said:
        if isinstance(out, ToolCall):
            assert out.index not in calls, "a call began twice"
            calls[out.index] = (out.call_id, out.name, out.arguments)
        if isinstance(out, ToolArguments):
            call_id, name, arguments = calls[out.index]
            calls[out.index] = (call_id, name, arguments + out.arguments)
    assert said[-3:] == [ToolCounts(2, truncated=False), Finish("tool_calls"), Done()]
    return calls


@pytest.mark.parametrize(
    "fragments",
    [
        (
            ToolCallDelta(None, "c1", "a", '{"x":'),
            ToolCallDelta(None, None, None, "1}"),
            ToolCallDelta(None, "c2", "b", '{"y":'),
            ToolCallDelta(None, None, None, "2}"),
        ),
        (
            ToolCallDelta(0, "c1", "a", '{"x":'),
            ToolCallDelta(0, "c2", "b", '{"y":'),
            ToolCallDelta(0, "c1", None, "1}"),
            ToolCallDelta(0, "c2", None, "2}"),
        ),
        (
            ToolCallDelta(0, "c1"),
            ToolCallDelta(1, "c2"),
            ToolCallDelta(0, None, "a", '{"x":1}'),
            ToolCallDelta(1, None, "b", '{"y":2}'),
        ),
        (
            ToolCallDelta(0, "c1", "a", '{"x":'),
            ToolCallDelta(0, "c1", "a", "1}"),
            ToolCallDelta(1, "c2", "b", '{"y":'),
            ToolCallDelta(1, "", "", "2}"),
        ),
        (
            ToolCallDelta(0, "c1", "a", None),
            ToolCallDelta(0, None, None, '{"x":1}'),
            ToolCallDelta(1, "c2", "b", None),
            ToolCallDelta(1, None, None, '{"y":2}'),
        ),
    ],
    ids=["no index", "all index 0", "id first", "name again or empty", "arguments null"],
)
def test_fault_23_ways_to_send_two_calls_give_the_same_two_calls(
    fragments: tuple[ToolCallDelta, ...],
) -> None:
    assert folded(*fragments) == {0: ("c1", "a", '{"x":1}'), 1: ("c2", "b", '{"y":2}')}


def begun(**options: object) -> Playbook:
    """A stream that broke off in the arguments of its second call."""
    return (
        Playbook(opened(**options))
        >> ToolCallDelta(0, "c1", "a", "{}")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "{}")
        >> ToolCallDelta(1, "c2", "b", '{"x":')
        << ToolCall(1, "c2", "b", '{"x":')
    )


def test_fault_24_a_stream_that_dies_in_arguments_does_not_finish() -> None:
    book = begun() >> LOST << Failure("upstream_disconnected", "Gone.")
    assert book
    assert book.stream.tool_totals()["tool_calls"] == 0
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2


def test_fault_24_a_stream_that_says_length_in_arguments_has_no_whole_call() -> None:
    book = begun() >> TurnFinished("length") << Finish("length") << Done()
    assert book
    assert book.stream.tool_totals()["tool_calls"] == 0
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2


def test_fault_24_arguments_that_were_never_sent_are_made_up_in_a_whole_step_only() -> None:
    assert (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", "a")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "")
        >> TurnFinished("stop")
        << ToolArguments(0, "{}")
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )
    assert (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", "a")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "")
        >> TurnFinished("length")
        << Finish("length")
        << Done()
    )


def test_fault_24_a_cut_in_the_arguments_is_no_tool_calls() -> None:
    book = (
        begun(stop=("##",))
        >> TextDelta("x##")
        << Content("x")
        << CancelTurn()
        << Finish("stop")
        << Done()
    )
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2


@pytest.mark.parametrize(
    ("word", "legacy", "reason"),
    [
        ("stop", False, "tool_calls"),
        ("end_turn", False, "tool_calls"),
        ("", False, "tool_calls"),
        ("function_call", False, "tool_calls"),
        ("stop", True, "function_call"),
        ("tool_calls", True, "function_call"),
    ],
)
def test_fault_25_a_step_with_calls_finishes_as_tool_calls(
    word: str, legacy: bool, reason: str
) -> None:
    first = opened(tools=ToolOptions(names=("a",), legacy=legacy))
    book = (
        Playbook(first)
        >> ToolCallDelta(0, "c1", "a", "{}")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "{}")
        >> TurnFinished(word)
        << ToolCounts(1, truncated=False)
        << Finish(reason)
        << Done()
    )
    assert book
    assert book.stream.choices[0].word == (None if word == reason else word)


@pytest.mark.parametrize("word", ["length", "content_filter"])
def test_fault_25_length_and_content_filter_stay(word: str) -> None:
    machine = Stream(opened(tools=ToolOptions(names=("a",))))
    machine.step(TextDelta("<use_tool><name>a</name></use_tool>"))
    assert machine.step(TurnFinished(word)).outputs == (
        ToolCounts(1, truncated=False),
        Finish(word),
        Done(),
    )


def test_in_xml_the_blocks_of_fragments_come_when_their_step_is_whole() -> None:
    xml = ToolOptions(output_mode="obsidian-xml", max_calls=2)
    assert (
        Playbook(opened(tools=xml))
        >> ToolCallDelta(0, "c1", "a", '{"x":')
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", '{"x":')
        >> ToolCallDelta(1, "c2", "b")
        << ToolCall(1, "c2", "b", "")
        >> ToolCallDelta(2, "c3", "c", "{}")
        >> ToolCallDelta(0, None, None, "1}")
        << ToolArguments(0, "1}")
        >> TurnFinished("stop")
        << ToolArguments(1, "{}")
        << ToolBlock("a", '{"x":1}')
        << ToolBlock("b", "{}")
        << ToolCounts(2, truncated=True)
        << Finish("tool_calls")
        << Done()
    )


def test_a_fragment_ends_a_block_that_was_open() -> None:
    assert (
        Playbook(opened(tools=ToolOptions(names=("a",))))
        >> TextDelta("<use_tool>x")
        << Head()
        << Role()
        << ToolBufferStarted()
        >> ToolCallDelta(0, "c1", "a", "{}")
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>x")
        << ToolCall(0, "c1", "a", "{}")
        >> TextDelta("</use_tool>")
        << Content("</use_tool>")
    )


def test_text_and_thinking_go_on_between_fragments() -> None:
    book = (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", "a", "{")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "{")
        >> ReasoningDelta("Hm")
        << Reasoning("Hm")
        >> TextDelta("x")
        << Content("x")
        >> ToolCallDelta(0, None, None, "}")
        << ToolArguments(0, "}")
    )
    assert book
    assert book.stream.position == "tool_buffering"


def test_a_call_that_never_got_a_name_is_dropped_and_counted() -> None:
    book = (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", None, "{}")
        << Head()
        << Role()
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
    )
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 1


def test_silence_in_a_call_is_the_idle_deadlines() -> None:
    silence = "The model stopped sending output before its answer was complete."
    assert (
        Playbook(opened())
        >> ToolCallDelta(0, "c1", "a", "{")
        << Head()
        << Role()
        << ToolCall(0, "c1", "a", "{")
        >> TimerFired("tool_grace")
        >> TimerFired("first_chunk")
        >> TimerFired("idle")
        << Failure("idle_timeout", silence)
    )


def test_a_replay_takes_fragments_as_decided_whatever_they_say() -> None:
    machine, masked = Stream(opened()), Stream(opened())
    first = ToolCallDelta(None, "c1", "a", '{"x":1}')
    second = ToolCallDelta(None, None, "a", '{"x":2}')
    for event in (first, second):
        step = machine.step(event)
        assert event.arguments is not None
        hidden = msgspec.structs.replace(event, arguments=event.arguments.translate(HIDE))
        again = masked.step(hidden, step.decision)
        assert again.decision == step.decision
        assert [type(out) for out in again.outputs] == [type(out) for out in step.outputs]
    assert masked.tool_totals() == machine.tool_totals()
