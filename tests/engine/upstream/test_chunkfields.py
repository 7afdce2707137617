"""The fields of a chunk, in whatever form an upstream writes them."""

import json
from typing import Any

import pytest

from engine import pieces
from engine.upstream import chunkfields
from machines import events


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello", "Hello"),
        ([{"type": "text", "text": "Hel"}, {"text": "lo"}], "Hello"),
        (["Hel", {"text": "lo"}], "Hello"),
        ({"text": "Hello"}, "Hello"),
        (None, ""),
        ([], ""),
        ([None, "", False, [], {"text": 7}, {"image": 1}], ""),
    ],
)
def test_the_text_of_a_content(content: Any, text: str) -> None:
    assert "".join(chunkfields.texts(content)) == text


@pytest.mark.parametrize("content", [7, 1.5, True, [7], [["x"]]])
def test_what_stands_for_no_text_is_unreadable(content: Any) -> None:
    with pytest.raises(chunkfields.Unreadable):
        list(chunkfields.texts(content))


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"delta": {"content": "Hi"}}, "Hi"),
        ({"delta": {"role": "assistant", "content": "Hi"}}, "Hi"),
        ({"delta": {"content": "Hi", "refusal": None}}, ""),
        ({"delta": {"content": ["Hi"]}}, ""),
        ({"delta": "Hi"}, ""),
        ({}, ""),
        ({"delta": {"content": "x" * (pieces.PIECE + 1)}}, ""),
    ],
)
def test_only_a_short_text_and_nothing_else_is_plain(choice: dict[str, Any], text: str) -> None:
    assert chunkfields.plain_text(choice) == text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"reasoning_content": "hm"}, "hm"),
        ({"reasoning": "hm"}, "hm"),
        ({"reasoning_content": "hm", "reasoning": "hm"}, "hm"),
        ({"content": [{"thinking": "h"}, {"text": "no"}, {"thinking": [{"text": "m"}]}]}, "hm"),
        ({"reasoning": {"effort": "low"}, "content": "no"}, ""),
    ],
)
def test_thinking_is_read_once_by_any_name(message: dict[str, Any], text: str) -> None:
    assert "".join(chunkfields.thoughts(message)) == text


def calls(message: dict[str, Any], number: int = 0, form: Any = "delta") -> list[Any]:
    """The calls of a message, whatever their batches."""
    batches = chunkfields.calls(message, number, form, lambda _: events.NO_MEMBERS)
    return [call for batch in batches for call in batch or ()]


def delta(**members: Any) -> Any:
    """The one call of a delta."""
    (only,) = calls({"tool_calls": [members]}, 2)
    return only


def test_a_call_is_read_with_what_it_has() -> None:
    function = {"name": "add", "arguments": '{"a":'}
    assert delta(index=1, id="c1", function=function) == events.ToolCallDelta(
        1, "c1", "add", '{"a":', 2
    )
    assert delta(function=None) == events.ToolCallDelta(choice=2)


@pytest.mark.parametrize(
    ("arguments", "text"), [({"a": 1}, '{"a":1}'), ([1], "[1]"), ([], None), ({}, "{}")]
)
def test_arguments_that_came_parsed_are_text_again(arguments: Any, text: str | None) -> None:
    assert delta(function={"arguments": arguments}).arguments == text


def test_calls_of_a_whole_message_count_from_0() -> None:
    function = {"name": "f", "arguments": "{}"}
    found = calls({"tool_calls": [{"function": function}] * 2}, form="whole")
    assert [call.index for call in found] == [0, 1]


def test_a_legacy_call_is_the_first() -> None:
    message = {"function_call": {"name": "f", "arguments": "{}"}}
    assert chunkfields.has_calls(message)
    (call,) = calls(message)
    assert (call.index, call.name, call.arguments) == (0, "f", "{}")


def test_large_arguments_are_parts_of_one_fragment() -> None:
    text = json.dumps("x" * (2 * chunkfields.ARGUMENTS_MAX))
    message = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": text}}]}
    parts = calls(message)
    assert "".join(call.arguments or "" for call in parts) == text
    assert [call.extent for call in parts] == ["part", "part", "piece"]
    assert [call.name for call in parts] == ["f", None, None]


def test_words_are_capped_and_numbers_are_words() -> None:
    assert chunkfields.word("x" * 10_000) == "x" * chunkfields.WORD_MAX
    assert (chunkfields.word(7), chunkfields.word(None), chunkfields.word([])) == ("7", None, None)


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2}, events.Usage(7, 2)),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 2.0,
                "prompt_tokens_details": {"cached_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            events.Usage(7, 2, 3, 1),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2}, events.Usage(0, 2)),
        ({"prompt_tokens": "7", "completion_tokens": 1 << 60}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_counts_that_make_sense_are_believed(value: Any, counts: events.Usage | None) -> None:
    assert chunkfields.usage(value) == counts


def test_k78_the_providers_total_stands_where_it_is_larger() -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 5}
    for total, wanted in ((334, 334), (14, 14), (3, 14), (0, 14), ("x", 14), (2**60, 14)):
        found = chunkfields.usage({**told, "total_tokens": total})
        assert found is not None
        assert found.total_tokens == wanted
