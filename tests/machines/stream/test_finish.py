"""Every worker's word becomes one of the five reasons a client knows."""

import typing

import pytest
from openai.types.chat import chat_completion

from machines.stream import finish


def test_the_canonical_reasons_are_the_sdks_own() -> None:
    annotation = chat_completion.Choice.model_fields["finish_reason"].annotation
    assert set(finish.CANONICAL) == set(typing.get_args(annotation))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("stop completed complete done end_turn stop_sequence", "stop"),
        (
            "length max_tokens max_output_tokens token_limit token_limit_reached truncated",
            "length",
        ),
        ("tool_calls tool_call tool_use requires_tool", "tool_calls"),
        ("content_filter safety filtered moderation", "content_filter"),
        ("function_call", "function_call"),
    ],
)
def test_a_known_word_is_mapped_in_any_case(words: str, reason: str) -> None:
    for word in words.split():
        assert finish.canonical(word) == reason
        assert finish.canonical(word.upper()) == reason


@pytest.mark.parametrize("word", [None, "", "banana", "stop ", "tool-calls", "ſtop"])
def test_an_absent_or_unknown_word_is_a_stop(word: str | None) -> None:
    assert finish.canonical(word) == "stop"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (None, "tool_calls"),
        ("stop", "tool_calls"),
        ("end_turn", "tool_calls"),
        ("banana", "tool_calls"),
        ("function_call", "tool_calls"),
        ("tool_calls", "tool_calls"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_calls_turn_a_stop_into_tool_calls_and_nothing_else(word: str | None, reason: str) -> None:
    assert finish.canonical(word, calls=True) == reason
