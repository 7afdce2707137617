"""What of a choice's text is a call, in small: pieces, replayed pieces, ids, time."""

from collections.abc import Callable
from typing import Any

import pytest

from machines import events, outputs, tooloptions
from machines.outputs import Content, Piece, ToolBufferFlushed, ToolBufferStarted, ToolCall
from machines.stream import machine as stream
from machines.tools.buffer import ToolBuffer
from tests.support.machines.playbook import opened
from tests.support.process import growth

BLOCK = "<use_tool><name>a</name></use_tool>"

OTHER = "<use_tool><name>b</name></use_tool>"


def buffer(**options: Any) -> ToolBuffer:
    """Of a choice whose client declared one tool."""
    return ToolBuffer(0, opened(tools=tooloptions.ToolOptions(("a",), **options)))


def test_text_without_tools_passes_whatever_it_says() -> None:
    free = ToolBuffer(1, opened(n=2))
    assert free.inert
    assert free.passes(BLOCK)
    assert free.text(BLOCK, None) == ([Content(BLOCK, 1)], None)
    assert free.spill("") == []


def test_text_passes_exactly_while_it_has_no_bracket_and_nothing_is_held() -> None:
    tools = buffer()
    assert not tools.inert
    assert tools.passes("a > b")
    assert not tools.passes("a < b")
    tools.text("x<", None)
    assert not tools.passes("y")
    tools.text("y", None)
    assert tools.passes("z")
    tools.text(BLOCK, None)
    assert tools.passes("z")


def test_text_behind_a_call_does_not_pass_where_it_may_be_dropped() -> None:
    for options in ({"suppress_tail": True}, {"stop_after": "first"}):
        tools = buffer(**options)
        assert tools.passes("x")
        tools.text(BLOCK, None)
        assert not tools.passes("x")


def test_pieces_cover_the_text_up_to_what_is_held() -> None:
    said, pieces = buffer().text(f"x{BLOCK}{OTHER}<use_tool><use_tool>y<", None)
    assert pieces == (
        Piece("text", 1),
        Piece("started"),
        Piece("call", len(BLOCK), "a"),
        Piece("started"),
        Piece("verbatim", len(OTHER)),
        Piece("started"),
        Piece("aborted", len("<use_tool>"), "nested"),
        Piece("started"),
    )
    assert said[:4] == [
        Content("x"),
        ToolBufferStarted(),
        ToolBufferFlushed(),
        ToolCall(0, "call_1_0_0", "a", "{}"),
    ]


def test_pieces_that_are_given_are_taken_whatever_the_text_says() -> None:
    tools = buffer()
    tag = "*" * 10
    assert tools.text(f"x{tag}", (Piece("text", 1), Piece("started"))) == (
        [Content("x"), ToolBufferStarted()],
        (Piece("text", 1), Piece("started")),
    )
    assert tools.text("**", ()) == ([], ())
    assert tools.text("*y<", (Piece("call", 13, "a"), Piece("text", 1))) == (
        [ToolBufferFlushed(), ToolCall(0, "call_1_0_0", "a", ""), Content("y")],
        (Piece("call", 13, "a"), Piece("text", 1)),
    )
    assert tools.spill("z") == [Content("<z")]
    assert tools.spill("") == []


def test_text_behind_the_only_call_is_not_said_in_a_replay_either() -> None:
    tools = buffer(stop_after="first")
    pieces = (Piece("started"), Piece("call", 4, "a"))
    assert tools.text("****never", pieces)[0][1:] == [
        ToolBufferFlushed(),
        ToolCall(0, "call_1_0_0", "a", ""),
    ]
    assert tools.spill("") == []


def test_a_call_rests_when_no_part_of_another_has_come() -> None:
    tools = buffer()
    assert not tools.is_between_calls
    tools.text(BLOCK, None)
    assert tools.is_between_calls
    tools.text("<use_tool>", None)
    assert not tools.is_between_calls
    tools.spill("")
    assert tools.is_between_calls
    tools.fragment(events.ToolCallDelta(0, "c1", "a"), None)
    assert not tools.is_between_calls
    tools.finish_calls(None)
    assert tools.is_between_calls


def test_no_two_calls_have_the_same_id_whatever_workers_say() -> None:
    tools = buffer()
    said = tools.text(BLOCK, None)[0]
    for call_id in ("call_1_0_0", "c", "c", "call_1_0_5", ""):
        tools.called(events.ToolCalled(call_id, "a", "{}"))
    said += tools.finish_calls(None)[0]
    ids = [out.call_id for out in said if isinstance(out, ToolCall)]
    assert ids == ["call_1_0_0", "call_1_0_1", "c", "call_1_0_3", "call_1_0_5", "call_1_0_5_"]


def test_a_decision_is_kept_for_calls_that_were_compared() -> None:
    for dedup in (True, False):
        tools = buffer(dedup=dedup)
        tools.called(events.ToolCalled("c1", "a", '{"x":1}'))
        tools.called(events.ToolCalled("c2", "a", '{"x":2}'))
        _, decided = tools.finish_calls(None)
        assert decided == (outputs.Decision() if dedup else None)
    masked = buffer(dedup=True)
    masked.called(events.ToolCalled("c1", "a", '{"*":*}'))
    masked.called(events.ToolCalled("c2", "a", '{"*":*}'))
    said, _ = masked.finish_calls(outputs.Decision())
    assert sum(isinstance(out, ToolCall) for out in said) == 2


@pytest.mark.parametrize(
    "options",
    [{}, {"output_mode": "obsidian-xml", "dedup": True, "suppress_tail": True}],
    ids=["plain", "strict"],
)
@pytest.mark.parametrize(
    "unit", ["a < b ", f"text {BLOCK} ", "<use_tool>", "x"], ids=["<", "blocks", "nested", "open"]
)
def test_time_is_linear_in_the_text(unit: str, options: dict[str, Any]) -> None:
    first = opened(tools=tooloptions.ToolOptions(("a",), **options))
    start = "<use_tool>" if unit == "x" else ""

    def prepare(length: int) -> Callable[[], object]:
        text = start + unit * (length // len(unit))
        cut = [text[at : at + 16] for at in range(0, len(text), 16)]
        machine = stream.Stream(first)

        def run() -> None:
            for piece in cut:
                machine.step(events.TextDelta(piece))
            machine.step(events.TurnFinished("stop"))

        return run

    growth.check_linear(prepare, 250_000)


def test_time_of_a_masked_replay_is_linear_in_the_text() -> None:
    def prepare(size: int) -> Callable[[], object]:
        machine = stream.Stream(opened(tools=tooloptions.ToolOptions(("a",))))

        def run() -> None:
            started = outputs.Decision(8, None, (Piece("started"),))
            machine.step(events.TextDelta("********"), started)
            for _ in range(size // 8):
                machine.step(events.TextDelta("********"), outputs.Decision(8, None, ()))
            machine.step(events.TurnFinished("stop"))

        return run

    growth.check_linear(prepare, 250_000)
