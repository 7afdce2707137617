"""The official Python SDK, whose every type is checked, plays the scenes on each worker."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage

from tests.clients import scenes
from tests.support.process import serving

USAGE: Any = {"include_usage": True}

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
]


def messages(prompt: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": prompt}]


def counts(usage: CompletionUsage | None) -> tuple[int, int, int | None, int | None]:
    """Prompt, completion, cached and reasoning tokens."""
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens_details.cached_tokens,
        usage.completion_tokens_details.reasoning_tokens,
    )


def texts(chunks: Iterable[ChatCompletionChunk], choices: int = 1) -> list[str]:
    """The content of each choice of a stream."""
    found = [""] * choices
    for chunk in chunks:
        for choice in chunk.choices:
            found[choice.index] += choice.delta.content or ""
    return found


@pytest.mark.parametrize("prompt", scenes.SCENES)
def test_a_whole_answer(client: OpenAI, prompt: str) -> None:
    whole = client.chat.completions.create(model=scenes.MODEL, messages=messages(prompt))
    (choice,) = whole.choices
    assert (choice.message.content, choice.finish_reason) == scenes.SCENES[prompt]
    assert choice.message.tool_calls is None
    assert counts(whole.usage) == (21, 9, 4, 2)
    assert whole.model == scenes.MODEL


@pytest.mark.parametrize("prompt", scenes.SCENES)
@pytest.mark.parametrize("counted", [True, False])
def test_a_stream(client: OpenAI, prompt: str, counted: bool) -> None:
    with client.chat.completions.create(
        model=scenes.MODEL,
        messages=messages(prompt),
        stream=True,
        stream_options={"include_usage": counted},
    ) as stream:
        chunks = list(stream)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    text, reason = scenes.SCENES[prompt]
    assert texts(chunks) == [text]
    assert reasons == [*[None] * (len(reasons) - 1), reason]
    assert [counts(chunk.usage) for chunk in chunks if chunk.usage] == [(21, 9, 4, 2)] * counted
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("prompt", scenes.SCENES)
def test_the_async_client(server: serving.Serve, prompt: str) -> None:
    async def both() -> tuple[ChatCompletion, list[ChatCompletionChunk]]:
        async with AsyncOpenAI(**scenes.options(server)) as client:
            create = client.chat.completions.create
            whole = await create(model=scenes.MODEL, messages=messages(prompt))
            async with await create(
                model=scenes.MODEL, messages=messages(prompt), stream=True
            ) as stream:
                return whole, [chunk async for chunk in stream]

    whole, chunks = asyncio.run(both())
    text, reason = scenes.SCENES[prompt]
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (text, reason)
    assert texts(chunks) == [text]
    assert chunks[-1].choices[0].finish_reason == reason


def test_the_stream_helper(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=scenes.MODEL, messages=messages("stop"), stream_options=USAGE
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == scenes.STOP_TEXT
    assert counts(final.usage) == (21, 9, 4, 2)


def test_the_async_stream_helper(server: serving.Serve) -> None:
    async def final() -> str | None:
        async with (
            AsyncOpenAI(**scenes.options(server)) as client,
            client.chat.completions.stream(
                model=scenes.MODEL, messages=messages("stop")
            ) as stream,
        ):
            return (await stream.get_final_completion()).choices[0].message.content

    assert asyncio.run(final()) == scenes.STOP_TEXT


def test_choices_side_by_side(client: OpenAI) -> None:
    create = client.chat.completions.create
    whole = create(model=scenes.MODEL, messages=messages("stop"), n=2)
    said = [(one.index, one.message.content, one.finish_reason) for one in whole.choices]
    assert said == [(index, scenes.STOP_TEXT, "stop") for index in range(2)]
    assert counts(whole.usage)[:2] == (21, 18)
    with create(
        model=scenes.MODEL, messages=messages("stop"), n=2, stream=True, stream_options=USAGE
    ) as stream:
        chunks = list(stream)
    assert texts(chunks, 2) == [scenes.STOP_TEXT] * 2
    assert [counts(chunk.usage)[:2] for chunk in chunks if chunk.usage] == [(21, 18)]


class Person(pydantic.BaseModel):
    """What the model is asked for."""

    name: str
    age: int


def test_parse_into_a_model(client: OpenAI) -> None:
    ada = Person(name="Ada", age=36)
    parsed = client.chat.completions.parse(
        model=scenes.MODEL, messages=messages("person"), response_format=Person
    )
    assert parsed.choices[0].message.parsed == ada
    with client.chat.completions.stream(
        model=scenes.MODEL, messages=messages("person"), response_format=Person
    ) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == ada


def whole_step(client: OpenAI, conversation: list[Any]) -> ChatCompletion:
    """The next step in one piece."""
    return client.chat.completions.create(
        model=scenes.MODEL, messages=conversation, tools=TOOLS, parallel_tool_calls=True
    )


def streamed_step(client: OpenAI, conversation: list[Any]) -> ChatCompletion:
    """The next step as a stream, which the SDK's own helper reads."""
    with client.chat.completions.stream(
        model=scenes.MODEL, messages=conversation, tools=TOOLS, stream_options=USAGE
    ) as stream:
        return stream.get_final_completion()


@pytest.mark.parametrize("step", [whole_step, streamed_step])
def test_a_loop_of_functions(
    client: OpenAI, step: Callable[[OpenAI, list[Any]], ChatCompletion]
) -> None:
    conversation = messages("weather")
    rounds = []
    while calls := (reply := step(client, conversation)).choices[0].message.tool_calls:
        assert reply.choices[0].message.content == "Let me look."
        assert reply.choices[0].finish_reason == "tool_calls"
        assert counts(reply.usage) == (21, 9, 4, 2)
        conversation.append(reply.choices[0].message.model_dump(exclude_none=True))
        asked = {}
        for call in calls:
            assert call.type == "function"
            assert call.function.name == "get_weather"
            asked[call.id] = json.loads(call.function.arguments)["city"]
        conversation += [
            {"role": "tool", "tool_call_id": call_id, "content": str(scenes.CITIES[city])}
            for call_id, city in asked.items()
        ]
        rounds.append(asked)
    paris, tokyo = scenes.CITIES
    assert rounds == [{"call_0": paris, "call_1": tokyo}, {"call_2": paris}]
    assert reply.choices[0].message.content == scenes.WEATHER_TEXT
    assert reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_nobody_knows(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=messages("stop"), stream=stream)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
