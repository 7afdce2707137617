"""The official Python SDK plays the scenes on the legacy `/v1/completions`, on each worker."""

from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Completion

from tests.clients import scenes
from tests.support.process import serving

COUNTED: Any = {"include_usage": True}


def ends(whole: Completion) -> list[tuple[str, str]]:
    """Text and reason of each choice, in their order."""
    assert [choice.index for choice in whole.choices] == list(range(len(whole.choices)))
    return [(choice.text, choice.finish_reason) for choice in whole.choices]


def counts(whole: Completion) -> tuple[int, int, int]:
    assert whole.usage is not None
    return whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens


@pytest.mark.parametrize("prompt", scenes.SCENES)
def test_a_whole_answer(client: OpenAI, prompt: str) -> None:
    whole = client.completions.create(model=scenes.MODEL, prompt=prompt)
    assert ends(whole) == [scenes.SCENES[prompt]]
    assert counts(whole) == (21, 9, 30)
    assert (whole.object, whole.model, whole.id[:5]) == ("text_completion", scenes.MODEL, "cmpl-")


def test_several_prompts_with_several_choices_each(client: OpenAI) -> None:
    prompts = ["stop", "length"]
    whole = client.completions.create(model=scenes.MODEL, prompt=prompts, n=2, echo=True)
    expected = [
        (prompt + scenes.SCENES[prompt][0], scenes.SCENES[prompt][1]) for prompt in prompts
    ]
    assert ends(whole) == [expected[0], expected[0], expected[1], expected[1]]
    assert counts(whole) == (2 * 21, 4 * 9, 2 * 21 + 4 * 9)


@pytest.mark.parametrize("echo", [True, False])
def test_a_stream_adds_up_to_the_whole_answer(server: serving.Serve, echo: bool) -> None:
    # The SDK's type has no null for `finish_reason`, which the API itself sends in streams.
    lenient = OpenAI(**{**scenes.options(server), "_strict_response_validation": False})
    prompts = ["stop", "length"]
    with (
        lenient,
        lenient.completions.create(
            model=scenes.MODEL, prompt=prompts, echo=echo, stream=True, stream_options=COUNTED
        ) as stream,
    ):
        chunks = list(stream)
    texts, reasons = ["", ""], ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] += choice.finish_reason or ""
    expected = [scenes.SCENES[prompt] for prompt in prompts]
    assert texts == [echo * prompt + scenes.SCENES[prompt][0] for prompt in prompts]
    assert reasons == [reason for _, reason in expected]
    assert counts(chunks[-1]) == (2 * 21, 2 * 9, 2 * 30)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize(
    ("field", "value"), [("suffix", "behind"), ("logprobs", 2), ("best_of", 3)]
)
def test_what_no_worker_has_is_refused_by_name(client: OpenAI, field: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model=scenes.MODEL, prompt="stop", **{field: value})
    assert (refused.value.param, refused.value.code) == (field, "unsupported_parameter")
