"""Tool conversations of the official SDK, with functions that the real Codex binary is given."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessage

from tests import asking, serving
from tests.provider import Provider, Request
from tests.replies import Answer, FunctionCall, Message, Reasoning, Stream, Usage

pytestmark = pytest.mark.codex

KEY = "client-key-1"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}},
            "required": ["city"],
        },
    },
}

SHELL = {"type": "function", "function": {"name": "exec_command", "parameters": None}}
"""A function by the name of one of Codex's own."""

TOOLS = [WEATHER, SHELL]

HUGE = json.dumps({"city": "東京👩‍👧" * 4096}, ensure_ascii=False)


def call(
    number: int, arguments: str = '{"city": "Paris"}', name: str = "get_weather"
) -> FunctionCall:
    """A call with its arguments in pieces."""
    cut = len(arguments) // 2
    return FunctionCall(f"call_{number}", name, (arguments[:cut], arguments[cut:]))


COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)

STEPS: dict[str, Answer] = {
    "one": Stream((call(1),), usage=COUNTS),
    "three": Stream(
        (call(1), call(2, '{"city": "Oslo"}'), call(3, '{"city":"Rom"}')), usage=COUNTS
    ),
    "spoken": Stream((Message(("Let me ", "look.")), call(1)), usage=COUNTS),
    "thought": Stream((Reasoning((("Hm.",),)), Message(("Wait.",)), call(1), call(2, "{}"))),
    "huge": Stream((call(1, HUGE),)),
    "shell": Stream((call(1, '{"cmd": "touch hacked"}', "exec_command"),)),
    "unknown": Stream((call(1, "{}", "no_such_function"),)),
    "broken": Stream((call(1, '{"city": '),)),
    "bare": Stream((call(1, ""),)),
}
"""First steps, by the user's message."""


def answer(request: Request) -> Answer:
    """A step of calls; then words about the results."""
    outputs = [
        item["output"] for item in request.body["input"] if item["type"] == "function_call_output"
    ]
    if outputs:
        return Stream(
            (Message((f"{len(outputs)} results: ", json.dumps(outputs)[:200])),), usage=COUNTS
        )
    return STEPS[request.prompt]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


@pytest.fixture(scope="module")
def server(provider: Provider) -> Iterator[serving.Serve]:
    with serving.codex(provider.url, PROXY_API_KEY=KEY, PROXY_EVENT_LOG="full") as server:
        yield server
        asking.audit(server, f":{provider.port}", KEY)


@pytest.fixture
def client(server: serving.Serve) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=server.url, api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def ask(client: OpenAI, messages: list[Any], **options: Any) -> ChatCompletionMessage:
    """One step, not streamed."""
    asked = {"model": "gpt-5.5", "tools": TOOLS} | options
    whole = client.chat.completions.create(messages=messages, **asked)
    return whole.choices[0].message


def stream(client: OpenAI, messages: list[Any], **options: Any) -> ChatCompletionMessage:
    """One step, streamed by the SDK's own helper."""
    asked = {"model": "gpt-5.5", "tools": TOOLS} | options
    with client.chat.completions.stream(messages=messages, **asked) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    return final.choices[0].message


Step = Callable[..., ChatCompletionMessage]


@pytest.mark.parametrize("step", [ask, stream])
@pytest.mark.parametrize("name", ["one", "three", "spoken", "thought", "huge", "shell"])
def test_a_conversation_with_calls_comes_to_its_answer(
    client: OpenAI, provider: Provider, step: Step, name: str
) -> None:
    first = STEPS[name]
    assert isinstance(first, Stream)
    made = [item for item in first.items if isinstance(item, FunctionCall)]
    messages: list[Any] = [{"role": "user", "content": name}]
    before = len(provider.requests)
    reply = step(client, messages)
    assert reply.tool_calls is not None
    assert [(c.id, c.function.name, c.function.arguments) for c in reply.tool_calls] == [
        (item.call_id, item.name, "".join(map(str, item.arguments))) for item in made
    ]
    messages.append(reply.model_dump(exclude_none=True))
    for called in reply.tool_calls:
        messages.append({"role": "tool", "tool_call_id": called.id, "content": f"of {called.id}"})
    final = step(client, messages)
    assert final.content == f"{len(made)} results: " + json.dumps(
        [f"of {c.call_id}" for c in made]
    )
    assert len(provider.requests) == before + 2
