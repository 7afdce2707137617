"""Whatever happens to a stream with tools, what clients and logs rely on holds for its calls."""

from collections.abc import Iterator

from hypothesis import given

from machines import events, outputs
from machines.outputs import (
    Content,
    Finish,
    ToolArguments,
    ToolBlock,
    ToolCall,
    ToolCounts,
)
from machines.stream import machine as stream
from tests.support.machines import stories

TOLD = stories.stories(until_ended=True, tools=stories.tools())
"""Streams with tools, up to their end."""

Heard = list[outputs.AnyOutput]


def told(story: stories.Story) -> tuple[stream.Stream, list[Heard]]:
    """A stream after its story, and what was said of each choice."""
    machine = stream.Stream(story.opened)
    said = [out for _, step in stories.steps(machine, story.events) for out in step.outputs]
    own = [
        [out for out in said if getattr(out, "choice", None) == c.index] for c in machine.choices
    ]
    return machine, own


@given(TOLD)
def test_calls_have_indices_from_0_ids_of_their_own_and_names(story: stories.Story) -> None:
    for heard in told(story)[1]:
        calls = [out for out in heard if isinstance(out, ToolCall)]
        assert [call.index for call in calls] == list(range(len(calls)))
        assert len({call.call_id for call in calls}) == len(calls)
        assert all(call.call_id and call.name for call in calls)


@given(TOLD)
def test_arguments_come_after_the_call_of_their_index(story: stories.Story) -> None:
    for heard in told(story)[1]:
        begun: set[int] = set()
        for out in heard:
            if isinstance(out, ToolCall):
                begun.add(out.index)
            if isinstance(out, ToolArguments):
                assert out.index in begun
                assert out.arguments


@given(TOLD)
def test_a_whole_call_is_a_block_too_exactly_in_xml(story: stories.Story) -> None:
    machine, choices = told(story)
    blocks = sum(isinstance(out, ToolBlock) for heard in choices for out in heard)
    xml = story.opened.tools.output_mode == "obsidian-xml"
    if machine.kind == "completed" or not xml:
        assert blocks == (machine.tool_totals()["tool_calls"] if xml else 0)


@given(TOLD)
def test_limits_hold_for_every_source(story: stories.Story) -> None:
    options = story.opened.tools
    most = 1 if options.stop_after == "first" else options.max_calls
    for heard in told(story)[1]:
        calls = sum(isinstance(out, ToolCall) for out in heard)
        assert not most or calls <= most


@given(TOLD)
def test_what_is_counted_is_what_was_said(story: stories.Story) -> None:
    machine, choices = told(story)
    totals = machine.tool_totals()
    said = [out for heard in choices for out in heard]
    kinds = [type(out) for out in said]
    calls = kinds.count(ToolCall)
    assert totals["tool_calls"] <= calls <= totals["tool_calls"] + totals["tool_calls_dropped"]
    assert totals["tool_buffers_started"] == kinds.count(outputs.ToolBufferStarted)
    assert totals["tool_buffers_flushed"] == kinds.count(outputs.ToolBufferFlushed)
    assert sum(totals["tool_buffers_aborted"].values()) == kinds.count(outputs.ToolBufferAborted)
    ends = totals["tool_buffers_flushed"] + sum(totals["tool_buffers_aborted"].values())
    assert totals["tool_buffers_started"] == ends or machine.kind == "client_gone"
    if machine.kind == "completed":
        counts = [out for out in said if isinstance(out, ToolCounts)]
        assert sum(out.calls for out in counts) == totals["tool_calls"]
        assert any(out.truncated for out in counts) == (totals["tool_calls_withheld"] > 0)


@given(TOLD)
def test_an_answer_with_whole_calls_ends_with_them_or_cut_short(story: stories.Story) -> None:
    legacy = story.opened.tools.legacy
    for heard in told(story)[1]:
        if not (heard and isinstance(heard[-1], Finish)):
            continue
        counts = heard[-2] if len(heard) > 1 else None
        if isinstance(counts, ToolCounts) and counts.calls:
            waits = "function_call" if legacy else "tool_calls"
            assert heard[-1].reason in (waits, "length", "content_filter")
        else:
            assert heard[-1].reason in ("stop", "length", "content_filter")


CONTENT = ("text", "verbatim", "aborted")
"""Kinds of a piece that are content."""

OPEN = ("held", "role", "content", "tool_buffering")
"""States of an answer that is not over."""


def pieces(
    machine: stream.Stream, happened: tuple[events.StreamInput, ...]
) -> Iterator[tuple[str, str]]:
    """Kind and text of each piece of an answer of one choice, as its decisions say.

    What no decision has named goes on as content when a fragment of a call comes, and at the end.
    """
    held = ""
    for event in happened:
        was_open = machine.position in OPEN
        for _, step in stories.steps(machine, (event,)):
            if was_open and isinstance(event, events.TextDelta):
                held += event.text
                plain = outputs.Piece("text", len(held))
                for piece in (step.decision.pieces or ()) if step.decision else (plain,):
                    yield piece.kind, held[: piece.length]
                    held = held[piece.length :]
            elif was_open and isinstance(event, events.ToolCallDelta):
                yield "text", held
                held = ""
    yield "text", held


@given(
    stories.stories(
        n=1,
        stop=(),
        max_bytes=None,
        tools=stories.tools(stop_after=None, suppress_tail=False, call_limit=1000),
    )
)
def test_every_character_is_content_or_of_a_block(story: stories.Story) -> None:
    """Invariant: contents and blocks together, in their order, are the text."""
    found = list(pieces(stream.Stream(story.opened), story.events))
    blocks = [text for kind, text in found if kind in ("call", "withheld")]
    assert all(text.startswith("<use_tool") and text.endswith(">") for text in blocks)
    contents = "".join(text for kind, text in found if kind in CONTENT)
    machine, (heard,) = told(story)
    said = "".join(out.text for out in heard if isinstance(out, Content))
    assert contents.startswith(said)
    if machine.choices[0].reason or (machine.failure and heard):
        assert contents == said


@given(
    stories.stories(
        n=1, stop=(), max_bytes=None, tools=stories.tools(stop_after=None, suppress_tail=True)
    )
)
def test_with_the_tail_suppressed_a_finished_answer_ends_with_its_last_call(
    story: stories.Story,
) -> None:
    _, (heard,) = told(story)
    calls = [index for index, out in enumerate(heard) if isinstance(out, ToolCall)]
    if calls:
        assert not any(isinstance(out, Content) for out in heard[calls[-1] :])
