"""The official Python SDK, whose every type is checked, plays the scenes on `/v1/responses`."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseUsage

from tests.clients import scenes
from tests.support.process import serving

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": False,
}

STATUSES = {"stop": ("completed", None), "length": ("incomplete", "max_output_tokens")}
"""How the scenes end here."""


def ending(response: Response) -> tuple[str | None, str | None]:
    """Status, and why it is incomplete."""
    details = response.incomplete_details
    return response.status, details.reason if details is not None else None


def counts(usage: ResponseUsage | None) -> tuple[int, int, int, int]:
    """Input, output, cached and reasoning tokens."""
    assert usage is not None
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens_details.reasoning_tokens,
    )


@pytest.mark.parametrize("prompt", scenes.SCENES)
def test_a_whole_answer(client: OpenAI, prompt: str) -> None:
    response = client.responses.create(model=scenes.MODEL, input=prompt)
    assert response.output_text == scenes.SCENES[prompt][0]
    assert ending(response) == STATUSES[prompt]
    assert counts(response.usage) == (21, 9, 4, 2)
    assert response.model == scenes.MODEL


@pytest.mark.parametrize("prompt", scenes.SCENES)
def test_a_stream(client: OpenAI, prompt: str) -> None:
    with client.responses.create(model=scenes.MODEL, input=prompt, stream=True) as stream:
        events = list(stream)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == scenes.SCENES[prompt][0]
    assert len(deltas) > 1
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == scenes.SCENES[prompt][0]
    assert ending(last.response) == STATUSES[prompt]
    assert counts(last.response.usage) == (21, 9, 4, 2)


def test_the_stream_helper(client: OpenAI) -> None:
    with client.responses.stream(model=scenes.MODEL, input="stop") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == scenes.STOP_TEXT


def test_the_async_client(server: serving.Serve) -> None:
    async def both() -> tuple[str, str]:
        async with AsyncOpenAI(**scenes.options(server)) as client:
            whole = await client.responses.create(model=scenes.MODEL, input="stop")
            async with client.responses.stream(model=scenes.MODEL, input="stop") as stream:
                return whole.output_text, (await stream.get_final_response()).output_text

    assert asyncio.run(both()) == (scenes.STOP_TEXT, scenes.STOP_TEXT)


class Person(pydantic.BaseModel):
    """What the model is asked for."""

    name: str
    age: int


def test_parse_into_a_model(client: OpenAI) -> None:
    ada = Person(name="Ada", age=36)
    parsed = client.responses.parse(model=scenes.MODEL, input="person", text_format=Person)
    assert parsed.output_parsed == ada
    with client.responses.stream(model=scenes.MODEL, input="person", text_format=Person) as stream:
        assert stream.get_final_response().output_parsed == ada


Step = Callable[[OpenAI, dict[str, Any]], Response]


def whole_step(client: OpenAI, asked: dict[str, Any]) -> Response:
    """The next response in one piece."""
    response: Response = client.responses.create(model=scenes.MODEL, tools=[WEATHER], **asked)
    return response


def streamed_step(client: OpenAI, asked: dict[str, Any]) -> Response:
    """The next response as a stream, which the SDK's own helper reads."""
    with client.responses.stream(model=scenes.MODEL, tools=[WEATHER], **asked) as stream:
        return stream.get_final_response()


def go_on(client: OpenAI, step: Step, bring: Callable[[Response, list[Any]], Any]) -> None:
    """Call the function as often as the model asks.

    Args:
        bring: the next request, of a response and the results of its calls.
    """
    response = step(client, {"input": "weather"})
    rounds = []
    while calls := [item for item in response.output if item.type == "function_call"]:
        assert response.output_text == "Let me look."
        assert response.status == "completed"
        asked = {call.call_id: json.loads(call.arguments)["city"] for call in calls}
        rounds.append(asked)
        results = [
            {
                "type": "function_call_output",
                "call_id": call_id,
                "output": str(scenes.CITIES[city]),
            }
            for call_id, city in asked.items()
        ]
        response = step(client, bring(response, results))
    paris, tokyo = scenes.CITIES
    assert rounds == [{"call_0": paris, "call_1": tokyo}, {"call_2": paris}]
    assert response.output_text == scenes.WEATHER_TEXT


each_step = pytest.mark.parametrize("step", [whole_step, streamed_step])


@each_step
def test_functions_by_previous_response_id(client: OpenAI, step: Step) -> None:
    go_on(
        client,
        step,
        lambda response, results: {"input": results, "previous_response_id": response.id},
    )


@each_step
def test_functions_by_items_sent_again(client: OpenAI, step: Step) -> None:
    items: list[Any] = [{"role": "user", "content": "weather"}]

    def bring(response: Response, results: list[Any]) -> dict[str, Any]:
        items.extend(item.model_dump(exclude_none=True) for item in response.output)
        items.extend(results)
        for item in items:
            item.pop("parsed_arguments", None)  # the helper's own
        return {"input": items, "store": False}

    go_on(client, step, bring)


@each_step
def test_functions_by_item_references(client: OpenAI, step: Step) -> None:
    items: list[Any] = [{"role": "user", "content": "weather"}]

    def bring(response: Response, results: list[Any]) -> dict[str, Any]:
        items.extend({"type": "item_reference", "id": item.id} for item in response.output)
        items.extend(results)
        return {"input": items}

    go_on(client, step, bring)


def test_a_kept_response_is_found_and_forgotten(client: OpenAI) -> None:
    made = client.responses.create(model=scenes.MODEL, input="stop", metadata={"a": "b"})
    assert client.responses.retrieve(made.id) == made
    (item,) = client.responses.input_items.list(made.id).data
    assert item.type == "message"
    client.responses.delete(made.id)
    with pytest.raises(Exception, match="not found"):
        client.responses.retrieve(made.id)


def test_a_response_in_the_background_is_followed_from_anywhere(client: OpenAI) -> None:
    made = client.responses.create(model=scenes.MODEL, input="stop", background=True)
    assert made.status == "in_progress"
    events = list(client.responses.retrieve(made.id, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    later = list(client.responses.retrieve(made.id, stream=True, starting_after=3))
    assert later == events[4:]
    assert client.responses.retrieve(made.id).output_text == scenes.STOP_TEXT
