"""Function calls in a Responses stream."""

from typing import Final

import pytest

from machines import tooloptions
from machines.outputs import Content, Finish, ToolArguments, ToolBlock, ToolCall, ToolCounts
from tests.server.responses.opening import BEGUN, COUNTED, check, render
from tests.support.client import responseswire
from tests.support.providers import responsescript as script

CALLED: Final = (Finish("tool_calls"), *COUNTED)
"""The last outputs of an answer with calls."""


def test_one_call() -> None:
    body, _ = render(
        *BEGUN,
        ToolCall(0, "call_a", "f", ""),
        ToolArguments(0, '{"x":'),
        ToolArguments(0, '"é"}'),
        *CALLED,
    )
    check(
        body,
        *script.begun(),
        *script.call(0, "call_a", "f", '{"x":', '"é"}'),
        script.ended("completed", [script.called(0, "call_a", "f", '{"x":"é"}')]),
    )


def test_text_and_two_calls_after_one_another() -> None:
    body, _ = render(
        *BEGUN,
        Content("Look."),
        ToolCall(0, "call_a", "f", '{"x":1}'),
        ToolCall(1, "call_b", "g", "{}"),
        *CALLED,
    )
    items = [
        script.said(0, "Look."),
        script.called(1, "call_a", "f", '{"x":1}'),
        script.called(2, "call_b", "g", "{}"),
    ]
    check(
        body,
        *script.begun(),
        *script.message(0, "Look."),
        *script.call(1, "call_a", "f", '{"x":1}'),
        *script.call(2, "call_b", "g", "{}"),
        script.ended("completed", items),
    )


def test_two_calls_whose_fragments_are_interleaved() -> None:
    body, _ = render(
        *BEGUN,
        ToolCall(0, "call_a", "f", '{"x":'),
        ToolCall(1, "call_b", "g", '{"y":'),
        ToolArguments(0, "1}"),
        ToolArguments(1, "2}"),
        *CALLED,
    )
    first_call = script.call(0, "call_a", "f", '{"x":', "1}")
    second_call = script.call(1, "call_b", "g", '{"y":', "2}")
    items = [
        script.called(0, "call_a", "f", '{"x":1}'),
        script.called(1, "call_b", "g", '{"y":2}'),
    ]
    check(
        body,
        *script.begun(),
        *(*first_call[:2], *second_call[:2], first_call[2], second_call[2]),
        *(*first_call[3:], *second_call[3:]),
        script.ended("completed", items),
    )


def test_a_call_without_arguments() -> None:
    body, _ = render(*BEGUN, ToolCall(0, "call_a", "f", ""), *CALLED)
    check(
        body,
        *script.begun(),
        *script.call(0, "call_a", "f"),
        script.ended("completed", [script.called(0, "call_a", "f", "")]),
    )


def test_calls_are_text_too_for_clients_that_read_them_there() -> None:
    body, _ = render(
        *BEGUN,
        ToolCall(0, "call_a", "f", '{"x":"1"}'),
        ToolBlock("f", '{"x":"1"}'),
        ToolCall(1, "call_b", "g", "{}"),
        ToolBlock("g", "{}"),
        *CALLED,
        tools=tooloptions.ToolOptions(output_mode="obsidian-xml", delimiter="\n"),
    )
    blocks = (
        "<use_tool>\n  <name>f</name>\n  <x>1</x>\n</use_tool>",
        "\n<use_tool>\n  <name>g</name>\n</use_tool>",
    )
    items = [
        script.called(0, "call_a", "f", '{"x":"1"}'),
        script.said(1, blocks[0]),
        script.called(2, "call_b", "g", "{}"),
        script.said(3, blocks[1]),
    ]
    check(
        body,
        *script.begun(),
        *script.call(0, "call_a", "f", '{"x":"1"}'),
        *script.message(1, blocks[0]),
        *script.call(2, "call_b", "g", "{}"),
        *script.message(3, blocks[1]),
        script.ended("completed", items),
    )


@pytest.mark.parametrize("comments", [True, False])
def test_calls_are_counted_in_comments_where_these_may_be(comments: bool) -> None:
    said = (*BEGUN, ToolCall(0, "call_a", "f", "{}"), ToolCounts(1, True), *CALLED)
    body, _ = render(*said, tools=tooloptions.ToolOptions(sse_comments=comments))
    counts = b": x-codex-tool-call-count: 1\n\n: x-codex-tool-call-truncated: true\n\n"
    assert body.count(b": x-codex-tool-call-") == (2 if comments else 0)
    assert (counts in body) is comments
    without, _ = render(
        *BEGUN, ToolCall(0, "call_a", "f", "{}"), *CALLED, tools=tooloptions.ToolOptions()
    )
    assert responseswire.whole(body) == responseswire.whole(without)
