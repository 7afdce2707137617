"""A Responses request reaches an upstream as the chat completion that means the same."""

import json
import typing
from typing import Any

import msgspec
import pytest
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
    completion_create_params,
)
from pydantic import TypeAdapter

from server.http import errors
from tests.server.responses import clients
from tests.support.requests import responserequests

F = {"type": "function", "name": "f", "description": "does it", "strict": True}
G = {"type": "function", "name": "g", "parameters": {"type": "object"}}
TOLD = {"role": "user", "content": "hi"}


def translated(**fields: Any) -> Any:
    """The chat completion of a request with these fields."""
    body = json.dumps({"model": "m", "input": "hi"} | fields).encode()
    request, _ = responserequests.parse(body)
    call = msgspec.Raw(json.dumps(clients.CALL | {"id": "fc_1"}).encode())
    messages = responserequests.messages(request, {"fc_1": call})
    return responserequests.decoded(responserequests.chat_body(request, messages))


def test_the_smallest_request() -> None:
    assert translated() == {"model": "m", "messages": [TOLD]}


@pytest.mark.parametrize(
    ("asked", "translated_to"),
    [
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
    ],
)
def test_k30_tokens_are_asked_for(asked: Any, translated_to: Any) -> None:
    assert translated(**asked) == {"model": "m", "messages": [TOLD], **translated_to}


def test_what_both_apis_have_is_passed_on() -> None:
    same = {
        "temperature": 0,
        "top_p": 0.5,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
    }
    others = {"metadata": {"a": "b"}, "store": True, "truncation": "auto", "include": []}
    body = translated(
        **same,
        **others,
        stream=True,
        max_output_tokens=10,
        max_tool_calls=3,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low"},
        unknown=1,
    )
    assert body == {
        "model": "m",
        "messages": [TOLD],
        "max_tokens": 10,
        "reasoning_effort": "low",
        "verbosity": "low",
        **same,
    }


def named(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


@pytest.mark.parametrize(
    ("choice", "tools", "said"),
    [
        (None, [F, G], None),
        ("auto", [F, G], "auto"),
        ("required", [F, G], "required"),
        ({"type": "function", "name": "g"}, [G], {"type": "function", "function": {"name": "g"}}),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}],
            },
            [F],
            "required",
        ),
    ],
)
def test_tools_are_those_that_may_be_called(choice: Any, tools: Any, said: Any) -> None:
    body = translated(
        tools=[{"type": "web_search"}, F, G], tool_choice=choice, parallel_tool_calls=False
    )
    assert body["tools"] == [named(tool) for tool in tools]
    assert body.get("tool_choice") == said
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize("fields", [{"tools": [F], "tool_choice": "none"}, {"tools": []}])
def test_without_tools_nothing_is_said_of_them(fields: dict[str, Any]) -> None:
    assert translated(**fields, parallel_tool_calls=True) == translated()


def test_a_choice_that_nothing_can_satisfy_is_refused() -> None:
    with pytest.raises(errors.ApiError) as refused:
        translated(tool_choice="required")
    assert refused.value.param == "tool_choice"


def test_schemas_reach_the_upstream_as_the_client_wrote_them() -> None:
    written = b'{ "type":"object","properties":{"b":{ "maximum":1.50 },"a":{}} }'
    tool = G | {"parameters": "HERE"}
    text = {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": "HERE"}}
    given = json.dumps({"model": "m", "input": "hi", "tools": [tool], "text": text})
    request, _ = responserequests.parse(given.encode().replace(b'"HERE"', written))
    body = responserequests.chat_body(request, ())
    assert b'"schema":' + written in bytes(body["response_format"])
    assert b'{"b":{ "maximum":1.50 },"a":{}}' in bytes(body["tools"])


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {}, "strict": None, "description": "d"},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {}, "description": "d"},
            },
        ),
    ],
)
def test_the_form_of_the_answer_is_passed_on(wanted: Any, sent: Any) -> None:
    assert translated(text={"format": wanted}).get("response_format") == sent


@pytest.mark.parametrize("client", clients.REQUESTS)
def test_what_every_client_sends_becomes_a_request_of_the_sdk(client: str) -> None:
    body = translated(**clients.REQUESTS[client])
    # The SDK's type of the whole does not look into its lists.
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(body["messages"])
    TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(body.get("tools", []))
    whole = completion_create_params.CompletionCreateParamsNonStreaming
    TypeAdapter[Any](whole).validate_python(body)
    assert body.keys() <= typing.get_type_hints(whole).keys()
