"""`/v1/responses` in front of a chat server that is strict, as DeepSeek's API and others are.

The upstream refuses what such a server refuses: a system message that is not the first, results
that do not stand behind their calls, images in results, and calls without the thinking that led to
them. The clients are the official SDK's, each of whose types is checked.
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.support.logs import serverlog
from tests.support.providers import upstreams, upstreamshapes
from tests.support.providers.upstreams import chunk, counted

WEATHER: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
LAST = 3
"""The turn that answers."""


def refusal(messages: list[Any]) -> str:
    """Why a strict server refuses the messages; empty if it does not."""
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "system" and index:
            return "System message must be at the beginning."
        if message["role"] == "tool":
            if not isinstance(message["content"], str) or not message["content"]:
                return "A result must be a text."
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            return "An assistant message with 'tool_calls' must be followed by tool messages."
        open_calls = [call["id"] for call in message.get("tool_calls") or ()]
        if open_calls and not message.get("reasoning_content"):
            return "The reasoning_content in the thinking mode must be passed back to the API."
    return ""


def answer(request: upstreams.Request) -> upstreams.Answer:
    """Think and call in the first turns, think and answer in the last."""
    messages = request.body["messages"]
    if problem := refusal(messages):
        return upstreams.response(400, {"error": {"message": problem, "type": "t", "code": "c"}})
    turn = 1 + sum(message["role"] == "assistant" for message in messages)
    thoughts = [upstreamshapes.delta(reasoning_content=text) for text in (f"Turn {turn}", ": hm.")]
    if turn < LAST:
        calls = [upstreamshapes.call(0, id=f"call_{turn}")]
        told = [upstreamshapes.delta(tool_calls=calls), chunk(finish="tool_calls")]
    else:
        told = [chunk("Sunny."), chunk(finish="stop")]
    return upstreams.stream(*thoughts, *told, counted(7, 2))


@pytest.fixture(scope="module")
def stage() -> Iterator[upstreams.Stage]:
    with upstreams.stage(answer) as stage:
        yield stage
        serverlog.audit(stage.server)


@pytest.fixture
def client(stage: upstreams.Stage) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=stage.server.url, api_key="k", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def asked(client: OpenAI, streamed: bool, **fields: Any) -> Any:
    """A response, streamed or not."""
    if not streamed:
        return client.responses.create(model="m", tools=[WEATHER], **fields)
    with client.responses.stream(model="m", tools=[WEATHER], **fields) as stream:
        return stream.get_final_response()


def results(response: Any) -> list[Any]:
    """The outputs of its calls."""
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": "21"}
        for item in response.output
        if item.type == "function_call"
    ]


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
@pytest.mark.parametrize("by", ["previous_response_id", "items", "items without content"])
def test_thinking_goes_back_over_three_turns(
    stage: upstreams.Stage, client: OpenAI, by: str, streamed: bool
) -> None:
    history: list[Any] = [{"role": "user", "content": "How is the weather?"}]
    response = asked(client, streamed, input=history)
    for _ in range(LAST - 1):
        assert [item.type for item in response.output] == ["reasoning", "function_call"]
        if by == "previous_response_id":
            previous = {"previous_response_id": response.id}
            response = asked(client, streamed, input=results(response), **previous)
            continue
        items = [item.to_dict() for item in response.output]
        if by == "items without content":  # a kept item is found by its id
            for item in items:
                item.pop("content", None)
        history += [*items, *results(response)]
        response = asked(client, streamed, input=history)
    assert response.output_text == "Sunny."
    sent = stage.upstream.requests[-1].body["messages"]
    assert [(each["role"], each.get("reasoning_content")) for each in sent] == [
        ("user", None),
        ("assistant", "Turn 1: hm."),
        ("tool", None),
        ("assistant", "Turn 2: hm."),
        ("tool", None),
    ]


def test_a_strict_server_takes_what_clients_send_in_any_order(
    stage: upstreams.Stage, client: OpenAI
) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
    thought = {"type": "reasoning", "id": "rs_9", "summary": []}
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output"}
    items: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        thought | {"content": [{"type": "reasoning_text", "text": "hm"}]},
        call | {"call_id": "a"},
        call | {"call_id": "b"},
        {"role": "developer", "content": "Be quick."},
        output | {"call_id": "a", "output": [image]},
        output | {"call_id": "b", "output": "21"},
    ]
    response = client.responses.create(model="m", input=items, instructions="Be brief.")
    assert response.output[-1].type == "function_call"
    sent = stage.upstream.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]
    assert sent[0]["content"] == "Be brief.\n\nBe kind.\n\nBe quick."
    assert [part["type"] for part in sent[-1]["content"]] == ["image_url"]
    kept = client.responses.input_items.list(response.id, order="asc")
    kinds = [item.type for item in itertools.islice(kept, len(items))]
    assert kinds == [item.get("type", "message") for item in items]
    assert json.loads(kept.to_json())["has_more"] is False
