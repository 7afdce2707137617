"""Tokens by the measure that `max_tokens` cuts by: UTF-8 bytes over 4."""

import pytest

from engine.stream import estimate
from machines import outputs
from machines.events import Usage
from tests.support.machines.playbook import opened


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_a_token_that_is_begun_counts(size: int, expected: int) -> None:
    assert estimate.tokens(size) == expected


def test_what_the_model_made_counts_by_choice() -> None:
    size = estimate.AnswerSize(2)
    size.add(
        (
            outputs.Head(),
            outputs.Role(),
            outputs.Content("漢字 is 6", 0),  # 6 + 5 bytes
            outputs.Refusal("No.", 0),
            outputs.Reasoning("hm hm", 0),
            outputs.ToolCall(0, "c1", "add", '{"a":', 1),
            outputs.ToolArguments(0, "1}", 1),
            outputs.ToolBlock("add", '{"a":1}', 1),
            outputs.Finish("stop", 1),
        )
    )
    asked = opened(n=2, prompt_bytes=9)
    assert size.usage(asked, 0) == Usage(3, 2 + 4, reasoning_tokens=2)
    assert size.usage(asked, 1) == Usage(3, 3)


def test_an_answer_without_a_word_is_no_token() -> None:
    assert estimate.AnswerSize(1).usage(opened(), 0) == Usage(0, 0)


def test_each_of_several_prompts_counts_for_its_own_choices() -> None:
    asked = opened(n=4, prompt_bytes=12, prompt_sizes=(4, 8))
    size = estimate.AnswerSize(4)
    assert [size.usage(asked, choice).prompt_tokens for choice in range(4)] == [1, 1, 2, 2]
